"""From what was measured query by query to the results file."""

from __future__ import annotations

from typing import Any

import numpy as np
from benchmarks.quality.measure import METRICS, Measured

RESAMPLES = 1000


def summarise(seeds: list[Measured]) -> dict[str, Any]:
    """One model, trained with several seeds, as the results file has it.

    Returns:
        Row → metric → `mean`, `seeds` (a value each), and `low` and `high`, which hold the mean in 95% of the
        bootstrap samples over users (Efron, 1979) of what the seeds reach together. Beside the rows, the
        means over seeds of what was measured besides.
    """
    summary: dict[str, Any] = {}
    for row in seeds[0].accuracy:
        summary[row] = {metric: _figure([each.accuracy[row][metric] for each in seeds]) for metric in METRICS}
    for name, table in seeds[0].besides.items():
        summary[name] = {key: float(np.mean([each.besides[name][key] for each in seeds])) for key in table}
    return summary


def _figure(seeds: list[np.ndarray[Any, np.dtype[np.float64]]]) -> dict[str, Any]:
    values = np.mean(seeds, axis=0)
    rng = np.random.default_rng(0)
    drawn = np.asarray([values[rng.integers(len(values), size=len(values))].mean() for _ in range(RESAMPLES)])
    low, high = np.quantile(drawn, (0.025, 0.975))
    return {
        "mean": float(values.mean()),
        "seeds": [float(each.mean()) for each in seeds],
        "low": float(low),
        "high": float(high),
    }
