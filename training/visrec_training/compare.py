"""Are two models different? A paired bootstrap over people, on the queries that both were asked.

The 95% interval is that of the bootstrap's percentiles; p comes from the same samples (`bootstrap.p_value`;
Efron & Tibshirani, An Introduction to the Bootstrap, 1993). Samples of people say what other people would
have made of these very models. They don't say how another seed would have turned out. Where several seeds of
some settings are compared, how much they differ is known, and is added to each sample.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable
from typing import Any, NamedTuple

import numpy as np

from visrec_training.bootstrap import FEWEST_PEOPLE, interval, p_value, resampled_means
from visrec_training.errors import EvaluationError
from visrec_training.metrics import Values
from visrec_training.query_results import METRICS
from visrec_training.rows import Rows

RESAMPLES = 10_000
"""More than an interval takes: a p that several pairs are corrected for has to be told from 0."""


class Asked(NamedTuple):
    """What the seeds of an entry reached on the n queries of a section."""

    people: Rows
    """int64 [n]: who asked."""
    reached: Values
    """float64 [seeds, n, 2], a column for each of `METRICS`."""


class Entry(NamedTuple):
    """One thing to compare: a model, or several that differ by their seed alone."""

    name: str
    sections: dict[str, Asked]
    settings: Hashable | None
    """What seeds of one configuration share; None for what comes out the same whatever the seed."""


class Pair(NamedTuple):
    """Two entries in a section."""

    less: int
    entry: int
    gained: Values
    """float64 [n, 2], what `entry` reached less what `less` did."""
    seed_variances: float
    """How many times the variance of a seed is in the mean of that."""


class SeedSpread(NamedTuple):
    """How much the seeds of one configuration differ."""

    deviation: Values
    """float64 [2], for each of `METRICS`."""
    freedom: int
    """How many degrees of freedom it was estimated with, at least 1."""


def compare(entries: list[Entry]) -> dict[str, Any]:
    """Compare each pair of entries in each section that all of them have.

    Args:
        entries: two or more, each asked the same in the sections that it has.

    Returns:
        `sections`, each with its number of `people` and `queries`; with how many `seed degrees of freedom` it
        is known how much seeds differ, 0 where it isn't; `figures`, metric → mean for each entry;
        and `differences`: `entry` and `less`, places of two entries, and metric → `difference` of the first
        less the second, its 95% interval `low` to `high`, `p`, and `p adjusted` for the number of pairs
        (Holm, Scandinavian Journal of Statistics 6:2, 1979), in each section and metric by itself.
        `left out` names other sections, with the reason.

    Raises:
        EvaluationError: there is no section to compare.
    """
    names = list(dict.fromkeys(name for entry in entries for name in entry.sections))
    left_out = {name: reason for name in names if (reason := _why_not(name, entries))}
    if len(left_out) == len(names):
        reasons = "; ".join(f"{name}: {reason}" for name, reason in left_out.items())
        raise EvaluationError(f"nothing to compare ({reasons or 'people were asked nothing'})")
    sections = {name: _section(name, entries) for name in names if name not in left_out}
    return {"sections": sections, "left out": left_out}


def seed_spread(seeds: list[tuple[Hashable | None, Values]]) -> SeedSpread | None:
    """How much seeds differ, pooled over settings, whose seeds are taken to differ alike.

    Args:
        seeds: settings, and float64 [seeds, n, 2] that some of their seeds reached.

    Returns:
        None where no settings have two seeds.
    """
    means: dict[Hashable, list[Values]] = {}
    for settings, reached in seeds:
        if settings is not None:
            means.setdefault(settings, []).extend(reached.mean(axis=1))
    freedom = sum(len(each) - 1 for each in means.values())
    if not freedom:
        return None
    squares = np.sum([np.var(each, axis=0) * len(each) for each in means.values()], axis=0)
    return SeedSpread(np.sqrt(squares / freedom), freedom)


def sampled_differences(pairs: list[Pair], people: Rows, spread: SeedSpread | None) -> Values:
    """What each bootstrap sample says of pairs: float64 [RESAMPLES, pairs, 2].

    Args:
        pairs: one or more.
        people: int64 [n], who asked.
        spread: how much seeds differ; None where that is not known.
    """
    # seeds that came out alike have means that differ by rounding
    drawn = resampled_means(np.stack([pair.gained.round(9) for pair in pairs], axis=1), people, RESAMPLES)
    if spread is not None:
        noise = np.random.default_rng(1).standard_t(spread.freedom, size=drawn.shape)
        variances = np.asarray([pair.seed_variances for pair in pairs])[:, None]
        drawn += noise * np.sqrt(variances) * spread.deviation
    return drawn


def holm(p: Values) -> Values:
    """Correct for how many there are: float64 [pairs, …], from the same."""
    order = p.argsort(axis=0)
    left = np.arange(len(p), 0, -1).reshape(-1, *[1] * (p.ndim - 1))
    stepped = np.maximum.accumulate(np.take_along_axis(p, order, axis=0) * left, axis=0).clip(max=1)
    return np.take_along_axis(stepped, order.argsort(axis=0), axis=0)


def _why_not(name: str, entries: list[Entry]) -> str:
    """Why a section can't be compared; "" where it can."""
    lacking = [entry.name for entry in entries if name not in entry.sections]
    if lacking:
        return f"{lacking[0]} has no figures there"
    if len(np.unique(entries[0].sections[name].people)) < FEWEST_PEOPLE:
        return f"fewer than {FEWEST_PEOPLE} people asked"
    return ""


def _section(name: str, entries: list[Entry]) -> dict[str, Any]:
    people = entries[0].sections[name].people
    reached = [entry.sections[name].reached for entry in entries]
    means = [each.mean(axis=0) for each in reached]
    spread = seed_spread([(entry.settings, each) for entry, each in zip(entries, reached, strict=True)])
    shares = [
        0.0 if entry.settings is None else 1 / len(each) for entry, each in zip(entries, reached, strict=True)
    ]
    pairs = [
        Pair(less, entry, means[entry] - means[less], shares[less] + shares[entry])
        for less, entry in itertools.combinations(range(len(entries)), 2)
    ]
    drawn = sampled_differences(pairs, people, spread)
    ends, p = interval(drawn), p_value(drawn)
    adjusted = holm(p)
    return {
        "people": len(np.unique(people)),
        "queries": len(people),
        "seed degrees of freedom": spread.freedom if spread else 0,
        "figures": [dict(zip(METRICS, each.mean(axis=0).tolist(), strict=True)) for each in means],
        "differences": [
            {"entry": pair.entry, "less": pair.less}
            | {
                metric: {
                    "difference": float(pair.gained.mean(axis=0)[column]),
                    "low": float(ends[0, place, column]),
                    "high": float(ends[1, place, column]),
                    "p": float(p[place, column]),
                    "p adjusted": float(adjusted[place, column]),
                }
                for column, metric in enumerate(METRICS)
            }
            for place, pair in enumerate(pairs)
        ],
    }
