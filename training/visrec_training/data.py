"""The data contract: a folder with items, interactions and pictures, checked as it is read.

items.parquet or items.csv                item_id, image, title [, category] [, keywords]
interactions.parquet or interactions.csv  user_id, item_id, timestamp
pictures, where `image` says, relative to the folder
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from visrec_training.errors import DataError

Rows = npt.NDArray[np.int64]
PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"})
BROKEN_SHARE_ALLOWED = 0.01


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The items; row numbers are positions in these tuples and mean nothing outside a run."""

    item_ids: tuple[str, ...]
    images: tuple[Path, ...]
    titles: tuple[str, ...]
    categories: tuple[str, ...]
    """An empty string where an item has none."""
    keywords: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.item_ids)

    def text(self, row: int) -> str:
        """All words of an item: what a search should find it by."""
        return " ".join((self.titles[row], self.keywords[row], self.categories[row]))

    def take(self, rows: Iterable[int]) -> Catalogue:
        """The items at `rows`, in that order."""
        rows = list(rows)
        columns = (getattr(self, field.name) for field in dataclasses.fields(self))
        return Catalogue(*(tuple(column[row] for row in rows) for column in columns))


@dataclass(frozen=True, slots=True)
class Interactions:
    """What people did, one entry an interaction, sorted by user and then by time."""

    users: Rows
    """int64 [n]: 0 … number of users - 1."""
    items: Rows
    """int64 [n]: rows of the catalogue."""

    def __len__(self) -> int:
        return len(self.users)

    def sequences(self) -> list[Rows]:
        """Each user's items in time order; users without interactions don't appear.

        An item that a user comes back to counts once, at its first time: what was seen is not recommended.
        """
        if not len(self):
            return []
        starts = np.flatnonzero(np.diff(self.users, prepend=-1))
        whole = np.split(self.items, starts[1:])
        return [items[np.sort(np.unique(items, return_index=True)[1])] for items in whole]


@dataclass(frozen=True, slots=True)
class Dataset:
    """A catalogue, what people did with it (None: nothing is known), and what was wrong with the data."""

    catalogue: Catalogue
    interactions: Interactions | None
    warnings: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()
    """What is wrong with each picture that can't be read; its item is left out."""

    def without_broken(self, broken: dict[int, str]) -> Dataset:
        """Leave out the items whose pictures can't be read, and their interactions.

        Args:
            broken: catalogue row → what is wrong with its picture.

        Raises:
            DataError: more than 1% of the pictures are broken.
        """
        if not broken:
            return self
        reasons = tuple(broken[row] for row in sorted(broken))
        line = _offenders("broken or missing pictures", reasons)
        if len(broken) > BROKEN_SHARE_ALLOWED * len(self.catalogue):
            raise DataError(f"{line}: more than {BROKEN_SHARE_ALLOWED:.0%} of {len(self.catalogue)} items")
        kept = [row for row in range(len(self.catalogue)) if row not in broken]
        new_row = np.full(len(self.catalogue), -1, dtype=np.int64)
        new_row[kept] = np.arange(len(kept))
        interactions = self.interactions
        if interactions is not None:
            rows = new_row[interactions.items]
            interactions = Interactions(interactions.users[rows >= 0], rows[rows >= 0])
        return Dataset(
            self.catalogue.take(kept), interactions, (*self.warnings, f"{line}: left out"), reasons
        )


def read_dataset(folder: Path) -> Dataset:
    """Read a data folder.

    Args:
        folder: holds items and, if anything is known about people, interactions.

    Returns:
        The data with what could be repaired repaired; each repair is a line in `warnings`.

    Raises:
        DataError: the folder or items are missing, a column is missing, or item ids repeat.
    """
    if not folder.is_dir():
        raise DataError(f"no data folder at {folder}: give a folder that holds items.parquet or items.csv")
    items = _read_table(folder, "items", required=("item_id", "image", "title"))
    if items is None:
        raise DataError(f"{folder} holds neither items.parquet nor items.csv")
    item_ids = _strings(items, "item_id")
    _check_ids(item_ids, folder)
    catalogue = Catalogue(
        item_ids=item_ids,
        images=tuple(folder / image for image in _strings(items, "image")),
        titles=_strings(items, "title"),
        categories=_strings(items, "category"),
        keywords=_strings(items, "keywords"),
    )
    table = _read_table(folder, "interactions", required=("user_id", "item_id", "timestamp"))
    if table is None:
        return Dataset(catalogue, None)
    interactions, warnings = _read_interactions(table.select(["user_id", "item_id", "timestamp"]), item_ids)
    return Dataset(catalogue, interactions, warnings)


def read_pictures(folder: Path) -> Dataset:
    """Make a catalogue of nothing but pictures: subfolders are categories, file names give titles.

    Raises:
        DataError: there is no such folder, or it holds no pictures.
    """
    if not folder.is_dir():
        raise DataError(f"no folder of pictures at {folder}")
    images = sorted(path for path in folder.rglob("*") if path.suffix.lower() in PICTURE_SUFFIXES)
    if not images:
        raise DataError(f"{folder} holds no pictures ({', '.join(sorted(PICTURE_SUFFIXES))})")
    relative = [image.relative_to(folder) for image in images]
    return Dataset(
        Catalogue(
            item_ids=tuple(path.as_posix() for path in relative),
            images=tuple(images),
            titles=tuple(path.stem.replace("_", " ").replace("-", " ") for path in relative),
            categories=tuple(path.parent.as_posix() if path.parent.name else "" for path in relative),
            keywords=("",) * len(images),
        ),
        None,
    )


def _read_table(folder: Path, name: str, required: Sequence[str]) -> pa.Table | None:
    parquet, csv = folder / f"{name}.parquet", folder / f"{name}.csv"
    try:
        if parquet.is_file():
            path, table = parquet, pa.parquet.read_table(parquet)
        elif csv.is_file():
            # ids and titles that look like numbers are still words
            words = {*required, "category", "keywords"} - {"timestamp"}
            types = {column: pa.string() for column in words}
            options = pa.csv.ConvertOptions(column_types=types)
            path, table = csv, pa.csv.read_csv(csv, convert_options=options)
        else:
            return None
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"can't read {name} in {folder}: {str(error).splitlines()[0]}") from error
    if len(set(table.column_names)) < table.num_columns:
        raise DataError(f"{path} has two columns of one name: {', '.join(table.column_names)}")
    missing = [column for column in required if column not in table.column_names]
    if missing:
        raise DataError(
            f"{path} lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)};"
            f" it has {', '.join(table.column_names)}"
        )
    return table


def _strings(table: pa.Table, column: str) -> tuple[str, ...]:
    if column not in table.column_names:
        return ("",) * table.num_rows
    values = table[column]
    try:
        if pa.types.is_list(values.type):  # such as keywords
            values = pc.binary_join(pc.cast(values, pa.list_(pa.string())), " ")
        return tuple(pc.fill_null(pc.cast(values, pa.string()), "").to_pylist())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(f"the column {column} holds {values.type}, which is no text") from error


def _check_ids(item_ids: tuple[str, ...], folder: Path) -> None:
    if not item_ids:
        raise DataError(f"{folder} has a table of items with no rows")
    if "" in item_ids:
        raise DataError(f"{item_ids.count('')} items in {folder} have no item_id")
    ids, counts = np.unique(np.asarray(item_ids, dtype=object), return_counts=True)
    if (counts > 1).any():
        raise DataError(_offenders("item ids that stand more than once", ids[counts > 1].tolist()))


def _read_interactions(table: pa.Table, item_ids: tuple[str, ...]) -> tuple[Interactions, tuple[str, ...]]:
    """Sort by user and time, and leave out what can't be used, each kind with a warning."""
    whole, table = table.num_rows, table.drop_null()
    warnings = []
    if table.num_rows < whole:
        warnings.append(f"{whole - table.num_rows} interactions lack a user, an item or a time: left out")
    row_of = {item_id: row for row, item_id in enumerate(item_ids)}
    ids = _strings(table, "item_id")
    items = np.asarray([row_of.get(item_id, -1) for item_id in ids], dtype=np.int64)
    user_ids, users = np.unique(np.asarray(_strings(table, "user_id"), dtype=object), return_inverse=True)
    timestamps = _timestamps(table)
    known = items >= 0
    if not known.all():
        unknown = list(dict.fromkeys(np.asarray(ids, dtype=object)[~known].tolist()))
        warnings.append(
            f"{_offenders(f'unknown items in {int((~known).sum())} interactions', unknown)}: left out"
        )
    emptied = np.setdiff1d(np.arange(len(user_ids)), users[known])
    if len(emptied):
        warnings.append(f"{_offenders('users with an empty history', user_ids[emptied].tolist())}: left out")
    # stable: interactions of one moment keep the order of the table
    order = np.lexsort((timestamps, users))
    order = order[known[order]]
    return Interactions(users[order].astype(np.int64), items[order]), tuple(warnings)


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


def _offenders(what: str, offenders: Sequence[str], shown: int = 3) -> str:
    more = f", … (+{len(offenders) - shown})" if len(offenders) > shown else ""
    return f"{len(offenders)} {what}: {', '.join(map(str, offenders[:shown]))}{more}"
