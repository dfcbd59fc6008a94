"""Writing files so that a reader never meets half of one."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path

from visrec_client.errors import VisrecError


def make_folder(path: Path) -> None:
    """Make a folder, and those above it, unless it is there.

    Raises:
        VisrecError: it can't be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise VisrecError(f"can't make the folder {path}: {error.strerror}") from error


def check_space(folder: Path, needed: int, what: str) -> None:
    """Compare what is about to be written with what is free on the disk.

    Args:
        folder: where it goes; it exists.
        needed: bytes.
        what: names them, for the error.

    Raises:
        VisrecError: it does not fit.
    """
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise VisrecError(
            f"{what} take {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free in {folder}: make room, or"
            " give another folder"
        )


def write_beside(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file beside its place, then rename it into place.

    Args:
        path: where it shall be; folders are made.
        write: called with the temporary path.

    Raises:
        VisrecError: the disk is full, or the folder can't be written.
    """
    # process ids alone are not unique where containers share a volume
    temporary = path.with_name(f"{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            write(temporary)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise VisrecError(f"can't write {path}: {error.strerror or error}") from error


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text beside its place, then rename it into place.

    Raises:
        VisrecError: as `write_beside`.
    """
    write_beside(path, lambda temporary: temporary.write_text(text, "utf-8"))
