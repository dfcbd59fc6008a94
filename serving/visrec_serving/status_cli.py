"""`visrec status`: which release a server answers with, since when, how good it is, and the others."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from visrec_serving import history, pins
from visrec_serving.control_options import add_control_arguments, read_access
from visrec_serving.model_control import ModelControl
from visrec_serving.releases import find


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_control_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Print it.

    Raises:
        VisrecError: the repository can't be read, or the server does not answer; what is known is printed.
    """
    access = read_access(args)
    print(describe_repository(args.repository))
    with ModelControl(access) as control:
        loaded = ", ".join(
            f"{name} {'+'.join(map(str, versions))}" for name, versions in control.versions().items()
        )
        print(f"server at {access.url}: answers with release {control.serving()}; loaded: {loaded}")
    return 0


def describe_repository(repository: Path) -> str:
    """A line for each release."""
    served, before, loaded = pins.served(repository), history.before(repository), pins.loaded(repository)
    since = {entry.release: entry.since for entry in history.read(repository)}
    lines = []
    for number, release in find(repository).items():
        state = "kept"
        if number == served:
            state = f"served since {since[number]}" if number in since else "served"
        elif number == before:
            state = "served before: `visrec rollback` goes back to it"
        elif number in loaded:
            state = "loaded"
        lines.append(f"release {number}: {state}; {_facts(release.report)}")
        if data := release.report.get("data"):
            lines.append(f"  trained on {_data(data)}")
        if quality := release.report.get("quality"):
            lines.append(f"  measured before export: {_quality(quality)}")
    return "\n".join(lines) or f"{repository} holds no release: run `visrec export` first"


def _data(data: Mapping[str, Any]) -> str:
    """What a report says of the data that the model learned from: what was read, used and left out."""
    rows = [f"{name} {_rows(data[name])}" for name in ("items", "interactions") if data[name]]
    people = (
        f"{data['users']:,} users, {data['users to train on']:,} to train on and"
        f" {data['users to evaluate']:,} to evaluate; {data['items with interactions']:,} items with"
        " interactions"
    )
    notes = [note for part in (data["items"], data["interactions"], data) if part for note in part["notes"]]
    return "; ".join([*rows, people, *notes])


def _rows(tally: Mapping[str, Any]) -> str:
    dropped = [f"{count:,} {reason}" for reason, count in tally["rows dropped"].items()]
    left_out = f" ({', '.join(dropped)})" if dropped else ""
    return f"{tally['rows used']:,} of {tally['rows read']:,} rows{left_out}"


def _quality(quality: Mapping[str, Any]) -> str:
    """What a report says of how good the checkpoint was on what its training held out."""
    reached = [f"{ndcg:.4f} for {items}" for items, ndcg in quality["ndcg@10"].items()]
    ndcg = [f"NDCG@10 by history {', '.join(reached)}"] if reached else []
    return "; ".join([*ndcg, *quality["pictures"]]) or "nothing about people"


def _facts(report: Mapping[str, Any]) -> str:
    """What a report says of items, precision and quality."""
    proof = report["against PyTorch"]
    facts = [
        f"{report['items']:,} items",
        report["precision"],
        report["backbone"],
        f"made {report['made']}",
        f"top 10 as PyTorch's in {proof['same top 10']} of {proof['requests']} requests",
    ]
    if ndcg := report.get("against FP32", {}).get("ndcg@10"):
        facts.append(f"NDCG@10 {ndcg['ours']:.4f} ({ndcg['change']:+.1%} against FP32)")
    if change := report.get("catalogue"):
        facts.append(f"{change['added']:,} items added and {change['removed']:,} removed since training")
    return ", ".join(facts)
