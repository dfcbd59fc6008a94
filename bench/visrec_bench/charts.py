"""Charts of a run, each as SVG and as PNG."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from visrec_bench.report import Report, breakdown
from visrec_bench.sweep import Measurement
from visrec_training.files import write_beside

mpl.rcParams["svg.hashsalt"] = "visrec"
_SIZE = (8.0, 4.5)
_COLOURS = ("#3367a8", "#d9822b", "#4f9d69", "#8e5aa8")


def write_charts(report: Report, folder: Path) -> list[Path]:
    """Draw `throughput` and `steps`.

    Raises:
        VisrecError: a file can't be written.
    """
    figures = {"throughput": _throughput(report), "steps": _steps(report)}
    return [path for name, figure in figures.items() for path in save(figure, folder / name)]


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write a figure as SVG and PNG.

    Raises:
        VisrecError: a file can't be written.
    """
    figure.set_layout_engine("constrained")
    paths = []
    for kind in ("svg", "png"):
        path = stem.with_suffix(f".{kind}")
        # without a date, the same figures give the same file
        metadata = {"Date": None} if kind == "svg" else None
        write_beside(path, partial(figure.savefig, format=kind, metadata=metadata))
        paths.append(path)
    return paths


def _throughput(report: Report) -> Figure:
    """Latency over throughput: a line a percentile, for requests at once and for random arrivals."""
    figure = Figure(figsize=_SIZE)
    axes = figure.add_subplot()
    arrivals = {
        "at once": [m for m in report.measurements if m.load.rate is None],
        "random arrivals": [m for m in report.measurements if m.load.rate is not None],
    }
    for (kind, measured), style in zip(arrivals.items(), ("o-", "s--"), strict=True):
        for percentile, colour in zip(("p50", "p95", "p99"), _COLOURS, strict=False):
            if measured:
                x = [m.clients.throughput for m in measured]
                y = [getattr(m.clients, f"{percentile}_ms") for m in measured]
                axes.plot(x, y, style, color=colour, label=f"{percentile}, {kind}")
    for m in arrivals["at once"]:
        at = (m.clients.throughput, m.clients.p50_ms)
        axes.annotate(str(m.load.concurrency), at, xytext=(4, -10), textcoords="offset points", fontsize=8)
    if report.limit:
        axes.axvline(
            report.limit.throughput, color="grey", linestyle=":", label="limit: graphs in one process"
        )
    axes.set(xlabel="answers per second", ylabel="latency, ms", xlim=(0, None), yscale="log")
    axes.set_title(f"{report.model}: latency over throughput; numbers are requests at once")
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize=8)
    return figure


def _steps(report: Report) -> Figure:
    """Where the mean request spends its time: a bar a load."""
    figure = Figure(figsize=_SIZE)
    axes = figure.add_subplot()
    labels = [str(m.load) for m in report.measurements]
    left = [0.0] * len(labels)
    for label, values, colour, hatch in _shares(report.model, report.measurements):
        axes.barh(labels, values, left=left, label=label, color=colour, hatch=hatch, edgecolor="white")
        left = [a + b for a, b in zip(left, values, strict=True)]
    axes.invert_yaxis()
    axes.set(xlabel="ms of the mean request", title=f"{report.model}: time by step")
    axes.legend(fontsize=8)
    return figure


def _shares(
    model: str, measurements: Sequence[Measurement]
) -> list[tuple[str, list[float], str, str | None]]:
    """(label, value a load, colour, hatch) of each part of a request's time."""
    times = [breakdown(model, measurement) for measurement in measurements]
    order = ("encoder", "attention", "fusion_scorer")
    steps = sorted(times[0].queue, key=lambda name: order.index(name) if name in order else len(order))
    shares: list[tuple[str, list[float], str, str | None]] = []
    for step, colour in zip(steps, _COLOURS, strict=False):
        shares.append((f"{step}: queue", [t.queue.get(step, 0.0) for t in times], colour, "///"))
        shares.append((f"{step}: compute", [t.compute.get(step, 0.0) for t in times], colour, None))
    shares.append(("between the steps", [t.between for t in times], "#999999", None))
    shares.append(("transfer", [t.transfer for t in times], "#444444", None))
    return shares
