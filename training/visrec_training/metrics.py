"""Ranking metrics for queries with one right answer each."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from visrec_training.data import Rows

CUTOFFS = (10, 20)


def ranking_metrics(ranked: Rows, targets: Rows) -> dict[str, float]:
    """Recall, NDCG and MRR at 10 and 20, averaged over queries.

    With one relevant item, NDCG@k is 1 / log2(1 + rank) within the first k and 0 beyond
    (Järvelin & Kekäläinen, TOIS 20:4, 2002).

    Args:
        ranked: int64 [n, 20 or more], item rows, best first.
        targets: int64 [n].

    Returns:
        `recall@10`, `ndcg@10`, `mrr@10`, and the same at 20; all 0 where there are no queries.
    """
    hits: npt.NDArray[np.bool_] = ranked == targets[:, None]
    metrics = {}
    for cutoff in CUTOFFS:
        ranks = 1 + np.arange(min(cutoff, ranked.shape[1]))
        within = hits[:, :cutoff]
        metrics[f"recall@{cutoff}"] = _mean(within.any(axis=1))
        metrics[f"ndcg@{cutoff}"] = _mean((within / np.log2(1 + ranks)).sum(axis=1))
        metrics[f"mrr@{cutoff}"] = _mean((within / ranks).sum(axis=1))
    return metrics


def random_metrics(candidates: npt.NDArray[np.int64]) -> dict[str, float]:
    """What a random ranking is expected to reach.

    Args:
        candidates: int64 [n], how many items each query ranks, at least 1.
    """
    ranks = 1 + np.arange(max(CUTOFFS))
    discounts, reciprocals = np.cumsum(1 / np.log2(1 + ranks)), np.cumsum(1 / ranks)
    metrics = {}
    for cutoff in CUTOFFS:
        last = np.minimum(cutoff, candidates)  # the target's rank is uniform over the candidates
        metrics[f"recall@{cutoff}"] = _mean(last / candidates)
        metrics[f"ndcg@{cutoff}"] = _mean(discounts[last - 1] / candidates)
        metrics[f"mrr@{cutoff}"] = _mean(reciprocals[last - 1] / candidates)
    return metrics


def _mean(values: npt.NDArray[Any]) -> float:
    return float(np.mean(values, dtype=np.float64)) if len(values) else 0.0
