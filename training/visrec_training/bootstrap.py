"""How sure a mean over queries is: the bootstrap over people (Efron, Annals of Statistics 7:1, 1979).

All queries of a person are drawn together, because they are not independent of each other. What people are
like counts; how a training turned out by chance does not.
"""

from __future__ import annotations

import numpy as np

from visrec_training.metrics import Values
from visrec_training.rows import Rows

RESAMPLES = 1000
"""Enough for the ends of an interval."""
FEWEST_PEOPLE = 20
"""Samples of fewer are too alike: their intervals would be too short."""
_AT_ONCE = 2**21
"""People that are drawn before they are summed up: bounds the memory, at 16 bytes each."""


def resampled_means(values: Values, people: Rows, resamples: int = RESAMPLES) -> Values:
    """The means of bootstrap samples, float64 [resamples, …]; the same samples each time.

    What was measured on the same queries is drawn together, so that samples of it are paired.

    Args:
        values: float64 [n, …], a row a query, n at least 1.
        people: int64 [n], who asked.
        resamples: how many samples to draw.
    """
    _, who = np.unique(people, return_inverse=True)
    columns = [*values.reshape(len(values), -1).T, np.ones(len(values))]
    totals = np.stack([np.bincount(who, weights=column) for column in columns], axis=1)
    rng, count = np.random.default_rng(0), len(totals)
    block = max(1, _AT_ONCE // count)
    means = []
    for start in range(0, resamples, block):
        drawn = rng.integers(count, size=(min(block, resamples - start), count))
        times = np.stack([np.bincount(sample, minlength=count) for sample in drawn])
        sums = times.astype(np.float64) @ totals
        means.append(sums[:, :-1] / sums[:, -1:])
    return np.concatenate(means).reshape(resamples, *values.shape[1:])


def interval(means: Values) -> Values:
    """The percentile interval: what holds 95% of samples, float64 [2, …], from float64 [resamples, …]."""
    return np.quantile(means, (0.025, 0.975), axis=0)


def p_value(differences: Values) -> Values:
    """How easily chance alone gives a difference, two-sided: float64 […], above 0 and at most 1.

    Twice the share of samples on the rarer side of 0, those at 0 on both. So it is below .05 where 95% of the
    samples lie on one side, as `interval` says it too (Efron & Tibshirani, An Introduction to the Bootstrap,
    1993, section 15.4). One sample is added, because none at all on a side proves no more than their number.

    Args:
        differences: float64 [resamples, …], of paired means.
    """
    rarer = np.minimum((differences <= 0).sum(axis=0), (differences >= 0).sum(axis=0))
    return np.minimum(1.0, 2 * (1 + rarer) / (1 + len(differences)))
