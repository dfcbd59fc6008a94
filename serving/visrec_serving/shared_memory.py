"""The shared memory of Python stubs: a name of its own for each server, and an end to what dead ones left.

A server and its Triton hold a lock for as long as either lives, so a name whose lock is free belongs to
nobody, also where process ids say nothing (containers that share /dev/shm).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import uuid
from pathlib import Path

from visrec_serving.errors import ServerFailed

FOLDER = Path("/dev/shm")  # noqa: S108  (where the Python backend keeps it)


class SharedMemory:
    """A prefix that no other server uses."""

    def __init__(self) -> None:
        """Choose it; nothing is written yet."""
        self.prefix = f"visrec_{uuid.uuid4().hex[:12]}_"
        self._lock: int | None = None

    def claim(self) -> int:
        """Take the prefix, and remove what dead servers left.

        Returns:
            A file descriptor that Triton has to inherit.

        Raises:
            ServerFailed: this machine has no shared memory that can be written.
        """
        for lock in FOLDER.glob("visrec_*_lock"):
            _remove_if_dead(lock)
        hidden = FOLDER / f".{self.prefix}lock"  # until it is locked
        try:
            self._lock = os.open(hidden, os.O_CREAT | os.O_RDWR, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            hidden.rename(FOLDER / f"{self.prefix}lock")
        except OSError as error:
            raise ServerFailed(
                f"{FOLDER} can't be written ({error.strerror}), and Triton needs it: mount a tmpfs there"
            ) from error
        return self._lock

    def link(self, name: str, folder: Path) -> Path:
        """Give a folder a path without special characters, which goes when the prefix is released."""
        link = FOLDER / f"{self.prefix}{name}"
        link.symlink_to(folder)
        return link

    def release(self) -> None:
        """Remove what is left of it, once Triton has ended; harmless if it was not claimed."""
        _remove(self.prefix)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _remove_if_dead(lock: Path) -> None:
    with contextlib.suppress(OSError), lock.open("r+b") as file:  # another user's, held, or gone already
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _remove(lock.name.removesuffix("lock"))


def remove(region: str) -> None:
    """Remove what a killed stub left."""
    (FOLDER / region).unlink(missing_ok=True)


def _remove(prefix: str) -> None:
    for left in FOLDER.glob(f"{prefix}*"):
        left.unlink(missing_ok=True)
