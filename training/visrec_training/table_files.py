"""Which files of a data folder make up a table: one, or a folder of parts as Spark, Dask and Hive write it.

A table is found by its name, whatever the case of its letters: `items.csv`, `Items.parquet`, `items.csv.gz`,
`interactions.parquet/` with part files in it. Two candidates for one table are refused, because the wrong one
would train a model without a word; so is a near name where the right one is missing.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from visrec_training.errors import DataError

PARQUET = frozenset({".parquet", ".pq", ".parq"})
TEXT = frozenset({".csv", ".tsv", ".tab", ".psv"})
COMPRESSED = frozenset({".gz", ".gzip", ".bz2", ".xz", ".zst", ".zstd", ".zip", ".snappy", ".lz4"})
OTHER = frozenset(
    {".xlsx", ".xls", ".ods", ".json", ".jsonl", ".ndjson", ".feather", ".arrow", ".orc", ".avro", ".db"}
    | {".sqlite", ".duckdb", ".pkl", ".pickle", ".sql", ".dta", ".sas7bdat"}
)
"""Endings of tables that can't be read."""
NAMES = ("items", "interactions")
_NEAR = 0.8  # how alike a name is that was probably meant
_FOREIGN = {"_delta_log": "Delta Lake", "metadata": "Iceberg", ".hoodie": "Hudi"}
_HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True, slots=True)
class TableFiles:
    """The files of one table."""

    name: str
    """As a person names it, such as `interactions.parquet/ (12 files)`."""
    parts: tuple[Path, ...]
    """One file or more."""
    root: Path
    """The file itself, or the folder of the parts; `key=value` folders below it are columns."""

    def partition(self, part: Path) -> dict[str, str | None]:
        """Columns that the path of a part holds, as Hive lays them out: `day=2026-01-01/part-0.parquet`."""
        if part == self.root:
            return {}
        pairs = (folder.split("=", 1) for folder in part.relative_to(self.root).parent.parts if "=" in folder)
        return {name: None if value == _HIVE_NULL else unquote(value) for name, value in pairs}


def find_tables(
    folder: Path, names: Sequence[str] = NAMES
) -> tuple[Mapping[str, TableFiles], tuple[str, ...]]:
    """Find tables of a data folder by their names.

    Returns:
        Those of `names` that are there, and the names of other tables, which nobody reads.

    Raises:
        DataError: a table is there twice or in a form that can't be read, or is missing where another has
            nearly its name.
    """
    entries = sorted(path for path in folder.iterdir() if path.name[0] not in "._")
    candidates = [path for path in entries if is_table(path)]
    others = [path for path in entries if path not in candidates and _is_other_table(path)]
    found: dict[str, TableFiles] = {}
    for name in names:
        named = [path for path in candidates if _stem(path) == name]
        if len(named) > 1:
            raise DataError(
                f"{folder} holds {' and '.join(map(_shown, named))}: which are the {name}? Leave one there"
            )
        unreadable = [path for path in others if _stem(path) == name]
        if named:
            found[name] = table_files(named[0])
        elif unreadable:
            raise DataError(f"{unreadable[0]} can't be read: write the {name} as Parquet or CSV")
    unread = [path for path in (*candidates, *others) if _stem(path) not in found or path in others]
    for name in names:
        near = [path for path in unread if _is_near(_stem(path), name)]
        if name not in found and near:
            raise DataError(
                f"{folder} holds no table of {name}, but {', '.join(map(_shown, near))}: rename it to"
                f" {name}{''.join(near[0].suffixes)} if that is what it is, or move it out of the folder"
            )
    return found, tuple(map(_shown, unread))


def _stem(path: Path) -> str:
    return path.name.split(".")[0].strip().casefold()


def _endings(path: Path) -> list[str]:
    return [suffix.lower() for suffix in path.suffixes]


def is_table(path: Path) -> bool:
    """Whether a file or folder is a table in a form that can be read."""
    endings, is_named = set(_endings(path)), _stem(path) in NAMES
    formats = PARQUET | TEXT | ({".txt"} if is_named else set())
    readable = bool(formats & endings) and endings <= formats | COMPRESSED
    if path.is_dir():  # a folder `items` may just as well hold the pictures
        return readable or (is_named and any(map(is_table, _parts(path))))
    return readable


def _is_other_table(path: Path) -> bool:
    return path.is_file() and bool(_stem(path) in NAMES or (OTHER | PARQUET | TEXT) & set(_endings(path)))


def _is_near(stem: str, name: str) -> bool:
    return name[:-1] in stem or difflib.SequenceMatcher(None, stem, name).ratio() >= _NEAR


def table_files(path: Path) -> TableFiles:
    """The files of a table, which is a file or a folder of parts.

    Raises:
        DataError: a folder holds no parts, parts of several kinds, or old rows as well.
    """
    if path.is_file():
        return TableFiles(path.name, (path,), path)
    for marker, system in _FOREIGN.items():
        if (path / marker).is_dir():
            raise DataError(
                f"{path} is a table of {system}, whose files hold old rows as well: write its current state"
                " as Parquet"
            )
    if (path / "_temporary").exists() and not (path / "_SUCCESS").exists():
        raise DataError(
            f"{path} is still being written, or its job failed: it holds _temporary and no _SUCCESS"
        )
    parts = _parts(path)
    if not parts:
        raise DataError(f"{path} holds no part files")
    kinds = {bool(PARQUET.intersection(_endings(part))) for part in parts}
    if len(kinds) > 1:
        raise DataError(f"{path} holds Parquet and other files: leave one kind there")
    return TableFiles(f"{path.name}/ ({len(parts)} file{'s' * (len(parts) > 1)})", parts, path)


def _parts(folder: Path) -> tuple[Path, ...]:
    """The files below a folder, sorted; without markers and checksums, whose names start with _ or a dot."""
    found: list[Path] = []
    for place, folders, files in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if name[0] not in "._")
        found += [Path(place, name) for name in sorted(files) if name[0] not in "._"]
    return tuple(found)


def _shown(path: Path) -> str:
    return path.name + "/" * path.is_dir()
