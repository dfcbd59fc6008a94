"""What was measured, as JSON and as a table."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass

from visrec_bench.limit import Limit
from visrec_bench.statistics import StepTimes
from visrec_bench.sweep import Measurement, saturated


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One run of `visrec bench`."""

    url: str
    model: str
    measurements: Sequence[Measurement]
    limit: Limit | None
    """None where the graphs were not at hand."""

    def as_json(self) -> str:
        """Everything as JSON, with what follows from it under `ratios`."""
        return json.dumps(dataclasses.asdict(self) | {"ratios": self.ratios()}, indent=2) + "\n"

    def ratios(self) -> dict[str, float]:
        """What tells more than the figures themselves: each relates two measurements of this run."""
        ratios: dict[str, float] = {}
        if self.limit:
            ratios["saturated/limit"] = (
                saturated(self.measurements).clients.throughput / self.limit.throughput
            )
        alone = next((m for m in self.measurements if m.load.concurrency == 1), None)
        if alone and self.limit:
            ratios["overhead_ms"] = alone.clients.p50_ms - self.limit.p50_ms
        if alone:
            for measurement in self.measurements:
                if measurement.load.rate is not None:
                    key = f"p99 at {measurement.load} / unloaded p50"
                    ratios[key] = measurement.clients.p99_ms / alone.clients.p50_ms
        return ratios

    def as_table(self) -> str:
        """A row a load, for people; milliseconds."""
        header = ["load", "answers/s", *(["of limit"] if self.limit else []), "p50", "p95", "p99"]
        header += ["queue", "compute", "between", "transfer"]
        rows = [header]
        for measurement in self.measurements:
            clients, times = measurement.clients, breakdown(self.model, measurement)
            row = [str(measurement.load), f"{clients.throughput:.1f}"]
            row += [f"{clients.throughput / self.limit.throughput:.2f}"] if self.limit else []
            row += [f"{value:.1f}" for value in (clients.p50_ms, clients.p95_ms, clients.p99_ms)]
            sums = [sum(times.queue.values()), sum(times.compute.values()), times.between, times.transfer]
            rows.append([*row, *(f"{value:.1f}" for value in sums)])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join(
            "  ".join(cell.rjust(w) for cell, w in zip(row, widths, strict=True)) for row in rows
        )

    def summary(self) -> str:
        """The limit in a sentence; "" if it was not measured."""
        if not self.limit:
            return ""
        best = self.limit.arrangement
        return (
            f"limit, the same graphs in one process: {self.limit.throughput:.1f}/s"
            f" ({best.workers} x {best.threads} threads, batch {best.batch});"
            f" {self.limit.p50_ms:.1f} ms one at a time"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Breakdown:
    """Where the mean request spent its time, in milliseconds."""

    queue: dict[str, float]
    """By step: waiting for a batch to start."""
    compute: dict[str, float]
    """By step: its batch, from taking inputs apart to handing outputs on."""
    between: float
    """Inside Triton, in no step."""
    transfer: float
    """Outside Triton's account: gRPC on both sides and the network."""


def breakdown(model: str, measurement: Measurement) -> Breakdown:
    """Split the mean latency by step.

    Means of the server, which include warm-up, are set against means of the clients, which don't: what is
    small may come out slightly negative, and is shown as 0.
    """
    whole = measurement.steps[model]
    steps = {name: times for name, times in measurement.steps.items() if name != model} or {model: whole}
    spent = sum(times.queue_ms + _compute(times) for times in steps.values())
    return Breakdown(
        queue={name: times.queue_ms for name, times in steps.items()},
        compute={name: _compute(times) for name, times in steps.items()},
        between=max(whole.total_ms - spent, 0.0),
        transfer=max(measurement.clients.mean_ms - whole.total_ms, 0.0),
    )


def _compute(times: StepTimes) -> float:
    return times.input_ms + times.infer_ms + times.output_ms
