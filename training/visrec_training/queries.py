"""Questions with known answers: what people ask, and which items are ranked for them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from visrec_training.interactions import Rows

Flags = npt.NDArray[np.bool_]
NOTHING: Rows = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Query:
    """One question; its fields are those of `Queries`."""

    user: int
    history: Rows
    viewed: int
    targets: Rows
    seen: Rows


@dataclass(frozen=True, slots=True)
class Queries:
    """Questions with known answers: n of them."""

    users: Rows
    """int64 [n]: who asks, a position in `Split.train`."""
    histories: list[Rows]
    """Items before the viewed one, oldest first where an order is known."""
    viewed: Rows
    """int64 [n]: the item whose picture the person looks at; -1 where they look at none."""
    targets: list[Rows]
    """The right answers, one or more a query."""
    seen: list[Rows]
    """Items that are no answer to this query, and are never ranked for it."""

    @classmethod
    def of(cls, asked: Sequence[Query]) -> Queries:
        """Put questions together."""
        return cls(
            users=np.asarray([query.user for query in asked], dtype=np.int64),
            histories=[query.history for query in asked],
            viewed=np.asarray([query.viewed for query in asked], dtype=np.int64),
            targets=[query.targets for query in asked],
            seen=[query.seen for query in asked],
        )

    def __len__(self) -> int:
        return len(self.targets)

    def part(self, chosen: Rows) -> Queries:
        """Some of the questions, int64 [k]."""
        histories, targets, seen = (
            [each[row] for row in chosen] for each in (self.histories, self.targets, self.seen)
        )
        return Queries(self.users[chosen], histories, self.viewed[chosen], targets, seen)

    def named(self) -> Rows:
        """Rows of all items that they name, int64 [k]; some more than once."""
        return np.concatenate([self.viewed[self.viewed >= 0], *self.histories, *self.targets, *self.seen])

    def among(self, rows: Rows) -> Queries:
        """The same questions in a catalogue of some items alone, int64 [k], ascending: all that they name."""
        histories, targets, seen = (
            [np.searchsorted(rows, items) for items in each]
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
            histories = [history[max(0, len(history) - count) :] for history in self.histories]
        else:
            histories = [rng.permutation(history)[:count] for history in self.histories]
        return dataclasses.replace(self, histories=histories)

    def looking(self, rng: np.random.Generator | None = None) -> Queries:
        """The same questions, where who looked at nothing looks at an item taken out of their history.

        Args:
            rng: draws the item, where no order is known; else it is the newest.
        """
        drawn = [history[0] if len(history) else -1 for history in self.with_recent(1, rng).histories]
        looked_at_nothing = self.viewed < 0
        viewed = np.where(looked_at_nothing, np.asarray(drawn, dtype=np.int64), self.viewed)
        histories = [
            history[history != item] if changed else history
            for history, item, changed in zip(self.histories, viewed, looked_at_nothing, strict=True)
        ]
        return dataclasses.replace(self, histories=histories, viewed=viewed)

    def with_viewed(self) -> Queries:
        """The same questions by people whose histories end with what they look at, if they look at any."""
        pairs = zip(self.histories, self.viewed.tolist(), strict=True)
        histories = [np.append(history, item) if item >= 0 else history for history, item in pairs]
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
