"""Ranking metrics for queries with one or more right answers each."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from visrec_training.rows import Ragged, Rows

CUTOFFS = (10, 20)
Values = npt.NDArray[np.float64]
Table = dict[str, dict[str, float]]
"""Row → metric → value."""


def hits(ranked: Rows, targets: Ragged) -> npt.NDArray[np.bool_]:
    """Which answers are right: bool [n, k].

    Args:
        ranked: int64 [n, k], item rows, best first; -1 where there are fewer answers.
        targets: the right answers of each query.
    """
    right = targets.values
    apart = max(ranked.max(), right.max()) + 1  # keeps the items of one query from those of another
    answered = ranked + apart * np.arange(len(targets))[:, None]
    return np.isin(answered, right + apart * targets.owners) & (ranked >= 0)


def query_metrics(ranked: Rows, targets: Ragged) -> dict[str, Values]:
    """Recall, NDCG and MRR of each query, at 10 and 20.

    Recall@k is the share of the right answers that stand in the first k. NDCG@k discounts a right answer at
    rank r by 1 / log2(1 + r), next to the best ranking there is (Järvelin & Kekäläinen, TOIS 20:4, 2002).
    MRR@k is 1 / the rank of the first right answer, 0 beyond k.

    Args:
        ranked: int64 [n, 20 or more], item rows, best first; -1 where there are fewer answers.
        targets: the right answers, at least one a query.

    Returns:
        `recall@10`, `ndcg@10`, `mrr@10`, and the same at 20: float64 [n].
    """
    if not len(targets):
        return {f"{name}@{cutoff}": np.zeros(0) for cutoff in CUTOFFS for name in ("recall", "ndcg", "mrr")}
    right = hits(ranked[:, : max(CUTOFFS)], targets)
    metrics = {}
    for cutoff in CUTOFFS:
        within = right[:, :cutoff]
        ranks = 1 + np.arange(within.shape[1])
        metrics[f"recall@{cutoff}"] = within.sum(axis=1) / targets.sizes
        metrics[f"ndcg@{cutoff}"] = (within / np.log2(1 + ranks)).sum(axis=1) / _ideal(targets.sizes, cutoff)
        metrics[f"mrr@{cutoff}"] = (within / ranks).max(axis=1, initial=0)
    return metrics


def ranking_metrics(ranked: Rows, targets: Ragged) -> dict[str, float]:
    """`query_metrics`, averaged over queries; all 0 where there are none."""
    return means(query_metrics(ranked, targets))


def random_metrics(candidates: Rows, targets: Rows) -> dict[str, Values]:
    """What a random ranking is expected to reach, named as by `query_metrics`: float64 [n] each.

    Args:
        candidates: int64 [n], how many items each query ranks, at least as many as are right.
        targets: int64 [n], how many of them are right, at least 1.
    """
    places = np.arange(max(CUTOFFS))
    # chance that none of the first places holds a right answer, given that those before it hold none
    missed = (candidates - targets)[:, None] - places
    missing = np.cumprod(missed.clip(min=0) / (candidates[:, None] - places).clip(min=1), axis=1)
    first = -np.diff(missing, axis=1, prepend=1.0)  # chance that the first right answer stands in a place
    discounts, reciprocals = np.cumsum(1 / np.log2(2 + places)), np.cumsum(first / (1 + places), axis=1)
    metrics = {}
    for cutoff in CUTOFFS:
        last = np.minimum(cutoff, candidates)
        metrics[f"recall@{cutoff}"] = last / candidates
        # each right answer's rank is uniform over the candidates
        gained = targets * discounts[last - 1] / candidates
        metrics[f"ndcg@{cutoff}"] = gained / _ideal(targets, cutoff)
        metrics[f"mrr@{cutoff}"] = reciprocals[:, cutoff - 1]
    return metrics


def means(metrics: dict[str, Values]) -> dict[str, float]:
    """The mean of each metric over queries; 0 where there are none."""
    return {
        name: float(np.mean(values, dtype=np.float64)) if len(values) else 0.0
        for name, values in metrics.items()
    }


def _ideal(counts: Rows, cutoff: int) -> Values:
    """The discounted gain of the best ranking: all right answers first."""
    discounts = np.cumsum(1 / np.log2(2 + np.arange(cutoff)))
    return discounts[np.minimum(counts, cutoff) - 1]
