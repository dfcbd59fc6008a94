"""The data contract: a folder with items, interactions and pictures, checked as it is read.

items.parquet or items.csv                item_id, image, title [, category] [, keywords]
interactions.parquet or interactions.csv  user_id, item_id, timestamp [, liked] [, split]
pictures, where `image` says, relative to the folder
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from visrec_training.errors import DataError
from visrec_training.interactions import Interactions, Rows, read_interactions
from visrec_training.tables import offenders, read_table, strings

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
        line = offenders("broken or missing pictures", reasons)
        if len(broken) > BROKEN_SHARE_ALLOWED * len(self.catalogue):
            raise DataError(f"{line}: more than {BROKEN_SHARE_ALLOWED:.0%} of {len(self.catalogue)} items")
        kept = [row for row in range(len(self.catalogue)) if row not in broken]
        new_row: Rows = np.full(len(self.catalogue), -1, dtype=np.int64)
        new_row[kept] = np.arange(len(kept))
        interactions = self.interactions
        if interactions is not None:
            interactions = interactions.keep(new_row[interactions.items] >= 0, new_row)
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
        DataError: the folder or items are missing, a column is missing or holds values that it may not, or
            item ids repeat.
    """
    if not folder.is_dir():
        raise DataError(f"no data folder at {folder}: give a folder that holds items.parquet or items.csv")
    items = read_table(folder, "items", required=("item_id", "image", "title"))
    if items is None:
        raise DataError(f"{folder} holds neither items.parquet nor items.csv")
    item_ids = strings(items, "item_id")
    _check_ids(item_ids, folder)
    catalogue = Catalogue(
        item_ids=item_ids,
        images=tuple(folder / image for image in strings(items, "image")),
        titles=strings(items, "title"),
        categories=strings(items, "category"),
        keywords=strings(items, "keywords"),
    )
    table = read_table(folder, "interactions", required=("user_id", "item_id"))
    if table is None:
        return Dataset(catalogue, None)
    interactions, warnings = read_interactions(table, item_ids)
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


def _check_ids(item_ids: tuple[str, ...], folder: Path) -> None:
    if not item_ids:
        raise DataError(f"{folder} has a table of items with no rows")
    if "" in item_ids:
        raise DataError(f"{item_ids.count('')} items in {folder} have no item_id")
    ids, counts = np.unique(np.asarray(item_ids, dtype=object), return_counts=True)
    if (counts > 1).any():
        raise DataError(offenders("item ids that stand more than once", ids[counts > 1].tolist()))
