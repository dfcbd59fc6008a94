"""`visrec serve` as an operator runs it, in a process of its own, and what that process costs."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.serving.memory import tree

from visrec_client.errors import VisrecError

READY = re.compile(r"ready: gRPC (?P<grpc>\S+:\d+),")
START_TIMEOUT = 120.0


@dataclass(frozen=True, slots=True)
class Supervised:
    """A running `visrec serve`."""

    process: subprocess.Popen[bytes]
    url: str
    """host:port of its gRPC."""
    log: Path

    def descendants(self) -> dict[int, list[str]]:
        """Command lines of all processes below it, by process id."""
        return {pid: command(pid) for pid in tree(self.process.pid)[1:]}

    def triton(self) -> int:
        """Process id of tritonserver.

        Raises:
            VisrecError: it does not run.
        """
        return self._one(lambda words: words[0].endswith("/tritonserver"), "tritonserver")

    def stub(self, model: str) -> int:
        """Process id of one of the processes that compute a model.

        Raises:
            VisrecError: there is none.
        """
        return self._one(
            lambda words: words[0].endswith("_stub") and any(f"/{model}/" in word for word in words),
            f"a process of {model}",
        )

    def _one(self, fits: Callable[[list[str]], bool], what: str) -> int:
        for pid, words in self.descendants().items():
            if words and fits(words):
                return pid
        raise VisrecError(f"{what} does not run below process {self.process.pid}: see {self.log}")


@contextlib.contextmanager
def serve(repository: Path, config: str | None, work: Path, name: str) -> Iterator[Supervised]:
    """Run `visrec serve` on free ports, and stop it as an operator does.

    Args:
        repository: what it serves.
        config: `--model-config-name`.
        work: gets its log.
        name: of the log.

    Raises:
        VisrecError: it does not get ready.
    """
    log = work / f"{name}.log"
    words = [sys.executable, "-m", "visrec_cli.main", "serve", "--repository", str(repository)]
    words += [word for port in ("grpc", "http", "metrics", "health") for word in (f"--{port}-port", "0")]
    words += ["--model-config-name", config] if config else []
    with log.open("wb") as output:
        process = subprocess.Popen(words, stdout=output, stderr=subprocess.STDOUT)  # noqa: S603
    try:
        yield Supervised(process, _await_url(process, log), log)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def _await_url(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + START_TIMEOUT
    while process.poll() is None and time.monotonic() < deadline:
        if found := READY.search(log.read_text(errors="replace")):
            return found["grpc"]
        time.sleep(0.1)
    raise VisrecError(f"visrec serve did not get ready: see {log}")


def command(pid: int) -> list[str]:
    """The words that a process was started with; none once it has ended."""
    with contextlib.suppress(OSError):
        return [word.decode(errors="replace") for word in _read(pid, "cmdline").split(b"\0") if word]
    return []


def _read(pid: int, name: str) -> bytes:
    return Path(f"/proc/{pid}/{name}").read_bytes()


@dataclass(frozen=True, slots=True)
class Use:
    """What processes hold at a moment."""

    memory_mb: float
    """Resident memory that is their own: what they share is left out."""
    files: int
    """Open file descriptors."""
    threads: int
    shm_mb: float
    """Size of the files in /dev/shm that were counted."""


def use(pids: list[int], regions: str = "*") -> Use:
    """Add up what processes hold now; those that have ended count nothing.

    Args:
        pids: the processes.
        regions: names of files in /dev/shm that count, as a glob pattern.
    """
    memory = files = threads = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            rollup = _read(pid, "smaps_rollup").decode()
            memory += sum(int(kb) for kb in re.findall(r"^Private_\w+:\s+(\d+) kB", rollup, re.MULTILINE))
            files += len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208  (nothing but names)
            threads += len(os.listdir(f"/proc/{pid}/task"))  # noqa: PTH208
    shm = sum(path.stat().st_blocks * 512 for path in Path("/dev/shm").glob(regions))  # noqa: S108
    return Use(memory / 1024, files, threads, shm / 2**20)
