"""What a command writes to stdout and stderr, so that writing can neither end its work nor hold it up.

`guarded` puts this in place of both streams once, for whatever prints: events, steps, progress, warnings.
What can't be written (the reader is gone or does not read, the disk is full, the stream is closed) is dropped
and counted, and the other stream says so. Characters that the stream's encoding lacks are escaped.
"""

from __future__ import annotations

import errno
import io
import os
import select
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

PATIENCE = 1.0
"""Seconds that a reader who does not read can hold the work up, once."""
_lock = threading.RLock()  # one for both streams, which often are one pipe


class Stream(io.RawIOBase):
    """A file descriptor that takes everything; what it can't write is dropped, never raised."""

    def __init__(self, name: str, descriptor: int | None, patience: float | None) -> None:
        """Prepare; nothing is written yet.

        Args:
            name: what people call it.
            descriptor: where it writes; None where there is nothing.
            patience: seconds to wait for a reader; None as long as it takes.
        """
        self.name, self._descriptor, self._patience = name, descriptor, patience
        self.fault: OSError | None = None
        """Why the first piece was dropped; None if none was."""
        self.dropped = 0
        """Lines that could not be written."""
        self.other: Stream | None = None
        """Is told."""
        self._is_result = patience is None
        self._untold = 0  # lines dropped since something could be written
        self._blocked = False

    def write(self, data: ReadableBuffer) -> int:
        """Write what can be written.

        Returns:
            How much was given, as if all of it had been written.
        """
        left = memoryview(data).cast("B")
        size = len(left)
        with _lock:
            try:
                if self._untold and size:
                    self._wait()
                    untold, self._untold = self._untold, 0
                    self._put(f"\nvisrec: warning: {untold} lines could not be written here\n".encode())
                while left:
                    left = left[self._put(left[: select.PIPE_BUF]) :]
            except OSError as error:
                self._drop(left, error)
            except KeyboardInterrupt:
                self._patience = 0.0  # whoever stops the command waits for no reader
                raise
        return size

    def writable(self) -> bool:
        """Whether it can be written: always."""
        return True

    def fileno(self) -> int:
        """The file descriptor."""
        if self._descriptor is None:
            raise io.UnsupportedOperation(f"{self.name} is closed")
        return self._descriptor

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return self._descriptor is not None and os.isatty(self._descriptor)

    def _put(self, piece: ReadableBuffer) -> int:
        self._wait()
        assert self._descriptor is not None  # noqa: S101  (for the type checker)
        return os.write(self._descriptor, piece)

    def _wait(self) -> None:
        """Wait until a piece can be written without blocking."""
        if self._descriptor is None:
            raise OSError(errno.EBADF, "it is closed")
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        patience = 0 if self._blocked else self._patience
        self._blocked = not poll.poll(None if patience is None else patience * 1000)
        if self._blocked:
            raise OSError(errno.EAGAIN, "nobody reads it")

    def _drop(self, left: memoryview, error: OSError) -> None:
        lines = bytes(left).count(b"\n")
        self.dropped += lines
        self._untold += lines
        if self.fault is None:
            self.fault = error
            if self.other is not None and self.other.fault is None and not self.reader_left:
                self.other.write(f"visrec: warning: {self.problem}: what is said there is lost\n".encode())

    @property
    def reader_left(self) -> bool:
        """Whether it is a result that its reader has seen enough of, as `head` does: no fault."""
        return isinstance(self.fault, BrokenPipeError) and self._is_result

    @property
    def problem(self) -> str:
        """What is wrong with it, in a few words."""
        assert self.fault is not None  # noqa: S101  (for the type checker)
        return f"{self.name} can't be written ({(self.fault.strerror or str(self.fault)).lower()})"


@contextmanager
def guarded(*, wait: bool) -> Iterator[Stream | None]:
    """Put guarded streams in place of stdout and stderr for a while.

    Args:
        wait: what is printed is the command's result: it waits for its reader, and nothing else is mixed in.

    Yields:
        The stream of stdout; None where its owner captures it in memory.
    """
    if isinstance(getattr(sys.stdout, "buffer", None), Stream):  # a command that another one runs
        yield None
        return
    before = sys.stdout, sys.stderr
    _fill_closed_descriptors()
    patience = None if wait else PATIENCE
    stdout, stderr = _stream("stdout", sys.stdout, patience), _stream("stderr", sys.stderr, patience)
    if stdout and stderr:
        stdout.other = stderr
        stderr.other = None if wait else stdout
    sys.stdout, sys.stderr = _text(stdout, sys.stdout), _text(stderr, sys.stderr)
    try:
        yield stdout
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        sys.stdout, sys.stderr = before


def dropped(stream: TextIO) -> int:
    """Lines that a stream could not write, as far as it is a guarded one."""
    raw = getattr(stream, "buffer", None)
    return raw.dropped if isinstance(raw, Stream) else 0


def _fill_closed_descriptors() -> None:
    """Keep a file that is opened later from becoming 0, 1 or 2, where libraries write their complaints."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number


def _stream(name: str, text: TextIO | None, patience: float | None) -> Stream | None:
    if text is None:  # it was closed when Python started
        return Stream(name, None, patience)
    try:
        descriptor = text.fileno()
    except (OSError, ValueError):  # captured in memory
        return None
    with suppress(OSError):  # what was printed before; what follows meets the same fault and tells
        text.flush()
    return Stream(name, descriptor, patience)


def _text(stream: Stream | None, text: TextIO) -> TextIO:
    if stream is None:
        return text
    encoding = text.encoding if text is not None else "utf-8"
    return io.TextIOWrapper(stream, encoding, errors="backslashreplace", line_buffering=True)
