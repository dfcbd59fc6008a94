"""Finding the pictures of a folder, and counting what is passed over.

Folders and files that are links are followed, as `find -L` does.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from visrec_client.picture import FORMATS
from visrec_training.errors import DataError

HIDDEN_FILES = "hidden files"
HIDDEN_FOLDERS = "hidden folders"
MACOS_FILES = "files of macOS beside pictures (._*)"
CYCLES = "links that lead back into the folder"
DANGLING = "links that lead nowhere"
UNREADABLE = "folders that cannot be read"
_SYSTEM_FOLDERS = frozenset({"__MACOSX", "@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information"})
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class FolderPictures:
    """What a folder holds."""

    images: tuple[Path, ...]
    """Sorted by their path in the folder, with "/" between its parts."""
    skipped: Mapping[str, int]
    """Reason → how many files and folders were passed over for it."""


def picture_endings() -> frozenset[str]:
    """The endings, such as ".jpg", of the files that this installation decodes."""
    return frozenset(ending for ending, form in Image.registered_extensions().items() if form in _forms())


def find_pictures(folder: Path) -> FolderPictures:
    """Find the pictures in a folder and its subfolders, by their endings.

    Raises:
        DataError: the folder can't be read, holds no pictures, or holds names that are not UTF-8.
    """
    walk = _Walk(folder)
    images = sorted(walk.pictures(folder, ()), key=lambda path: path.relative_to(folder).as_posix())
    if walk.failure is not None:
        raise DataError(f"can't read the folder {folder}: {walk.failure}")
    if not images:
        passed = "; passed over: " + describe_skipped(walk.skipped) if walk.skipped else ""
        raise DataError(f"{folder} holds no pictures ({', '.join(sorted(picture_endings()))}){passed}")
    _check_names(folder, images)
    return FolderPictures(tuple(images), dict(sorted(walk.skipped.items())))


def describe_skipped(skipped: Mapping[str, int]) -> str:
    """One line: `3 hidden files, 2 not pictures (.txt)`."""
    return ", ".join(f"{count:,} {reason}" for reason, count in sorted(skipped.items()))


def _forms() -> frozenset[str]:
    return frozenset({*FORMATS, "MPO"})  # several JPEGs in one file, of which the first is taken


class _Walk:
    """Goes through folders and counts what it passes over."""

    def __init__(self, root: Path) -> None:
        self.skipped: Counter[str] = Counter()
        self.failure: str | None = None
        """Why the root can't be read."""
        self._root = root
        self._endings = picture_endings()

    def pictures(self, folder: Path, above: tuple[str, ...]) -> Iterator[Path]:
        """The pictures under a folder; `above` holds the real paths of the folders that lead to it."""
        real = os.path.realpath(folder)
        if real in above or (above and _is_under(above[0], real)):
            self.skipped[CYCLES] += 1
            return
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            self._pass_over(folder, error)
            return
        for entry in entries:
            path = folder / entry.name
            if _is_folder(entry):
                if reason := _folder_reason(entry.name):
                    self.skipped[reason] += 1
                else:
                    yield from self.pictures(path, (*above, real))
            elif reason := self._file_reason(path):
                self.skipped[reason] += 1
            else:
                yield path

    def _pass_over(self, folder: Path, error: OSError) -> None:
        if folder == self._root:
            self.failure = error.strerror
        else:
            self.skipped[UNREADABLE] += 1

    def _file_reason(self, path: Path) -> str | None:
        """Why a file is passed over. Not for being broken or absent: a picture that is lost must be told."""
        if path.name.startswith("._"):
            return MACOS_FILES
        if path.name.startswith("."):
            return HIDDEN_FILES
        if path.suffix.lower() in self._endings:
            return None
        if _leads_nowhere(path):
            return DANGLING
        return f"not pictures ({path.suffix.lower() or 'no ending'})"


def _folder_reason(name: str) -> str | None:
    if name in _SYSTEM_FOLDERS:
        return f"folders of the system ({name})"
    return HIDDEN_FOLDERS if name.startswith(".") else None


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link in a circle, or into a folder that can't be read: counted as a file
        return False


def _leads_nowhere(path: Path) -> bool:
    try:
        path.stat()
    except OSError:  # the answer, not a failure
        return True
    return False


def _is_under(path: str, folder: str) -> bool:
    return os.path.commonpath((path, folder)) == folder


def _check_names(folder: Path, images: list[Path]) -> None:
    """Item ids are made of names, and must be texts that can be sent.

    Raises:
        DataError: some are not UTF-8.
    """
    broken = [
        name for name in (os.fsencode(image.relative_to(folder)) for image in images) if not _utf8(name)
    ]
    if broken:
        named = ", ".join(f"'{name.decode('utf-8', 'backslashreplace')}'" for name in broken[:_SHOWN])
        more = ", …" if len(broken) > _SHOWN else ""
        raise DataError(
            f"{len(broken):,} pictures in {folder} have names that are not UTF-8: {named}{more}; rename them,"
            " for instance with: convmv -f latin1 -t utf8 -r --notest FOLDER"
        )


def _utf8(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:  # the answer, not a failure
        return False
    return True
