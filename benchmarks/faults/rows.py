"""One row of the table: what was done, what was seen, and what had to be."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.quality_figures import ROOT, commit, fill_in, machine

from visrec_training.files import write_text

RESULTS = ROOT / "benchmarks" / "results" / "faults.json"
PAGE = ROOT / "docs" / "operations.md"


@dataclass(frozen=True, slots=True)
class Row:
    """What one fault showed."""

    fault: str
    """In words."""
    done: Mapping[str, Any]
    """What was done, how often, for how long."""
    seen: Mapping[str, Any]
    """Figures."""
    holds: Mapping[str, bool]
    """What had to be, and whether it was."""


def publish(name: str, row: Row) -> None:
    """Put a row into the results, in place of an older one, and the table into the page for operators.

    Raises:
        VisrecError: a file can't be read or written.
    """
    rows = json.loads(RESULTS.read_text("utf-8")) if RESULTS.is_file() else {}
    rows[name] = {"machine": machine(), "commit": commit(), **asdict(row)}
    write_text(RESULTS, json.dumps(rows, indent=2) + "\n")
    fill_in(PAGE, "faults", table(rows))


def table(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """The rows in Markdown."""
    lines = ["| what was done | what was seen | |", "| --- | --- | --- |"]
    for row in rows.values():
        done = "; ".join(f"{key} {_short(value)}" for key, value in row["done"].items())
        seen = "; ".join(f"{key} {_short(value)}" for key, value in row["seen"].items())
        missed = [name for name, holds in row["holds"].items() if not holds]
        verdict = f"missed: {', '.join(missed)}" if missed else f"holds: {', '.join(row['holds'])}"
        lines.append(f"| **{row['fault']}**: {done} | {seen} | {verdict} |")
    return "\n".join(lines) + "\n"


def _short(value: Any) -> str:  # noqa: ANN401  (whatever JSON holds)
    if isinstance(value, Mapping):
        return (
            "(" + ", ".join(f"{key} {_short(inner)}" for key, inner in value.items()) + ")"
            if value
            else "none"
        )
    if isinstance(value, list):
        return ", ".join(map(_short, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What every fault shares."""

    repository: Path
    """An exported model repository."""
    checkpoint: Path
    """What it was exported from, for new catalogues."""
    data: Path
    """Data folder for requests."""
    work: Path
    """Gets logs and copies."""
    scale: float
    """1 for the figures that are published; less for a quick look: fewer repetitions, shorter."""

    def times(self, count: int) -> int:
        """A number of repetitions, at this scale."""
        return max(1, round(self.scale * count))
