"""What people did with items: one entry an interaction, checked and sorted as it is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from visrec_training.errors import DataError
from visrec_training.tables import offenders, strings

Rows = npt.NDArray[np.int64]
"""Positions in a catalogue, or of users; they mean nothing outside a run."""

PARTS = ("train", "valid", "test", "cold")
"""What a column `split` may hold; an interaction's part is a position here."""
TRAIN, VALID, TEST, COLD = range(len(PARTS))


@dataclass(frozen=True, slots=True)
class Interactions:
    """What people did, sorted by user and then by time, or as the table has it where no time is known."""

    users: Rows
    """int64 [n]: 0 … number of users - 1."""
    items: Rows
    """int64 [n]: rows of the catalogue."""
    liked: npt.NDArray[np.bool_]
    """bool [n]: whether they liked it; what they didn't is neither learned from nor a right answer."""
    parts: npt.NDArray[np.int8] | None = None
    """int8 [n]: positions in `PARTS`; None where the data leaves the split to visrec."""
    has_order: bool = True
    """Whether times are known."""

    def __len__(self) -> int:
        return len(self.users)

    def keep(self, chosen: npt.NDArray[np.bool_], items: Rows) -> Interactions:
        """The chosen interactions, bool [n], of a catalogue where item i has moved to row `items[i]`."""
        parts = None if self.parts is None else self.parts[chosen]
        return Interactions(
            self.users[chosen], items[self.items[chosen]], self.liked[chosen], parts, self.has_order
        )

    def by_user(self, chosen: npt.NDArray[np.bool_]) -> list[Rows]:
        """The items of the chosen interactions, bool [n], a user each; empty where a user has none.

        An item that a user comes back to counts once, at its first time: what was seen is not recommended.
        """
        if not len(self):
            return []
        users, items = self.users[chosen], self.items[chosen]
        starts = np.searchsorted(users, np.arange(1, self.users[-1] + 1))
        whole = np.split(items, starts)
        return [each[np.sort(np.unique(each, return_index=True)[1])] for each in whole]


def read_interactions(table: pa.Table, item_ids: tuple[str, ...]) -> tuple[Interactions, tuple[str, ...]]:
    """Sort by user and time, and leave out what can't be used, each kind with a warning.

    Args:
        table: has user_id and item_id; timestamp, unless it has split; perhaps liked.
        item_ids: the catalogue's.

    Raises:
        DataError: a column is missing or holds values that it may not.
    """
    columns = [name for name in ("user_id", "item_id", "timestamp", "liked", "split") if _has(table, name)]
    if not _has(table, "timestamp") and not _has(table, "split"):
        raise DataError(
            "interactions lack the column timestamp (or split, which says what is learned from);"
            f" they have {', '.join(table.column_names)}"
        )
    whole, table = table.num_rows, table.select(columns).drop_null()
    warnings = []
    if table.num_rows < whole:
        warnings.append(f"{whole - table.num_rows} interactions lack one of {', '.join(columns)}: left out")
    row_of = {item_id: row for row, item_id in enumerate(item_ids)}
    ids = strings(table, "item_id")
    items = np.asarray([row_of.get(item_id, -1) for item_id in ids], dtype=np.int64)
    user_ids, users = np.unique(np.asarray(strings(table, "user_id"), dtype=object), return_inverse=True)
    known = items >= 0
    if not known.all():
        unknown = list(dict.fromkeys(np.asarray(ids, dtype=object)[~known].tolist()))
        warnings.append(
            f"{offenders(f'unknown items in {int((~known).sum())} interactions', unknown)}: left out"
        )
    emptied = np.setdiff1d(np.arange(len(user_ids)), users[known])
    if len(emptied):
        warnings.append(f"{offenders('users with an empty history', user_ids[emptied].tolist())}: left out")
    liked, parts = _liked(table), _parts(table)
    # stable: interactions of one moment keep the order of the table
    keys = (_timestamps(table), users) if _has(table, "timestamp") else (users,)
    order = np.lexsort(keys)
    order = order[known[order]]
    interactions = Interactions(
        users[order].astype(np.int64),
        items[order],
        liked[order],
        None if parts is None else parts[order],
        has_order=_has(table, "timestamp"),
    )
    _check_cold(interactions, item_ids)
    return interactions, tuple(warnings)


def _has(table: pa.Table, column: str) -> bool:
    return column in table.column_names


def _liked(table: pa.Table) -> npt.NDArray[np.bool_]:
    if not _has(table, "liked"):
        return np.ones(table.num_rows, dtype=bool)
    try:
        values = np.asarray(pc.cast(table["liked"], pa.float64()))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        try:
            values = np.asarray(pc.cast(table["liked"], pa.bool_())).astype(np.float64)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise DataError(f"interactions: liked is neither 0 nor 1: {error}") from error
    wrong = np.unique(values[(values != 0) & (values != 1)])
    if len(wrong):
        raise DataError(f"interactions: {offenders('values of liked that are neither 0 nor 1', wrong)}")
    return values.astype(bool)


def _parts(table: pa.Table) -> npt.NDArray[np.int8] | None:
    if not _has(table, "split"):
        return None
    names, codes = np.unique(np.asarray(strings(table, "split"), dtype=object), return_inverse=True)
    unknown = [name for name in names.tolist() if name not in PARTS]
    if unknown:
        raise DataError(f"interactions: {offenders('values of split', unknown)}; allowed: {', '.join(PARTS)}")
    return np.asarray([PARTS.index(name) for name in names], dtype=np.int8)[codes]


def _check_cold(interactions: Interactions, item_ids: tuple[str, ...]) -> None:
    """An item of which training sees anything is not cold."""
    if interactions.parts is None:
        return
    cold = interactions.parts == COLD
    torn = np.intersect1d(interactions.items[cold], interactions.items[~cold])
    if len(torn):
        named = [item_ids[row] for row in torn]
        raise DataError(f"interactions: {offenders('items are cold in some and not in others', named)}")


def _timestamps(table: pa.Table) -> npt.NDArray[Any]:
    """Numbers that sort as the times do, whether they came as numbers, dates, times or ISO 8601 text."""
    times = table["timestamp"]
    try:
        if pa.types.is_string(times.type) or pa.types.is_large_string(times.type):
            times = pc.cast(times, pa.timestamp("us"))
        if pa.types.is_temporal(times.type):
            times = pc.cast(pc.cast(times, pa.timestamp("us"), safe=False), pa.int64())
        return np.asarray(times if pa.types.is_integer(times.type) else pc.cast(times, pa.float64()))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(f"interactions: timestamp is neither a number nor a time: {error}") from error
