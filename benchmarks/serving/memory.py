"""What a server holds in memory, over all of its processes."""

from __future__ import annotations

import contextlib
from pathlib import Path

_PROC = Path("/proc")


def tree_megabytes(pid: int) -> float:
    """Memory of a process and all below it, MB; what several share counts once (proportional set size)."""
    return sum(_proportional(member) for member in tree(pid)) / 1e6


def tree(pid: int) -> list[int]:
    """A process and all below it."""
    members = [pid]
    for member in members:  # it grows while we go
        for children in _PROC.glob(f"{member}/task/*/children"):
            with contextlib.suppress(OSError):  # a thread that has just ended
                members += map(int, children.read_text().split())
    return members


def _proportional(pid: int) -> int:
    lines = (_PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))
