"""Which interactions are learned from, and which only measure.

Where the data says so itself (a column `split`), that holds. Otherwise the split is temporal: of each user's
sequence, the last item is the test target and the one before it the validation target. The person is taken
to look at the item just before the target: its picture is the query's picture, and the history is what came
before *that*. Items held out ("cold") leave the sequences with all their interactions, so that no training
sees them.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from visrec_training.data import Dataset
from visrec_training.interactions import COLD, TEST, TRAIN, VALID, Interactions, Rows
from visrec_training.queries import NOTHING, Flags, Queries, Query, Section


@dataclass(frozen=True, slots=True)
class Split:
    """The parts of a data set."""

    train: list[Rows]
    """What each user liked and training may learn from, in time order if one is known; it may be empty."""
    valid: Queries
    test: Queries
    cold: Queries
    """Targets are cold items; viewed items and histories are warm."""
    mixed: Queries
    """Targets are those of `test` and `cold` items together; empty where the split is not fixed."""
    is_cold: Flags
    """bool [N]: items held out of training."""
    candidates: Flags
    """bool [N]: items that somebody liked in training."""
    has_order: bool
    """Whether sequences and histories are in the order of time."""
    is_fixed: bool
    """Whether the data says itself what each interaction is for: nobody looks at a picture then."""

    @property
    def warm_items(self) -> Rows:
        """Rows of the items that training may see, int64 [number of warm items]."""
        return np.flatnonzero(~self.is_cold)

    @property
    def validation(self) -> Section:
        """What to choose by while training."""
        return Section(self.valid, self._rankable())

    def validation_with_new(self, is_new: Flags) -> tuple[Section, ...]:
        """What to choose by for new items: some that were met, bool [N], are taken for new.

        A temporal split asks for known and for new items apart, as its `warm` and `cold` do later; a fixed
        one asks for both in one ranking, as its `mixed` does. Sections without queries are left out.
        """
        asked = (self._mixed_with(is_new),) if self.is_fixed else self._apart_with(is_new)
        return tuple(Section(queries, self._rankable()) for queries in asked if len(queries))

    def without(self, items: Flags) -> Split:
        """The same split, of whose training part some items, bool [N], were never met."""
        train = [liked[~items[liked]] for liked in self.train]
        return dataclasses.replace(self, train=train, candidates=self.candidates & ~items)

    def _mixed_with(self, is_new: Flags) -> Queries:
        """Everybody who liked a new item in training, or who validates, by the rest of what they liked."""
        histories = [liked[~is_new[liked]] for liked in self.train]
        targets = [liked[is_new[liked]] for liked in self.train]
        seen = list(histories)
        for user, wanted, met in zip(self.valid.users, self.valid.targets, self.valid.seen, strict=True):
            targets[user] = np.union1d(targets[user], wanted)
            seen[user] = met[~is_new[met]]
        users = [user for user, wanted in enumerate(targets) if len(wanted)]
        return Queries.of([Query(user, histories[user], -1, targets[user], seen[user]) for user in users])

    def _apart_with(self, is_new: Flags) -> tuple[Queries, Queries]:
        """Validation's questions for known items, and those for new items that training answers."""
        valid = self.valid
        histories = [history[~is_new[history]] for history in valid.histories]
        seen = [met[~is_new[met]] for met in valid.seen]
        known = np.flatnonzero([not is_new[wanted].any() for wanted in valid.targets])
        without = dataclasses.replace(valid, histories=histories, seen=seen).part(known)
        new = [query for user, liked in enumerate(self.train) for query in _cold_queries(user, liked, is_new)]
        return without, Queries.of(new)

    def sections(self) -> dict[str, Section]:
        """What a finished model is measured on.

        `warm`: items that training saw. `cold alone`: new items, ranked among each other. `cold`: new items,
        ranked among all. A fixed split ranks what somebody liked in training (and new items, in `cold`), as
        is usual where ratings are split; a temporal one ranks the whole catalogue.

        `mixed`: known and new items are right answers together, ranked among all, for everybody who liked one
        of either kind. New items weigh more there than in a shop: all that is known of them is asked for, and
        of known items the test part alone. A temporal split has none: its questions have one right answer
        each, and its `warm` and `cold` rank known and new items together as they are. Sections without
        queries are left out.
        """
        rankable = self._rankable()
        sections = {
            "warm": Section(self.test, rankable),
            "cold alone": Section(self.cold, self.is_cold),
            "cold": Section(self.cold, rankable | self.is_cold),
            "mixed": Section(self.mixed, rankable | self.is_cold),
        }
        return {name: section for name, section in sections.items() if len(section.queries)}

    def _rankable(self) -> Flags:
        return self.candidates if self.is_fixed else np.ones_like(self.candidates)


MIN_SEQUENCE = 4
"""The shortest sequence that gives a validation and a test query, each with a viewed item."""


def split(dataset: Dataset, *, cold_share: float, seed: int) -> Split:
    """Split a data set, the same way for the same seed.

    Args:
        dataset: what is known; without interactions all queries are empty.
        cold_share: share of items held out, 0 to 0.5, where the data doesn't say itself what is cold.
        seed: decides which items are held out.
    """
    count, interactions = len(dataset.catalogue), dataset.interactions
    if interactions is None:
        none, nobody = np.zeros(count, dtype=bool), Queries.of([])
        return Split([], nobody, nobody, nobody, nobody, none, none, has_order=False, is_fixed=False)
    if interactions.parts is not None:
        return _fixed(interactions, interactions.parts, count)
    rng = np.random.default_rng(seed)
    is_cold = np.zeros(count, dtype=bool)
    is_cold[rng.choice(count, size=round(cold_share * count), replace=False)] = True
    return _temporal(interactions, is_cold)


def _temporal(interactions: Interactions, is_cold: Flags) -> Split:
    train, valid, test, cold = [], [], [], []
    for user, sequence in enumerate(interactions.by_user(interactions.liked)):
        warm = sequence[~is_cold[sequence]]
        long_enough = len(warm) >= MIN_SEQUENCE
        learned = warm[:-2] if long_enough else warm
        train.append(learned)
        if long_enough:
            valid.append(_next(user, warm[:-1]))
            test.append(_next(user, warm))
        cold.extend(_cold_queries(user, sequence, is_cold))
    return Split(
        train,
        Queries.of(valid),
        Queries.of(test),
        Queries.of(cold),
        Queries.of([]),
        is_cold,
        _flags(train, len(is_cold)),
        has_order=True,
        is_fixed=False,
    )


def _next(user: int, sequence: Rows) -> Query:
    """Looking at the last item but one: which comes next?"""
    return Query(user, sequence[:-2], int(sequence[-2]), sequence[-1:], sequence[:-1])


def _cold_queries(user: int, sequence: Rows, is_cold: Flags) -> list[Query]:
    """A query for each cold item that follows at least two warm ones."""
    queries = []
    for position in np.flatnonzero(is_cold[sequence]):
        before = sequence[:position]
        before = before[~is_cold[before]]
        if len(before) >= 2:
            queries.append(_next(user, np.append(before, sequence[position])))
    return queries


def _fixed(interactions: Interactions, parts: npt.NDArray[np.int8], count: int) -> Split:
    """The data's own split: a history is what a user liked of `train`.

    What they met before, liked or not, is not ranked: `train` when validating, and `valid` too when testing.
    """
    liked = interactions.liked
    train = interactions.by_user(liked & (parts == TRAIN))
    candidates = _flags(train, count)
    is_cold = np.zeros(count, dtype=bool)
    is_cold[interactions.items[parts == COLD]] = True
    met_first = interactions.by_user(parts == TRAIN)
    met = interactions.by_user((parts == TRAIN) | (parts == VALID))

    def ask(chosen: Flags, seen: list[Rows], ranked: Flags) -> Queries:
        """A query for each user with something to find; what training can't know is no right answer."""
        asked = []
        for user, found in enumerate(interactions.by_user(liked & chosen)):
            targets = np.setdiff1d(found[ranked[found]], seen[user])
            if len(targets):
                asked.append(Query(user, train[user], -1, targets, seen[user]))
        return Queries.of(asked)

    tested, new = parts == TEST, parts == COLD
    has_history = np.asarray([len(each) > 0 for each in train], dtype=bool)[interactions.users]
    return Split(
        train,
        ask(parts == VALID, met_first, candidates),
        ask(tested, met, candidates),
        ask(new & has_history, met, is_cold),
        ask(tested | new, met, candidates | is_cold) if new.any() else Queries.of([]),
        is_cold,
        candidates,
        has_order=interactions.has_order,
        is_fixed=True,
    )


def _flags(sequences: list[Rows], count: int) -> Flags:
    """Which of `count` items stand in any of the sequences: bool [count]."""
    return np.bincount(np.concatenate([*sequences, NOTHING]), minlength=count) > 0
