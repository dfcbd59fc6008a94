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
from visrec_training.interactions import COLD, TEST, TRAIN, VALID, Interactions
from visrec_training.queries import Queries, Section
from visrec_training.rows import Flags, Ragged, Rows


@dataclass(frozen=True, slots=True)
class Split:
    """The parts of a data set."""

    train: Ragged
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
        train = self.train.where(~items[self.train.values])
        return dataclasses.replace(self, train=train, candidates=self.candidates & ~items)

    def _mixed_with(self, is_new: Flags) -> Queries:
        """Everybody who liked a new item in training, or who validates, by the rest of what they liked."""
        train, valid = self.train, self.valid
        histories, met = (each.where(~is_new[each.values]) for each in (train, valid.seen))
        new, known = train.where(is_new[train.values]), valid.targets
        asking = np.append(new.owners, valid.users[known.owners])
        wanted = _pairs(asking, np.append(new.values, known.values), len(is_new))
        users, targets = _grouped(wanted, len(is_new))
        validates = np.arange(len(train))
        validates[valid.users] = len(train) + np.arange(len(valid))
        seen = histories.then(met).part(validates[users])
        return Queries(users, histories.part(users), np.full(len(users), -1), targets, seen)

    def _apart_with(self, is_new: Flags) -> tuple[Queries, Queries]:
        """Validation's questions for known items, and those for new items that training answers."""
        valid = self.valid
        histories, seen = (each.where(~is_new[each.values]) for each in (valid.histories, valid.seen))
        new_targets = valid.targets.where(is_new[valid.targets.values])
        known = np.flatnonzero(new_targets.sizes == 0)
        without = dataclasses.replace(valid, histories=histories, seen=seen).part(known)
        return without, _cold_queries(self.train, is_new)

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
        none, nobody = np.zeros(count, dtype=bool), Queries.none()
        train = Ragged.empty(0)
        return Split(train, nobody, nobody, nobody, nobody, none, none, has_order=False, is_fixed=False)
    if interactions.parts is not None:
        return _fixed(interactions, interactions.parts, count)
    rng = np.random.default_rng(seed)
    is_cold = np.zeros(count, dtype=bool)
    is_cold[rng.choice(count, size=round(cold_share * count), replace=False)] = True
    return _temporal(interactions, is_cold)


def _temporal(interactions: Interactions, is_cold: Flags) -> Split:
    sequences = interactions.by_user(interactions.liked)
    warm = sequences.where(~is_cold[sequences.values])
    is_long = warm.sizes >= MIN_SEQUENCE
    train = warm.first(warm.sizes - 2 * is_long)
    asking = np.flatnonzero(is_long)
    whole = warm.part(asking)
    return Split(
        train,
        _next(asking, whole.first(whole.sizes - 1)),
        _next(asking, whole),
        _cold_queries(sequences, is_cold),
        Queries.none(),
        is_cold,
        _flags(train, len(is_cold)),
        has_order=True,
        is_fixed=False,
    )


def _next(users: Rows, sequences: Ragged) -> Queries:
    """Looking at the last item but one of a sequence, int64 [n] and n of them: which comes next?"""
    sizes, ends = sequences.sizes, sequences.starts + sequences.sizes
    viewed, last = sequences.values[ends - 2], Ragged.single(sequences.values[ends - 1])
    return Queries(users, sequences.first(sizes - 2), viewed, last, sequences.first(sizes - 1))


def _cold_queries(sequences: Ragged, is_cold: Flags) -> Queries:
    """A query for each cold item that follows at least two warm ones."""
    cold = is_cold[sequences.values]
    warm, owners, place = sequences.where(~cold), sequences.owners, np.flatnonzero(cold)
    before = (~cold).cumsum()[place] - warm.starts[owners[place]]
    place, before = place[before >= 2], before[before >= 2]
    users = owners[place]
    everywhere = np.ones(len(place), dtype=bool)
    return _next(users, warm.part(users).first(before).appended(sequences.values[place], everywhere))


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

    def ask(chosen: Flags, seen: Ragged, ranked: Flags) -> Queries:
        """A query for each user with something to find; what training can't know is no right answer."""
        found = liked & chosen & ranked[interactions.items]
        wanted = _pairs(interactions.users[found], interactions.items[found], count)
        users, targets = _grouped(np.setdiff1d(wanted, _pairs(seen.owners, seen.values, count)), count)
        return Queries(users, train.part(users), np.full(len(users), -1), targets, seen.part(users))

    tested, new = parts == TEST, parts == COLD
    has_history = (train.sizes > 0)[interactions.users]
    return Split(
        train,
        ask(parts == VALID, met_first, candidates),
        ask(tested, met, candidates),
        ask(new & has_history, met, is_cold),
        ask(tested | new, met, candidates | is_cold) if new.any() else Queries.none(),
        is_cold,
        candidates,
        has_order=interactions.has_order,
        is_fixed=True,
    )


def _pairs(users: Rows, items: Rows, count: int) -> Rows:
    """A number for each user and item, int64 [n], of a catalogue of `count`."""
    return users * count + items


def _grouped(pairs: Rows, count: int) -> tuple[Rows, Ragged]:
    """Users, int64 [k], and the items of each, each once."""
    users, items = np.divmod(np.unique(pairs), count)
    asked, sizes = np.unique(users, return_counts=True)
    return asked, Ragged.by_size(items, sizes)


def _flags(sequences: Ragged, count: int) -> Flags:
    """Which of `count` items stand in any of the sequences: bool [count]."""
    return np.bincount(sequences.values, minlength=count) > 0
