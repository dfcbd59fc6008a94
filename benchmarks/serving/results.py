"""From raw runs to benchmarks/results/serving.json, charts, and the figures in docs/performance.md."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from benchmarks.quality_figures import ROOT, fill_in
from matplotlib.figure import Figure

from visrec_bench.charts import save
from visrec_training.files import write_text

Run: TypeAlias = Mapping[str, Any]
Runs: TypeAlias = Mapping[str, Sequence[Run]]
"""By name: repositories, peers, and visrec through its own client."""
RESULTS = ROOT / "benchmarks" / "results" / "serving.json"
CLIENT = "visrec"
"""The name of the runs through visrec's own client, which are what peers are compared with."""


def saturated(run: Run) -> float:
    """Most answers a second."""
    return max(load["clients"]["throughput"] for load in run["at once"].values())


def unloaded(run: Run) -> float:
    """Median latency of one request at a time, ms."""
    return float(run["at once"]["1"]["clients"]["p50_ms"])


def tail(run: Run) -> float:
    """p99 at 60% of saturated throughput, ms."""
    return float(run["at 60%"]["clients"]["p99_ms"])


def of_limit(run: Run) -> float:
    """Saturated throughput over what the graphs do without a server."""
    return saturated(run) / float(run["limit"]["throughput"])


def overhead(run: Run) -> float:
    """What the server adds to one request at a time, ms."""
    return unloaded(run) - float(run["limit"]["p50_ms"])


def median(runs: Sequence[Run], figure: Callable[[Run], float]) -> float:
    """The median of a figure over repeats."""
    return statistics.median(figure(run) for run in runs)


def summarise(runs: Runs, int8: Mapping[str, Any] | None, main: str) -> dict[str, Any]:
    """The figures that matter, each the median of ratios within a run.

    Args:
        runs: everything measured.
        int8: what the export said about the quality of INT8, if it was measured.
        main: the repository whose latency is told.
    """
    repositories = {name: some for name, some in runs.items() if "limit" in some[0]}
    ratios = {f"{name}/limit": median(some, of_limit) for name, some in repositories.items()}
    for name, some in repositories.items():
        backbone, _, precision = name.rpartition("-")
        if precision == "int8" and (floats := repositories.get(f"{backbone}-fp32")):
            # repeat by repeat: both were measured within minutes
            pairs = [saturated(a) / saturated(b) for a, b in zip(some, floats, strict=False)]
            ratios[f"{name}/fp32"] = statistics.median(pairs)
    for name in runs.keys() - repositories.keys() - {CLIENT}:
        pairs = [saturated(a) / saturated(b) for a, b in zip(runs[CLIENT], runs[name], strict=False)]
        ratios[f"{CLIENT}/{name}"] = statistics.median(pairs)
    return {
        "ratios": ratios,
        "overhead_ms": median(repositories[main], overhead),
        "p99_at_60_over_p50": median(repositories[main], lambda run: tail(run) / unloaded(run)),
        "int8": int8,
    }


def table(runs: Runs) -> str:
    """One Markdown table of everything."""
    lines = [
        "| served | answers/s | of limit | p50 alone, ms | p99 at 60%, ms |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, some in runs.items():
        share = f"{median(some, of_limit):.2f}" if "limit" in some[0] else ""
        figures = (median(some, saturated), median(some, unloaded), median(some, tail))
        lines.append(f"| {name} | {figures[0]:.1f} | {share} | {figures[1]:.1f} | {figures[2]:.1f} |")
    return "\n".join(lines) + "\n"


def block(results: Mapping[str, Any], runs: Runs) -> str:
    """The generated part of docs/performance.md."""
    ratios = "\n".join(f"- {name}: {value:.2f}" for name, value in sorted(results["ratios"].items()))
    return (
        f"Medians of {min(map(len, runs.values()))} runs on {results['machine']},"
        f" commit {results['commit']}:\n\n"
        f"{table(runs)}\nRatios within a run:\n\n{ratios}\n"
        f"- a request alone, above the same graphs in one process: {results['overhead_ms']:.1f} ms\n"
        f"- p99 at 60% of saturated, over the unloaded p50: {results['p99_at_60_over_p50']:.1f}\n"
    )


def write_chart(runs: Runs, stem: Path) -> None:
    """Bars of saturated throughput; a mark where the limit is."""
    figure = Figure(figsize=(8, 0.6 + 0.5 * len(runs)))
    axes = figure.add_subplot()
    for place, (name, some) in enumerate(runs.items()):
        colour = "#3367a8" if "limit" in some[0] or name == CLIENT else "#999999"
        value = median(some, saturated)
        axes.barh(place, value, color=colour)
        axes.text(value, place, f"{value:.0f} ", va="center", ha="right", color="white", fontsize=9)
        if "limit" in some[0]:
            at = median(some, lambda run: float(run["limit"]["throughput"]))
            axes.plot(
                [at, at], [place - 0.4, place + 0.4], color="black", label="limit" if not place else None
            )
    axes.set_yticks(range(len(runs)), list(runs))
    axes.invert_yaxis()
    axes.set(xlabel="answers per second, saturated")
    axes.legend(fontsize=8, loc="lower right")
    save(figure, stem)


def publish(parts: Mapping[str, Any], mark: str, text: str) -> None:
    """Keep parts in the results, and put what they say between the marks of docs/performance.md.

    Raises:
        VisrecError: one of the two can't be written, or has no such marks.
    """
    merge(RESULTS, parts)
    fill_in(ROOT / "docs" / "performance.md", mark, f"{text}\n")


def merge(path: Path, parts: Mapping[str, Any]) -> None:
    """Put parts into the results as they are committed; what other commands measured stays.

    Raises:
        VisrecError: the file can't be written.
    """
    earlier = json.loads(path.read_text()) if path.is_file() else {}
    write_text(path, json.dumps(earlier | dict(parts), indent=1) + "\n")
