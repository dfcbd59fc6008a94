"""Loads one after the other, and what a server made of each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from visrec_bench.perf_analyzer import Latencies, Load, PerfAnalyzer, Target
from visrec_bench.statistics import Connection, StepTimes, step_times


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One load, as the clients and as the server saw it."""

    load: Load
    clients: Latencies
    steps: dict[str, StepTimes]
    """The asked model and, of an ensemble, its steps: means over the whole load, warm-up included."""


def measure(
    analyzer: PerfAnalyzer, target: Target, loads: Iterable[Load], *, seconds: float, folder: Path
) -> list[Measurement]:
    """Put loads on a server.

    Args:
        analyzer: puts them.
        target: what is asked.
        loads: in this order.
        seconds: how long each is measured.
        folder: gets perf_analyzer's report.

    Raises:
        VisrecError: the server can't be reached, or perf_analyzer fails.
    """
    server = Connection(target.url)
    measurements = []
    for load in tqdm(list(loads), "loads", leave=False):
        before = server.snapshot()
        clients = analyzer.run(target, load, seconds, folder / "perf_analyzer.csv")
        steps = step_times(before, server.snapshot())
        measurements.append(Measurement(load=load, clients=clients, steps=steps))
    return measurements


def saturated(measurements: Iterable[Measurement]) -> Measurement:
    """The measurement with the most answers a second."""
    return max(measurements, key=lambda measurement: measurement.clients.throughput)
