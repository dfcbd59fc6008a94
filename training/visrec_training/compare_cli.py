"""`visrec compare`: which of several models is better, and how sure that is."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from visrec_training.compare import compare
from visrec_training.compared_runs import Run, by_settings, find_runs, make_entries
from visrec_training.errors import EvaluationError
from visrec_training.files import write_text
from visrec_training.intervals import HISTORY
from visrec_training.query_results import METRICS
from visrec_training.report_text import aligned


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="RUN[:ROW]",
        help="the --out folder of a training, whose best.pt is meant, or a checkpoint, measured by `visrec"
        f" evaluate`; ROW is a row of its tables, such as EASE, and {HISTORY!r} where none is given",
    )
    parser.add_argument(
        "--seeds",
        action="store_true",
        help="runs that differ in nothing but their seed are one, by their mean: compares settings",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the figures as JSON here too")


def run(args: argparse.Namespace) -> int:
    """Compare."""
    runs = find_runs(args.runs)
    groups = by_settings(runs) if args.seeds else [[each] for each in runs]
    if len(groups) < 2:
        reason = "all runs have the same settings" if args.seeds else "give two runs or more"
        raise EvaluationError(f"nothing to compare: {reason}")
    entries = [
        {
            "row": group[0].row,
            "runs": [each.name for each in group],
            "seeds": [each.seed for each in group if each.has_seed],
        }
        for group in groups
    ]
    compared = compare(make_entries(groups))
    report = {"entries": entries, **compared, "notes": _notes(groups, compared)}
    if args.out:
        write_text(args.out, json.dumps(report, indent=2) + "\n")
    print(format_comparison(report))
    return 0


def format_comparison(report: dict[str, Any]) -> str:
    """The report as aligned text tables."""
    lines = [
        f"#{place}  {each['row']} of {', '.join(each['runs'])}"
        for place, each in enumerate(report["entries"], start=1)
    ]
    for name, section in report["sections"].items():
        cells = [[f"{name}, {section['people']:,} people", *METRICS]]
        cells += [
            [f"#{place}", *(f"{figures[metric]:.4f}" for metric in METRICS)]
            for place, figures in enumerate(section["figures"], start=1)
        ]
        cells += [
            [f"#{each['entry'] + 1} - #{each['less'] + 1}", *(_sure(each[metric]) for metric in METRICS)]
            for each in section["differences"]
        ]
        lines += ["", *aligned(cells)]
    left_out = [f"{name} is left out: {reason}" for name, reason in report["left out"].items()]
    return "\n".join([*lines, "", *left_out, *report["notes"]])


def _sure(figures: dict[str, float]) -> str:
    p = "p < 0.001" if figures["p adjusted"] < 0.001 else f"p = {figures['p adjusted']:.3f}"
    return f"{figures['difference']:+.4f} ({figures['low']:+.4f} to {figures['high']:+.4f}), {p}"


def _notes(groups: list[list[Run]], compared: dict[str, Any]) -> list[str]:
    """What a reader has to know of each p."""
    notes = ["In brackets: 95% intervals. p: two-sided, by a paired bootstrap over people."]
    if len(groups) > 2:
        notes.append(
            "Each p is corrected for the number of pairs (Holm), in each section and column by itself."
        )
    if any(section["seed degrees of freedom"] for section in compared["sections"].values()):
        notes.append("How much seeds differ counts: it is known from runs that differ in nothing else.")
    elif any(run.has_seed for group in groups for run in group):
        notes.append(
            "Each run is one seed, and another may turn out otherwise: to compare settings, give several"
            " seeds of each, and --seeds."
        )
    return notes
