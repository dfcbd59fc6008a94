"""What is measured of a model: each query's metrics in each section, and what rankings are like besides."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from visrec_training.baselines import popularity_of
from visrec_training.beyond_accuracy import (
    beyond_accuracy,
    calibration,
    category_vectors,
    new_among_known,
)
from visrec_training.files import write_beside
from visrec_training.metrics import Values, query_metrics
from visrec_training.prepare import Prepared
from visrec_training.queries import Section
from visrec_training.retrieval import Ranking
from visrec_training.rows import Rows
from visrec_training.served import SHORT_HISTORIES, shortened
from visrec_training.split import Split

METRICS = ("ndcg@10", "recall@20", "mrr@10")
EXAMPLES = 4
SHORT_SEED = 0  # every model is asked with the same short histories


@dataclass(frozen=True, slots=True)
class Measured:
    """One model, trained once."""

    accuracy: dict[str, dict[str, Values]]
    """Row → metric → float64 [n], a value a query; rows as `asked` names them."""
    besides: dict[str, dict[str, float]]
    """`beyond accuracy` of warm rankings, and where it has scores their `calibration`; `new among known` of
    mixed ones; `cost` of training."""
    examples: dict[str, Rows]
    """Row → int64 [4, 10], what the first queries were answered."""

    def save(self, path: Path) -> None:
        """Write it, whole or not at all."""
        arrays: dict[str, npt.NDArray[Any]] = {
            f"{row}|{metric}": values
            for row, table in self.accuracy.items()
            for metric, values in table.items()
        }
        arrays |= {f"{row}|examples": rows for row, rows in self.examples.items()}
        arrays["besides"] = np.asarray(json.dumps(self.besides))
        write_beside(path, partial(_save, arrays))

    @classmethod
    def load(cls, path: Path) -> Measured:
        """Read what `save` wrote."""
        accuracy: dict[str, dict[str, Values]] = {}
        examples: dict[str, Rows] = {}
        with np.load(path, allow_pickle=False) as stored:
            besides = json.loads(str(stored["besides"]))
            for name in stored.files:
                row, _, metric = name.partition("|")
                if metric == "examples":
                    examples[row] = stored[name]
                elif metric:
                    accuracy.setdefault(row, {})[metric] = stored[name]
        return cls(accuracy, besides, examples)


def asked(split: Split) -> dict[str, Section]:
    """What every model is asked, by row.

    `warm`, `cold alone`, `cold` and `mixed` as `Split.sections` says; `nothing` and `history-N`: warm items
    for people of whom no more than N items are known.
    """
    rows = split.sections()
    if "warm" in rows:
        for count in (0, *SHORT_HISTORIES):
            name = f"history-{count}" if count else "nothing"
            rows[name] = shortened(split, rows["warm"], count, SHORT_SEED)
    return rows


def measure(
    rank: Callable[[Section], Ranking | Rows], prepared: Prepared, rows: dict[str, Section]
) -> Measured:
    """Ask a model.

    Args:
        rank: answers a section's queries; a `Ranking` is judged by its scores too.
        prepared: the data.
        rows: what to ask, of `asked`.
    """
    accuracy, besides, examples = {}, {}, {}
    popularity = popularity_of(prepared.split)
    vectors = category_vectors(prepared.dataset.catalogue.categories)
    for name, section in rows.items():
        answered = rank(section)
        ranked = answered.rows if isinstance(answered, Ranking) else answered
        metrics = query_metrics(ranked, section.queries.targets)
        accuracy[name] = {metric: metrics[metric] for metric in METRICS}
        examples[name] = ranked[:EXAMPLES, :10]
        if name == "warm":
            besides["beyond accuracy"] = beyond_accuracy(ranked, popularity, section.ranked, vectors)
            if isinstance(answered, Ranking):
                besides["calibration"] = calibration(ranked, answered.scores, section.queries.targets)
        if name == "mixed":
            bands = new_among_known(ranked, section.queries.targets, prepared.split.is_cold)
            besides["new among known"] = {
                f"{band}, {column}": share for band, row in bands.items() for column, share in row.items()
            }
    return Measured(accuracy, besides, examples)


def _save(arrays: dict[str, npt.NDArray[Any]], path: Path) -> None:
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)
