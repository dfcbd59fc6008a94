"""Writing files so that a reader never meets half of one."""

from __future__ import annotations

import os
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


def write_beside(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file beside its place, then rename it into place.

    Args:
        path: where it shall be; folders are made.
        write: called with the temporary path.

    Raises:
        VisrecError: the disk is full, or the folder can't be written.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
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
