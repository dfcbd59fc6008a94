"""perf_analyzer, Triton's own load generator: where it is, how it is called, what it answers."""

from __future__ import annotations

import csv
import importlib.util
import os
import shlex
import shutil
import subprocess
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from visrec_bench.errors import BenchError

WINDOWS = 3
"""perf_analyzer takes so many windows that agree, and reports them as one."""
TRIALS = 9
"""Windows it takes at most, where others disturb so much that one of them got no answer."""
GRACE = 60.0
"""Seconds that perf_analyzer may take beyond its windows, to read the requests and to wait for answers."""
# What the program of the tritonclient wheel is linked to, and what nvidia-pytriton's wheel calls the same.
_LIBRARIES = {"libb64.so.0d": "libb64-*.so.0d", "libcudart.so.12": "libcudart-*.so.12*"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How requests are sent: so many at once, or so many a second.

    Raises:
        ValueError: neither or both are given, or one is not positive.
    """

    concurrency: int | None = None
    """Requests in flight: each answer is followed by the next request at once."""
    rate: float | None = None
    """Requests a second that arrive at random (Poisson), whether or not the earlier ones are answered."""

    def __post_init__(self) -> None:
        """Check what the types can't say."""
        given = [value for value in (self.concurrency, self.rate) if value is not None]
        if len(given) != 1 or not given[0] > 0:
            raise ValueError(
                f"concurrency={self.concurrency}, rate={self.rate}: give one of them, and above 0"
            )

    def __str__(self) -> str:
        return f"{self.concurrency} at once" if self.rate is None else f"{self.rate:.4g}/s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Latencies:
    """What clients saw under one load."""

    throughput: float
    """Answers a second."""
    p50_ms: float
    p90_ms: float
    p95_ms: float
    p99_ms: float
    mean_ms: float
    behind: int
    """Requests of a rate that perf_analyzer could not send in time; the latencies hide their waiting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is asked."""

    url: str
    """host:port of gRPC."""
    model: str
    input_data: Path
    """Requests, as perf_analyzer reads them."""


class PerfAnalyzer:
    """A perf_analyzer that runs here."""

    def __init__(self, binary: Path, libraries: Path | None) -> None:
        """Use a program; `libraries` is a folder that it needs on LD_LIBRARY_PATH."""
        self.binary, self.libraries = binary, libraries

    @classmethod
    def find(cls, folder: Path) -> PerfAnalyzer:
        """Find it on PATH or in this environment.

        Args:
            folder: gets links to the libraries that it lacks, and has to stay as long as it is used.

        Raises:
            BenchError: there is none, or it can't run here.
        """
        beside = Path(sysconfig.get_path("scripts")) / "perf_analyzer"
        found = shutil.which("perf_analyzer") or (str(beside) if beside.is_file() else None)
        if found is None:
            raise BenchError(
                "perf_analyzer is neither on PATH nor in this environment: pip install 'visrec[bench]'"
            )
        reason = ""
        for libraries in (None, folder):
            if libraries:
                _link_libraries(libraries)
            analyzer = cls(Path(found), libraries)
            reason = analyzer._why_not()
            if not reason:
                return analyzer
        raise BenchError(
            f"{found} can't run here ({reason}): pip install 'visrec[bench,serve]', "
            "which brings one with the libraries that it needs"
        )

    def command(self, target: Target, load: Load, seconds: float) -> list[str]:
        """Build the command line that puts a load on a server.

        Args:
            target: what is asked.
            load: how.
            seconds: how long is measured.
        """
        words = [str(self.binary), "-m", target.model, "-i", "grpc", "-u", target.url]
        words += ["--input-data", str(target.input_data)]
        if load.concurrency is not None:
            words += ["--concurrency-range", str(load.concurrency)]
        else:
            # asynchronous, or its few threads would limit how many requests can be in flight
            words += ["--async", "--request-rate-range", f"{load.rate:g}"]
            words += ["--request-distribution", "poisson"]
        # with so much tolerance, any windows with answers agree: choosing calm ones would flatter the server
        words += ["-p", str(round(1000 * seconds / WINDOWS)), "-r", str(TRIALS), "-s", "1000"]
        return words

    def line(self, command: Sequence[str]) -> str:
        """The command as one line to copy into a shell."""
        setting = f"LD_LIBRARY_PATH={shlex.quote(str(self.libraries))} " if self.libraries else ""
        return setting + shlex.join(command)

    def run(self, target: Target, load: Load, seconds: float, report: Path) -> Latencies:
        """Put a load on a server.

        Args:
            target: what is asked.
            load: how.
            seconds: how long is measured; starting takes a few seconds more.
            report: where perf_analyzer writes its CSV.

        Raises:
            BenchError: perf_analyzer fails or takes too long.
        """
        command = [*self.command(target, load, seconds), "--verbose-csv", "-f", str(report)]
        report.unlink(missing_ok=True)
        try:
            done = subprocess.run(  # noqa: S603  (our own command)
                command,
                env=self._environment(),
                capture_output=True,
                text=True,
                errors="replace",
                timeout=2 * seconds * TRIALS / WINDOWS + GRACE,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise BenchError(
                f"perf_analyzer was not done with {load} after {error.timeout:.0f} s: "
                "is the server overloaded by others?"
            ) from error
        if not report.is_file():
            raise BenchError(f"perf_analyzer failed at {load}: {_reason(done)}")
        return read_report(report)

    def _why_not(self) -> str:
        """Why the program does not start; "" if it does."""
        try:
            done = subprocess.run(  # noqa: S603
                [str(self.binary), "--version"],
                env=self._environment(),
                capture_output=True,
                text=True,
                timeout=GRACE,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
        return "" if done.returncode == 0 else " ".join((done.stderr or done.stdout).split())

    def _environment(self) -> dict[str, str]:
        folders = [str(self.libraries or ""), os.environ.get("LD_LIBRARY_PATH", "")]
        return os.environ | {"LD_LIBRARY_PATH": ":".join(folder for folder in folders if folder)}


def read_report(path: Path) -> Latencies:
    """Read the CSV that perf_analyzer writes with --verbose-csv, for one load.

    Raises:
        BenchError: it holds no measurement.
    """
    with path.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row.get("Inferences/Second")]
    try:
        (row,) = rows
        return Latencies(
            throughput=float(row["Inferences/Second"]),
            **{f"p{p}_ms": float(row[f"p{p} latency"]) / 1000 for p in (50, 90, 95, 99)},
            mean_ms=float(row["Avg latency"]) / 1000,
            behind=int(row.get("Delayed Request Count") or 0),
        )
    except (KeyError, ValueError) as error:
        raise BenchError(f"perf_analyzer's report {path} can't be read: {error}") from error


def _reason(done: subprocess.CompletedProcess[str]) -> str:
    """What perf_analyzer says about its failure, in one line."""
    said = [line.strip() for line in f"{done.stderr}\n{done.stdout}".splitlines() if line.strip()]
    if any("obtain stable measurement" in line for line in said):
        return "too few answers came within a window: measure for longer (--seconds) or with less load"
    telling = (line for line in said if "error" in line.lower() or "failed" in line.lower())
    return next(telling, said[-1] if said else f"exit code {done.returncode}")


def _link_libraries(folder: Path) -> None:
    """Make links to the libraries that come with nvidia-pytriton, under the names that are asked for."""
    spec = importlib.util.find_spec("pytriton")
    if spec is None or not spec.submodule_search_locations:
        return
    carried = Path(spec.submodule_search_locations[0]).parent / "nvidia_pytriton.libs"
    folder.mkdir(parents=True, exist_ok=True)
    for name, pattern in _LIBRARIES.items():
        link = folder / name
        if library := next(iter(sorted(carried.glob(pattern))), None):
            link.unlink(missing_ok=True)
            link.symlink_to(library)
