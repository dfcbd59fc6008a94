"""The processes of Triton's Python backend: one for each instance of each version of a model."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import NamedTuple

from visrec_serving import process

_PROGRAM = "triton_python_backend_stub"


class Stub(NamedTuple):
    """What a stub serves."""

    model: str
    version: int
    instance: str
    """As Triton calls it, such as encoder_0_1."""
    region: str
    """Its shared memory, which stays behind if it is killed."""

    @property
    def slot(self) -> tuple[str, int, str]:
        """What another stub has to serve in its place."""
        return self.model, self.version, self.instance


def find(triton: int) -> dict[int, Stub]:
    """List the stubs that live, by process id.

    Args:
        triton: process id of their server.
    """
    return {pid: stub for pid in process.children(triton) if alive(pid) and (stub := _read(pid))}


def alive(pid: int) -> bool:
    """Whether a process has not ended; one that nobody waited for yet has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def _read(pid: int) -> Stub | None:
    with contextlib.suppress(OSError, ValueError, IndexError):
        words = Path(f"/proc/{pid}/cmdline").read_text().rstrip("\0").split("\0")
        if Path(words[0]).name == _PROGRAM:
            graph, region, instance = Path(words[1]), words[2], words[-2]
            return Stub(instance.rsplit("_", 2)[0], int(graph.parent.name), instance, region)
    return None
