"""Which interactions are learned from, and which only measure: a temporal split, and held-out items.

Of each user's sequence in time, the last item is the test target and the one before it the validation
target. The person is taken to look at the item just before the target: its picture is the query's picture,
and the history is what came before *that*. Items held out ("cold") leave the sequences with all their
interactions, so that no training sees them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from visrec_training.data import Dataset, Rows


@dataclass(frozen=True, slots=True)
class Queries:
    """Questions with known answers: n of them."""

    histories: list[Rows]
    """Items before the viewed one, oldest first."""
    viewed: Rows
    """int64 [n]: the item whose picture the person looks at."""
    targets: Rows
    """int64 [n]: the item they turned to next."""

    def __len__(self) -> int:
        return len(self.targets)


@dataclass(frozen=True, slots=True)
class Split:
    """The parts of a data set."""

    train: list[Rows]
    """Sequences to learn from, a user each, without cold items."""
    valid: Queries
    test: Queries
    cold: Queries
    """Targets are cold items; viewed items and histories are warm."""
    is_cold: npt.NDArray[np.bool_]
    """bool [N]: items held out of training."""

    @property
    def warm_items(self) -> Rows:
        """Rows of the items that training may see, int64 [number of warm items]."""
        return np.flatnonzero(~self.is_cold)


MIN_SEQUENCE = 4
"""The shortest sequence that gives a validation and a test query, each with a viewed item."""


def split(dataset: Dataset, *, cold_share: float, seed: int) -> Split:
    """Split a data set, the same way for the same seed.

    Args:
        dataset: what is known; without interactions all queries are empty.
        cold_share: share of items held out, 0 to 0.5.
        seed: decides which items are held out.
    """
    count = len(dataset.catalogue)
    is_cold = np.zeros(count, dtype=bool)
    if dataset.interactions is None:
        return Split([], _queries([]), _queries([]), _queries([]), is_cold)
    rng = np.random.default_rng(seed)
    is_cold[rng.choice(count, size=round(cold_share * count), replace=False)] = True
    train, valid, test, cold = [], [], [], []
    for sequence in dataset.interactions.sequences():
        warm = sequence[~is_cold[sequence]]
        long_enough = len(warm) >= MIN_SEQUENCE
        learned = warm[:-2] if long_enough else warm
        train.append(learned)
        if long_enough:
            valid.append((warm[:-3], warm[-3], warm[-2]))
            test.append((warm[:-2], warm[-2], warm[-1]))
        cold.extend(_cold_queries(sequence, is_cold))
    return Split(train, _queries(valid), _queries(test), _queries(cold), is_cold)


def _cold_queries(sequence: Rows, is_cold: npt.NDArray[np.bool_]) -> list[tuple[Rows, int, int]]:
    """A query for each cold item that follows at least two warm ones."""
    queries = []
    for position in np.flatnonzero(is_cold[sequence]):
        before = sequence[:position]
        before = before[~is_cold[before]]
        if len(before) >= 2:
            queries.append((before[:-1], int(before[-1]), int(sequence[position])))
    return queries


def _queries(triples: list[tuple[Rows, int, int]]) -> Queries:
    return Queries(
        histories=[history for history, _, _ in triples],
        viewed=np.asarray([viewed for _, viewed, _ in triples], dtype=np.int64),
        targets=np.asarray([target for _, _, target in triples], dtype=np.int64),
    )
