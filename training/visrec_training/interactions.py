"""What people did with items: one entry an interaction, checked and sorted as it is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from visrec_training.account import Tally, offenders
from visrec_training.columns import Ids, flags, ids, is_missing, key, texts, times
from visrec_training.errors import DataError
from visrec_training.rows import Flags, Ragged, Rows
from visrec_training.tables import MALFORMED, Table

PARTS = ("train", "valid", "test", "cold")
"""What a column `split` may hold; an interaction's part is a position here."""
TRAIN, VALID, TEST, COLD = range(len(PARTS))


@dataclass(frozen=True, slots=True)
class Interactions:
    """What people did, sorted by user, then by time where it is known, then by item."""

    users: Rows
    """int64 [n]: 0 … number of users - 1."""
    items: Rows
    """int64 [n]: rows of the catalogue."""
    liked: Flags
    """bool [n]: whether they liked it; what they didn't is neither learned from nor a right answer."""
    parts: npt.NDArray[np.int8] | None = None
    """int8 [n]: positions in `PARTS`; None where the data leaves the split to visrec."""
    has_order: bool = True
    """Whether times are known."""

    def __len__(self) -> int:
        return len(self.users)

    @property
    def user_count(self) -> int:
        """How many users did something."""
        return len(np.unique(self.users))

    def keep(self, chosen: Flags, items: Rows) -> Interactions:
        """The chosen interactions, bool [n], of a catalogue where item i has moved to row `items[i]`."""
        parts = None if self.parts is None else self.parts[chosen]
        return Interactions(
            self.users[chosen], items[self.items[chosen]], self.liked[chosen], parts, self.has_order
        )

    def by_user(self, chosen: Flags) -> Ragged:
        """The items of the chosen interactions, bool [n], a user each; empty where a user has none.

        An item that a user comes back to counts once, at its first time: what was seen is not recommended.
        """
        if not len(self):
            return Ragged.empty(0)
        users, items = self.users[chosen], self.items[chosen]
        first = np.zeros(len(users), dtype=bool)
        first[np.unique(users * (self.items.max() + 1) + items, return_index=True)[1]] = True
        return Ragged.by_size(items[first], np.bincount(users[first], minlength=self.users[-1] + 1))


def read_interactions(table: Table, catalogue_ids: Sequence[str]) -> tuple[Interactions, Tally]:
    """Sort by user, time and item, and leave out what can't be used, each row under the first reason.

    Args:
        table: has user_id and item_id; timestamp, unless it has split; perhaps liked.
        catalogue_ids: the catalogue's, by row.

    Raises:
        DataError: a column is missing or holds values that it may not.
    """
    columns = dict(table.columns)
    if "timestamp" in columns and "split" in columns and is_missing(columns["timestamp"], "timestamp").all():
        del columns["timestamp"]
    if "timestamp" not in columns and "split" not in columns:
        raise DataError(
            "interactions lack the column timestamp (or split, which says what is learned from);"
            f" they have {', '.join((*table.columns, *table.unused))}"
        )
    account = _Account(table)
    people, things = ids(columns["user_id"], "user_id"), ids(columns["item_id"], "item_id")
    account.drop(people.codes < 0, "without a user_id")
    account.drop(things.codes < 0, "without an item_id")
    users = _number(people, account, "user_id")
    items = _rows(things, catalogue_ids, account)
    when, has_order = np.zeros(table.rows, dtype=np.int64), "timestamp" in columns
    if has_order:
        moments = times(columns["timestamp"], "timestamp")
        account.drop(~moments.known, "without a timestamp that can be read", columns["timestamp"])
        when = moments.values
    liked = np.ones(table.rows)
    if "liked" in columns:
        liked = flags(columns["liked"], "liked")
        account.drop(np.isnan(liked), "without a value of liked")
    parts = None
    if "split" in columns:
        parts = _parts(columns["split"])
        account.drop(parts < 0, "without a value of split")
    # whatever order the table has: the item decides between things that a user did at one moment
    order = np.lexsort((*(() if parts is None else (parts,)), liked, items, when, users))
    order = order[account.kept[order]]
    _, users = np.unique(users[order], return_inverse=True)
    interactions = Interactions(
        users.astype(np.int64),
        items[order],
        liked[order] == 1,
        None if parts is None else parts[order],
        has_order=has_order,
    )
    _check_cold(interactions, catalogue_ids)
    account.note_people(people, interactions)
    return interactions, account.tally()


class _Account:
    """Which rows are still of use, and why others are not."""

    def __init__(self, table: Table) -> None:
        self.kept = np.ones(table.rows, dtype=bool)
        self._table = table
        self._dropped: dict[str, int] = {}
        self._notes: list[str] = []
        if table.malformed:
            self._dropped[MALFORMED] = table.malformed

    def drop(self, rows: Flags, reason: str, shown: pa.ChunkedArray | Sequence[str] | None = None) -> None:
        """Leave rows out, bool [n]; an example of what `shown` has there is named with the reason."""
        lost = self.kept & rows
        if not lost.any():
            return
        self.kept &= ~rows
        if shown is not None:
            first = int(np.flatnonzero(lost)[0])
            example = shown[first].as_py() if isinstance(shown, pa.ChunkedArray) else shown[first]
            reason = f"{reason} (such as {example!r})"
        self._dropped[reason] = int(lost.sum())

    def note(self, line: str) -> None:
        """Tell something that cost no row."""
        self._notes.append(line)

    def note_people(self, people: Ids, interactions: Interactions) -> None:
        """Tell of users who lost all they did, and of what stands more than once."""
        emptied = len(set(people.keys())) - interactions.user_count
        if emptied:
            self.note(f"{emptied:,} users have no interaction that can be used")
        pairs = np.unique(interactions.users * (interactions.items.max(initial=0) + 1) + interactions.items)
        repeated = len(interactions) - len(pairs)
        if repeated:
            self.note(
                f"{repeated:,} interactions repeat another of the same user and item, which counts once"
            )

    def tally(self) -> Tally:
        """The account, closed."""
        read = self._table.rows + self._table.malformed
        return Tally(
            source=self._table.source,
            read=read,
            used=int(self.kept.sum()),
            dropped=self._dropped,
            notes=tuple(self._notes),
        )


def _number(people: Ids, account: _Account, name: str) -> Rows:
    """A number a user, int64 [n], in the order of their ids; spellings of one id are one user."""
    keys = np.asarray(people.keys(), dtype=object)
    if not len(keys):
        return people.codes
    distinct, numbers = np.unique(keys, return_inverse=True)
    if merged := len(keys) - len(distinct):
        sizes = np.bincount(numbers)
        one = [people.values[place] for place in np.flatnonzero(numbers == int(np.argmax(sizes)))]
        account.note(f"{merged:,} spellings of {name} were merged with another: {' and '.join(one[:3])}")
    return np.where(people.codes < 0, -1, numbers[people.codes])


def _rows(things: Ids, catalogue_ids: Sequence[str], account: _Account) -> Rows:
    """Rows of the catalogue, int64 [n], -1 where it has no such item."""
    exact = {item_id: row for row, item_id in enumerate(catalogue_ids)}
    by_key: dict[str, list[int]] = {}
    for row, item_id in enumerate(catalogue_ids):
        by_key.setdefault(key(item_id), []).append(row)
    alike = {each: rows[0] for each, rows in by_key.items() if len(rows) == 1}
    found = [exact.get(value, alike.get(key(value), -1)) for value in things.values]
    items = np.asarray([*found, -1], dtype=np.int64)[things.codes]
    unknown = [value for value, row in zip(things.values, found, strict=True) if row < 0]
    if unknown:
        account.drop(items < 0, f"with {offenders('item_ids that no item has', unknown)}")
    return items


def _parts(column: pa.ChunkedArray) -> npt.NDArray[np.int8]:
    """Positions in `PARTS`, int8 [n]; -1 where missing."""
    names = np.asarray(texts(column, "split"), dtype=object)
    distinct, codes = np.unique(names, return_inverse=True)
    lowered = [name.casefold() for name in distinct.tolist()]
    unknown = [name for name in lowered if name and name not in PARTS]
    if unknown:
        raise DataError(f"interactions: {offenders('values of split', unknown)}; allowed: {', '.join(PARTS)}")
    return np.asarray([PARTS.index(name) if name else -1 for name in lowered], dtype=np.int8)[codes]


def _check_cold(interactions: Interactions, item_ids: Sequence[str]) -> None:
    """An item of which training sees anything is not cold."""
    if interactions.parts is None:
        return
    cold = interactions.parts == COLD
    torn = np.intersect1d(interactions.items[cold], interactions.items[~cold])
    if len(torn):
        named = [item_ids[row] for row in torn]
        raise DataError(f"interactions: {offenders('items are cold in some and not in others', named)}")
