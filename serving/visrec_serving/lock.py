"""One at a time: what changes a model repository holds a lock while it does."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from visrec_client.errors import VisrecError
from visrec_serving.errors import RepositoryBusy


@contextmanager
def locked(repository: Path, work: str, *, wait: bool = False) -> Iterator[None]:
    """Hold the lock of one kind of work; the system gives it back if this process dies.

    Args:
        repository: the folder.
        work: `release`, for what changes what is served, `export`, for what makes releases, or `key`.
        wait: for whoever holds it.

    Raises:
        RepositoryBusy: somebody else holds it.
        VisrecError: the repository can't be written or locked.
    """
    try:
        file = (repository / f".{work}.lock").open("a")
    except OSError as error:
        raise VisrecError(f"can't write to {repository}: {error.strerror}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RepositoryBusy(
                f"another {work} is at work on {repository}: wait until it is done"
            ) from error
        except OSError as error:
            raise VisrecError(f"{repository} lies on a file system without locks: {error}") from error
        yield
