"""How sure a mean over queries is: the bootstrap over people (Efron, Annals of Statistics 7:1, 1979)."""

from __future__ import annotations

import numpy as np

from visrec_training.interactions import Rows
from visrec_training.metrics import Values

RESAMPLES = 1000


def resampled_means(values: Values, people: Rows) -> Values:
    """The means of bootstrap samples, float64 [RESAMPLES]; the same samples each time.

    Args:
        values: float64 [n], one a query, n at least 1.
        people: int64 [n], who asked; all queries of a person are drawn together.
    """
    _, who = np.unique(people, return_inverse=True)
    totals, counts = np.bincount(who, weights=values), np.bincount(who)
    rng = np.random.default_rng(0)
    # one sample at a time: all of them at once would need 1,000 times the memory
    samples = (rng.integers(len(counts), size=len(counts)) for _ in range(RESAMPLES))
    return np.asarray([totals[drawn].sum() / counts[drawn].sum() for drawn in samples])


def interval(values: Values, people: Rows) -> tuple[float, float]:
    """What holds the mean in 95% of the samples; arguments as for `resampled_means`."""
    low, high = np.quantile(resampled_means(values, people), (0.025, 0.975))
    return float(low), float(high)
