"""Questions with known answers: what people ask, and which items are ranked for them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from visrec_training.rows import NOTHING, Flags, Ragged, Rows


@dataclass(frozen=True, slots=True)
class Queries:
    """Questions with known answers: n of them."""

    users: Rows
    """int64 [n]: who asks, a position in `Split.train`."""
    histories: Ragged
    """Items before the viewed one, oldest first where an order is known."""
    viewed: Rows
    """int64 [n]: the item whose picture the person looks at; -1 where they look at none."""
    targets: Ragged
    """The right answers, one or more a query."""
    seen: Ragged
    """Items that are no answer to this query, and are never ranked for it."""

    @classmethod
    def none(cls) -> Queries:
        """Of nobody."""
        return cls(NOTHING, Ragged.empty(0), NOTHING, Ragged.empty(0), Ragged.empty(0))

    def __len__(self) -> int:
        return len(self.users)

    def part(self, chosen: Rows) -> Queries:
        """Some of the questions, int64 [k]."""
        histories, targets, seen = (each.part(chosen) for each in (self.histories, self.targets, self.seen))
        return Queries(self.users[chosen], histories, self.viewed[chosen], targets, seen)

    def named(self) -> Rows:
        """Rows of all items that they name, int64 [k]; some more than once."""
        lists = (self.histories, self.targets, self.seen)
        return np.concatenate([self.viewed[self.viewed >= 0], *(each.values for each in lists)])

    def among(self, rows: Rows) -> Queries:
        """The same questions in a catalogue of some items alone, int64 [k], ascending: all that they name."""
        histories, targets, seen = (
            each.replaced(np.searchsorted(rows, each.values))
            for each in (self.histories, self.targets, self.seen)
        )
        viewed = np.where(self.viewed < 0, -1, np.searchsorted(rows, self.viewed))
        return Queries(self.users, histories, viewed, targets, seen)

    def with_recent(self, count: int, rng: np.random.Generator | None = None) -> Queries:
        """The same questions by people of whom only `count` items are known.

        Args:
            count: how much of each history is left, 0 or more.
            rng: draws what is left, where no order is known; else it is the newest.
        """
        if rng is None:
            histories = self.histories.last(count)
        else:
            histories = Ragged.of(rng.permutation(history)[:count] for history in self.histories)
        return dataclasses.replace(self, histories=histories)

    def looking(self, rng: np.random.Generator | None = None) -> Queries:
        """The same questions, where who looked at nothing looks at an item taken out of their history.

        Args:
            rng: draws the item, where no order is known; else it is the newest.
        """
        drawn, told = self.with_recent(1, rng).histories, self.histories
        changed = (self.viewed < 0) & (told.sizes > 0)
        viewed = self.viewed.copy()
        viewed[changed] = drawn.values[drawn.starts[changed]]
        histories = told.where((told.values != viewed[told.owners]) | ~changed[told.owners])
        return dataclasses.replace(self, histories=histories, viewed=viewed)

    def with_viewed(self) -> Queries:
        """The same questions by people whose histories end with what they look at, if they look at any."""
        histories = self.histories.appended(self.viewed, self.viewed >= 0)
        return dataclasses.replace(self, histories=histories)


@dataclass(frozen=True, slots=True)
class Section:
    """One part of what is measured: who asks, and which items are ranked for them."""

    queries: Queries
    ranked: Flags
    """bool [N]; each query ranks these, less what it has seen."""

    def first(self, count: int) -> Section:
        """The first `count` of its queries."""
        return self.part(slice(count))

    def sample(self, most: int) -> Section:
        """The section, or so many of its queries, always the same ones."""
        count = len(self.queries)
        if count <= most:
            return self
        drawn = np.random.default_rng(0).choice(count, most, replace=False)
        return Section(self.queries.part(np.sort(drawn)), self.ranked)

    def among(self, rows: Rows) -> Section:
        """The section in a catalogue of some items alone, int64 [k], ascending: all that it names."""
        return Section(self.queries.among(rows), self.ranked[rows])

    def part(self, chosen: slice) -> Section:
        """Some of its queries."""
        return Section(self.queries.part(np.arange(len(self.queries))[chosen]), self.ranked)
