"""The data contract: a folder with items, interactions and pictures, checked as it is read.

items           item_id, image, title [, category] [, keywords] [, description] [, free text of any name]
interactions    user_id, item_id, timestamp [, liked] [, split]
pictures, where `image` says, relative to the folder

Both tables may be Parquet or CSV, whole or in parts (`table_files`, `tables`). What is read does not depend
on the order of rows, nor on the types that columns are stored in.
"""

from __future__ import annotations

import dataclasses
import unicodedata
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from visrec_training.account import LossLimits, Tally, offenders
from visrec_training.columns import ids, texts
from visrec_training.errors import DataError
from visrec_training.free_text import joined, read_free_text
from visrec_training.interactions import Interactions, read_interactions
from visrec_training.picture_folder import describe_skipped, find_pictures
from visrec_training.rows import Rows
from visrec_training.table_files import find_tables, is_table, table_files
from visrec_training.tables import MALFORMED, Table, column_names, normal_name, read_table

ITEM_COLUMNS = (("item_id", "image", "title"), ("category", "keywords", "description"))
INTERACTION_COLUMNS = (("user_id", "item_id"), ("timestamp", "liked", "split"))
TEXTS = ("image", "title", "category", "keywords", "description")
"""Columns of items in the order of `Catalogue`'s fields."""
DEFAULT_LIMITS = LossLimits()


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The items; row numbers are positions in these tuples and mean nothing outside a run."""

    item_ids: tuple[str, ...]
    images: tuple[Path, ...]
    titles: tuple[str, ...]
    categories: tuple[str, ...]
    """An empty string where an item has none."""
    keywords: tuple[str, ...]
    descriptions: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.item_ids)

    def fields(self, row: int) -> tuple[str, str, str, str]:
        """The texts of an item, by which a search finds it: title, keywords, category, description."""
        return self.titles[row], self.keywords[row], self.categories[row], self.descriptions[row]

    def text(self, row: int) -> str:
        """All words of an item."""
        return " ".join(self.fields(row))

    def take(self, rows: Iterable[int]) -> Catalogue:
        """The items at `rows`, in that order."""
        rows = list(rows)
        columns = (getattr(self, field.name) for field in dataclasses.fields(self))
        return Catalogue(*(tuple(column[row] for row in rows) for column in columns))


@dataclass(frozen=True, slots=True)
class Dataset:
    """A catalogue, what people did with it (None: nothing is known), and the account of what was read."""

    catalogue: Catalogue
    interactions: Interactions | None
    item_rows: Tally | None = None
    """None where items were not read from a folder."""
    interaction_rows: Tally | None = None
    warnings: tuple[str, ...] = ()
    """What of the data was not used, a line each."""
    broken: tuple[str, ...] = ()
    """What is wrong with each picture that can't be read; its item is left out."""
    limits: LossLimits = DEFAULT_LIMITS
    """How much may be unusable."""

    def account(self) -> list[str]:
        """What became of the rows of each table, a line each."""
        tallies = (("items", self.item_rows), ("interactions", self.interaction_rows))
        return [tally.line(what) for what, tally in tallies if tally]

    def without_broken(self, broken: dict[int, str]) -> Dataset:
        """Leave out the items whose pictures can't be read, and their interactions.

        Args:
            broken: catalogue row → what is wrong with its picture.

        Raises:
            DataError: more is lost than the limits allow.
        """
        if not broken:
            return self
        count, reasons = len(self.catalogue), tuple(broken[row] for row in sorted(broken))
        line = offenders("broken or missing pictures", reasons)
        if len(broken) == count or len(broken) > self.limits.items * count:
            raise DataError(
                f"{line}: more than {self.limits.items:.0%} of {count} items: mend them, or allow more with"
                " --allow-losses"
            )
        kept = [row for row in range(count) if row not in broken]
        new_row: Rows = np.full(count, -1, dtype=np.int64)
        new_row[kept] = np.arange(len(kept))
        interactions, interaction_rows = self.interactions, self.interaction_rows
        if interactions is not None:
            whole = new_row[interactions.items] >= 0
            if interaction_rows and not whole.all():
                lost = int((~whole).sum())
                interaction_rows = interaction_rows.drop("with items whose picture is broken", lost)
                interaction_rows.check("interactions", self.limits.interactions)
            interactions = interactions.keep(whole, new_row)
        return dataclasses.replace(
            self,
            catalogue=self.catalogue.take(kept),
            interactions=interactions,
            item_rows=self.item_rows and self.item_rows.drop("with a broken or missing picture", len(broken)),
            interaction_rows=interaction_rows,
            warnings=(*self.warnings, f"{line}: left out"),
            broken=reasons,
        )


def read_dataset(
    folder: Path, limits: LossLimits = DEFAULT_LIMITS, *, with_interactions: bool = True
) -> Dataset:
    """Read a data folder.

    Args:
        folder: holds items and, if anything is known about people, interactions.
        limits: how many rows may be unusable.
        with_interactions: whether the interactions are read; else they are not looked at.

    Returns:
        The data with what could be repaired repaired. Each row is accounted for in the tallies; what else was
        not used is a line in `warnings`.

    Raises:
        DataError: the folder or items are missing, a table can't be read, lacks a column or holds values that
            it may not, item ids repeat, or too many rows can't be used.
    """
    if not folder.is_dir():
        raise DataError(f"no data folder at {folder}: give a folder that holds items.parquet or items.csv")
    names = ("items", "interactions") if with_interactions else ("items",)
    tables, unread = find_tables(folder, names)
    if "items" not in tables:
        raise DataError(f"{folder} holds neither items.parquet nor items.csv, nor items in another form")
    items = read_table(tables["items"], *ITEM_COLUMNS)
    free_text = read_free_text(tables["items"], items.unused)
    catalogue, item_rows, warnings = _catalogue(items, joined(free_text.values(), items.rows), folder)
    item_rows.check("items", limits.items)
    if unread:
        warnings.append(f"not read: {', '.join(unread)} (only {' and '.join(names)})")
    if free_text:
        warnings.append(f"columns of items that are read with the description: {', '.join(free_text)}")
    warnings += _told(items, item_rows, "items", read=free_text)
    bare = Dataset(catalogue, None, item_rows, warnings=tuple(warnings), limits=limits)
    if not with_interactions:
        return bare
    if "interactions" not in tables:
        _refuse_unread_interactions(folder)
        return bare
    table = read_table(tables["interactions"], *INTERACTION_COLUMNS)
    interactions, interaction_rows = read_interactions(table, catalogue.item_ids)
    interaction_rows.check("interactions", limits.interactions)
    warnings += _told(table, interaction_rows, "interactions")
    return dataclasses.replace(
        bare, interactions=interactions, interaction_rows=interaction_rows, warnings=tuple(warnings)
    )


def _told(table: Table, tally: Tally, what: str, read: Container[str] = ()) -> list[str]:
    """What of a table is not used: columns, except those in `read`, and what its tally notes."""
    names = [name for name in table.unused if normal_name(name) not in read]
    unused = [f"columns of {what} that are not used: {', '.join(names)}"] if names else []
    return [*unused, *tally.notes]


def _catalogue(table: Table, free_text: Sequence[str], folder: Path) -> tuple[Catalogue, Tally, list[str]]:
    """Items sorted by id, so that the order of the table's rows decides nothing."""
    columns = {name: texts(column, name) for name, column in table.columns.items() if name != "item_id"}
    found = ids(table.columns["item_id"], "item_id")
    fields = [columns.get(name, ("",) * table.rows) for name in TEXTS]
    rows: dict[str, tuple[str, ...]] = {}
    further: dict[str, str] = {}
    dropped = {
        MALFORMED: table.malformed,
        "without an item_id": 0,
        "that repeat another": 0,
    }
    twice: dict[str, None] = {}
    for code, text, *values in zip(found.codes.tolist(), free_text, *fields, strict=True):
        if code < 0:
            dropped["without an item_id"] += 1
            continue
        item_id = found.values[code]
        further[item_id] = max(text, further.get(item_id, ""))
        if rows.setdefault(item_id, tuple(values)) != tuple(values):
            twice[item_id] = None
    if twice:
        raise DataError(offenders("item ids that stand more than once, with different values", list(twice)))
    if not rows:
        raise DataError(f"{folder} has a table of items with no rows that have an item_id")
    dropped["that repeat another"] = table.rows - len(rows) - dropped["without an item_id"]
    item_ids = sorted(rows)
    images, titles, categories, keywords, described = zip(*(rows[each] for each in item_ids), strict=True)
    descriptions = joined((described, [further[each] for each in item_ids]), len(rows))
    tally = Tally(
        source=table.source,
        read=table.rows + table.malformed,
        used=len(rows),
        dropped={reason: count for reason, count in dropped.items() if count},
    )
    warnings = [
        f"{empty:,} of {len(rows):,} items have no {name}"
        for name, values in (("title", titles), ("image", images))
        if (empty := values.count(""))
    ]
    paths = tuple(_picture(folder, image) for image in images)
    return Catalogue(tuple(item_ids), paths, titles, categories, keywords, descriptions), tally, warnings


def _picture(folder: Path, image: str) -> Path:
    """Where a picture lies, also if the table was written on Windows or the file on a Mac."""
    path = folder / image
    if not path.exists():
        image = image.replace("\\", "/")
        for other in (image, unicodedata.normalize("NFC", image), unicodedata.normalize("NFD", image)):
            if (folder / other).exists():
                return folder / other
    return path


def _refuse_unread_interactions(folder: Path) -> None:
    """A table of another name that holds interactions would be ignored.

    Raises:
        DataError: there is one.
    """
    for path in sorted(folder.iterdir()):
        if is_table(path) and {"user_id", "item_id"} <= column_names(table_files(path)):
            raise DataError(
                f"{path} has the columns user_id and item_id, but only a table named interactions is read:"
                " rename it, or move it out of the folder"
            )


def read_pictures(folder: Path, limits: LossLimits = DEFAULT_LIMITS) -> Dataset:
    """Make a catalogue of nothing but pictures: subfolders are categories, file names give titles.

    Raises:
        DataError: there is no such folder, it holds no pictures, or names that are not UTF-8.
    """
    if not folder.is_dir():
        raise DataError(f"no folder of pictures at {folder}")
    found = find_pictures(folder)
    relative = [image.relative_to(folder) for image in found.images]
    catalogue = Catalogue(
        item_ids=tuple(path.as_posix() for path in relative),
        images=found.images,
        titles=tuple(path.stem.replace("_", " ").replace("-", " ") for path in relative),
        categories=tuple(path.parent.as_posix() if path.parent.name else "" for path in relative),
        keywords=("",) * len(relative),
        descriptions=("",) * len(relative),
    )
    tally = Tally(source=folder.name or str(folder), read=len(relative), used=len(relative))
    skipped = describe_skipped(found.skipped)
    warnings = [f"passed over in {folder}: {skipped}"] if skipped else []
    return Dataset(catalogue, None, tally, warnings=tuple(warnings), limits=limits)
