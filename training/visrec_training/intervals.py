"""How sure the figures of an evaluation are, and how many times another's figure one is."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from visrec_training.bootstrap import FEWEST_PEOPLE, interval, resampled_means
from visrec_training.metrics import Table, Values
from visrec_training.query_results import METRICS, SectionResults
from visrec_training.references import POPULARITY, RANDOM
from visrec_training.retrieval import Modalities

Ends = dict[str, dict[str, list[float]]]
"""Row → `METRIC interval` → the two ends of its 95% interval."""
HISTORY, PICTURE = str(Modalities(history=True)), str(Modalities(picture=True))
BOTH = str(Modalities(picture=True, history=True))


class Ratio(NamedTuple):
    """How many times the best of others' figures a row's figure is."""

    section: str
    metric: str
    """Of `METRICS`."""
    row: str
    others: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.section} {self.metric}, {self.row} to {' or '.join(self.others)}"


HISTORY_TO_POPULARITY = Ratio("warm", "ndcg@10", HISTORY, (POPULARITY,))
BOTH_TO_ONE = Ratio("warm", "ndcg@10", BOTH, (HISTORY, PICTURE))
NEW_TO_CHANCE = Ratio("cold", "recall@20", BOTH, (RANDOM,))
RATIOS = (HISTORY_TO_POPULARITY, BOTH_TO_ONE, NEW_TO_CHANCE)


def how_sure(section: str, results: SectionResults) -> tuple[Ends, Table]:
    """The intervals of a section's rows, and those of `RATIOS` that it has: `ratio`, `low` and `high`.

    Both are empty where fewer than `FEWEST_PEOPLE` ask. All rows are drawn together, so ratios are paired.
    """
    if len(np.unique(results.people)) < FEWEST_PEOPLE:
        return {}, {}
    rows = list(results.reached)
    reached = np.stack(list(results.reached.values()), axis=1)
    drawn = resampled_means(reached, results.people)
    low_high = interval(drawn)
    ends = {
        row: {
            f"{metric} interval": low_high[:, place, column].tolist() for column, metric in enumerate(METRICS)
        }
        for place, row in enumerate(rows)
    }
    ratios: Table = {}
    for ratio in RATIOS:
        asked = (ratio.row, *ratio.others)
        if ratio.section == section and set(asked) <= set(rows):
            places, column = [rows.index(row) for row in asked], METRICS.index(ratio.metric)
            ratios |= _ratio(str(ratio), reached.mean(axis=0)[places, column], drawn[:, places, column])
    return ends, ratios


def _ratio(name: str, reached: Values, drawn: Values) -> Table:
    """A row's figure by the best of others', which each sample chooses anew; empty if one finds them all 0.

    Args:
        name: what it is.
        reached: float64 [1 + others], the row's figure first.
        drawn: float64 [samples, 1 + others], the same in each sample.
    """
    best = drawn[:, 1:].max(axis=1)
    if not best.all():
        return {}
    low, high = interval(drawn[:, 0] / best).tolist()
    return {name: {"ratio": float(reached[0] / reached[1:].max()), "low": low, "high": high}}
