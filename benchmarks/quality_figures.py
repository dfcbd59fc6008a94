"""Puts the figures of `make demo` into the README, so that no number there is typed by hand.

    make demo
    for seed in 1 2 3 4; do .venv/bin/visrec demo --folder build/demo-$seed --seed $seed; done
    .venv/bin/python benchmarks/quality_figures.py build/demo/evaluation.json build/demo-*/evaluation.json

Keeps them, with the machine and the commit, as benchmarks/results/demo.json. Seeds beyond the first, each of
which simulates other shoppers and trains on them, say how much the figures vary.
"""

from __future__ import annotations

import json
import platform
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from visrec_client.errors import VisrecError
from visrec_training.files import write_text
from visrec_training.intervals import BOTH, BOTH_TO_ONE, HISTORY_TO_POPULARITY, NEW_TO_CHANCE
from visrec_training.report_text import cell, half_width

ROOT = Path(__file__).parents[1]
COLUMNS = ("ndcg@10", "recall@20", "mrr@10")


def main(evaluations: Sequence[Path]) -> None:
    """Read evaluations, one a seed, and rewrite what is made from them."""
    reports = [json.loads(path.read_text()) for path in evaluations]
    figures = {"machine": machine(), "commit": commit(), **reports[0], "seeds": by_seed(reports)}
    (ROOT / "benchmarks" / "results" / "demo.json").write_text(json.dumps(figures, indent=2) + "\n")
    fill_in(ROOT / "README.md", "figures", block(figures))


def machine() -> str:
    """The processor and the number of its cores that this machine has."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return f"{len(names)} cores of {names[0] if names else platform.machine()}, no GPU"


def commit() -> str:
    """The commit that is checked out."""
    words = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(words, cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()  # noqa: S603


def fill_in(document: Path, mark: str, text: str) -> None:
    """Replace what stands between <!-- MARK --> and <!-- /MARK -->.

    Raises:
        VisrecError: the document can't be read or written, or has no such marks.
    """
    try:
        old = document.read_text("utf-8")
    except OSError as error:
        raise VisrecError(f"can't read {document}: {error.strerror}") from error
    marked = re.compile(rf"(<!-- {mark} -->\n).*?(<!-- /{mark} -->)", re.DOTALL)
    if not marked.search(old):
        raise VisrecError(f"{document} has no <!-- {mark} --> … <!-- /{mark} --> to fill in")
    write_text(document, marked.sub(lambda found: found[1] + text + found[2], old))


def by_seed(reports: Sequence[dict[str, Any]]) -> dict[str, list[float]]:
    """What varies with the seed: a figure a report."""
    return {
        "warm": [report["warm"][BOTH]["ndcg@10"] for report in reports],
        "cold": [report["cold"][BOTH]["ndcg@10"] for report in reports],
        "ratio": [report["ratios"][str(BOTH_TO_ONE)]["ratio"] for report in reports],
    }


def block(figures: dict[str, Any]) -> str:
    """The tables and the sentences around them, each figure with its 95% interval where the report has it."""
    warm, cold, attention, alone = (figures[key] for key in ("warm", "cold", "attention", "picture alone"))
    lines = ["| sent | " + " | ".join(f"{part} {column}" for part in ("warm", "cold") for column in COLUMNS)]
    lines.append("| --- " * (1 + 2 * len(COLUMNS)))
    for name in warm:
        values = [_figure(table, name, column) for table in (warm, cold) for column in COLUMNS]
        lines.append(f"| {name} | " + " | ".join(values))
    rows = "".join(f"{line.rstrip()} |\n" for line in lines)
    popular, both, chance = (
        _times(figures["ratios"][str(ratio)], digits)
        for ratio, digits in ((HISTORY_TO_POPULARITY, 1), (BOTH_TO_ONE, 2), (NEW_TO_CHANCE, 0))
    )
    low, high = alone["ratio interval"]
    category = _times({"ratio": alone["ratio"], "low": low, "high": high}, 1)
    sure = half_width(attention["on the object interval"], 2)
    return (
        f"\n{figures['queries']['warm']:,} warm and {figures['queries']['cold']:,} cold queries, seed 0, on"
        f" {figures['machine']}; ± and brackets are 95% intervals over people, or over pictures where those"
        f" are asked:\n\n{rows}\n"
        f"History alone reaches {popular} popularity's NDCG@10, and picture and history together {both} the"
        f" better of the two. Cold Recall@20 with both is {chance} chance. A picture alone finds its own"
        f" category {category} as often as chance ({alone['own category in the top 10']:.2f} of the top 10)."
        f" Over {attention['pictures']:.0f} pictures, {attention['on the object']:.2f} {sure} of the"
        f" attention lies on what is drawn, where a uniform map has {attention['uniform map']:.2f}; it is"
        f" above uniform in {attention['above uniform']:.0%} of them.\n\n{_seeds(figures['seeds'])}"
    )


def _seeds(figures: dict[str, list[float]]) -> str:
    """How much the figures vary, with 95% t intervals of the mean; nothing where there is one seed."""
    count = len(figures["ratio"])
    if count == 1:
        return ""
    warm, cold, ratio = (
        _mean(figures[name], digits) for name, digits in (("warm", 3), ("cold", 3), ("ratio", 2))
    )
    return (
        f"Over {count} seeds, each with shoppers and a training of its own, NDCG@10 with both is {warm} warm"
        f" and {cold} cold, and {ratio} times the better of the two.\n\n"
    )


def _mean(values: Sequence[float], digits: int) -> str:
    mean, error = np.mean(values), stats.sem(values)
    low, high = stats.t.interval(0.95, len(values) - 1, loc=mean, scale=error)
    return f"{mean:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def _times(ratio: dict[str, float], digits: int) -> str:
    low, high = (f"{ratio[end]:.{digits}f}" for end in ("low", "high"))
    return f"{ratio['ratio']:.{digits}f} times ({low} to {high})"


def _figure(table: dict[str, dict[str, Any]], row: str, column: str) -> str:
    """A figure of a row that not every table has: behaviour alone says nothing of new items."""
    return cell(table[row], column) if row in table else "-"


if __name__ == "__main__":
    main([Path(word) for word in sys.argv[1:]])
