"""Words of a command line, overwritten where everybody on the machine could read them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


def hide(pid: int, words: Iterable[str]) -> bool:
    """Overwrite every occurrence of words in the command line of a child process.

    The process has to have read its arguments by then: Triton copies what it is given.

    Args:
        pid: of the process.
        words: what nobody shall see.

    Returns:
        Whether the command line shows none of them any more.
    """
    secrets = [word.encode() for word in words]
    try:
        # the fields after the program's name, which may hold spaces; the 48th of all is arg_start
        start = int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[48 - 3])
        shown = _command_line(pid)
        with Path(f"/proc/{pid}/mem").open("r+b", buffering=0) as memory:
            for secret in secrets:
                place = shown.find(secret)
                while place >= 0:
                    memory.seek(start + place)
                    memory.write(b"*" * len(secret))
                    place = shown.find(secret, place + len(secret))
        shown = _command_line(pid)
    except (OSError, ValueError):  # it has ended, or a sandbox forbids it
        return False
    return not any(secret in shown for secret in secrets)


def _command_line(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()
