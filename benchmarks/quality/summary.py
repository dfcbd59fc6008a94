"""From what was measured query by query to the results file."""

from __future__ import annotations

from typing import Any

import numpy as np
from benchmarks.quality.measure import METRICS, Measured

from visrec_training.bootstrap import interval, p_value, resampled_means
from visrec_training.metrics import Values

COMPARED_BY = "ndcg@10"
BEST_BASELINE = "best baseline"
"""Names what `against_best` says, beside the rows of what `summarise` does."""


def summarise(seeds: list[Measured]) -> dict[str, Any]:
    """One model, trained with several seeds, as the results file has it.

    Returns:
        Row → metric → `mean`, `seeds` (a value each), and `low` and `high`, which hold the mean in 95% of the
        bootstrap samples over users (Efron, 1979) of what the seeds reach together. Beside the rows, the
        means over seeds of what was measured besides.
    """
    summary: dict[str, Any] = {}
    for row in seeds[0].accuracy:
        summary[row] = {metric: _figure(seeds, row, metric) for metric in METRICS}
    for name, table in seeds[0].besides.items():
        summary[name] = {key: float(np.mean([each.besides[name][key] for each in seeds])) for key in table}
    return summary


def against_best(ours: list[Measured], others: dict[str, list[Measured]]) -> dict[str, dict[str, Any]]:
    """A model next to the best of several others, by NDCG@10; of each, what was trained with several seeds.

    Returns:
        Row → `model`, the one of the others whose mean is highest there; `ratio`, our mean by its; and `p`
        of their difference, two-sided, by a paired bootstrap over users (Sakai, SIGIR 2006). Rows where no
        other is ever right are left out.
    """
    compared = {}
    for row in ours[0].accuracy:
        known = {
            model: _over_seeds(seeds, row, COMPARED_BY)
            for model, seeds in others.items()
            if row in seeds[0].accuracy
        }
        best = max(known, key=lambda model: known[model].mean(), default=None)
        if best is not None and known[best].any():
            reached = _over_seeds(ours, row, COMPARED_BY)
            gained = reached - known[best]
            compared[row] = {
                "model": best,
                "ratio": float(reached.mean() / known[best].mean()),
                "p": float(p_value(resampled_means(gained, np.arange(len(gained))))),
            }
    return compared


def _figure(seeds: list[Measured], row: str, metric: str) -> dict[str, Any]:
    values = _over_seeds(seeds, row, metric)
    low, high = interval(resampled_means(values, np.arange(len(values)))).tolist()
    return {
        "mean": float(values.mean()),
        "seeds": [float(each.accuracy[row][metric].mean()) for each in seeds],
        "low": low,
        "high": high,
    }


def _over_seeds(seeds: list[Measured], row: str, metric: str) -> Values:
    """The mean over seeds for each query, float64 [n]."""
    return np.mean([each.accuracy[row][metric] for each in seeds], axis=0)
