"""MovieLens and a folder of posters → a data folder of visrec, split as the tables say.

GroupLens gives ml-latest-small (ratings.csv, movies.csv) and ml-1m (ratings.dat, movies.dat) for research;
they may not be redistributed (Harper & Konstan, The MovieLens Datasets, ACM TiiS 5:4, 2015). Posters are
their studios': bring your own, named <movieId>.jpg.

The split: a rating of 4 or more is `liked`; about a tenth of the films, drawn by their ids, is `cold` with
all their ratings, the same films in every set; of what is left of each user, the first 80% are `train`, the
next 10% `valid`, the last 10% `test`: in time order in ml-latest-small, shuffled in ml-1m, whose times only
say when somebody sat down to rate.
"""

from __future__ import annotations

import csv
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet

from visrec_training.errors import DataError
from visrec_training.files import make_folder, write_beside

LIKED = 4.0
COLD_SHARE, TRAIN_SHARE, VALID_SHARE = 0.1, 0.8, 0.1


@dataclass(frozen=True, slots=True)
class Ratings:
    """One entry a rating, as GroupLens gives them."""

    users: npt.NDArray[np.int64]
    films: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]
    times: npt.NDArray[np.int64]
    """Seconds since 1970."""


@dataclass(frozen=True, slots=True)
class Film:
    """What is told about a film."""

    title: str
    """With the year."""
    genres: str
    """Joined by |; empty where there are none."""


def convert(source: Path, posters: Path, out: Path, seed: int) -> tuple[int, int]:
    """Write items.parquet and interactions.parquet.

    Args:
        source: the unpacked folder of ml-latest-small or ml-1m.
        posters: holds <movieId>.jpg; films without one are left out. They stay where they are.
        out: gets the two tables.
        seed: decides what is cold, and the order where none is taken from the times.

    Returns:
        How many items and how many interactions were written.

    Raises:
        DataError: a file is missing or damaged, or no film has a poster.
    """
    timed = not (source / "ratings.dat").is_file()
    try:
        films, ratings = (_read_csv if timed else _read_dat)(source)
    except (KeyError, ValueError) as error:
        raise DataError(f"{source} is damaged or neither ml-latest-small nor ml-1m: {error}") from error
    kept = sorted(film for film in films if (posters / f"{film}.jpg").is_file())
    if not kept:
        raise DataError(f"{posters} holds no poster of any film: name them <movieId>.jpg")
    known = np.isin(ratings.films, kept)
    order = np.lexsort((ratings.times, ratings.users))
    order = order[known[order]]
    users, items = ratings.users[order], ratings.films[order]
    columns = {
        "user_id": users,
        "item_id": items,
        "liked": (ratings.values[order] >= LIKED).astype(np.int64),
        "split": split(users, items, seed, shuffle=not timed),
    }
    if timed:
        columns["timestamp"] = ratings.times[order]
    kept = np.unique(items).tolist()
    make_folder(out)
    table = {
        "item_id": kept,
        "title": [films[film].title for film in kept],
        "category": [films[film].genres or None for film in kept],
        "image": [os.path.relpath(posters / f"{film}.jpg", out) for film in kept],
    }
    write_beside(out / "items.parquet", partial(pa.parquet.write_table, pa.table(table)))
    write_beside(out / "interactions.parquet", partial(pa.parquet.write_table, pa.table(columns)))
    return len(kept), len(users)


def split(
    users: npt.NDArray[np.int64], films: npt.NDArray[np.int64], seed: int, *, shuffle: bool
) -> npt.NDArray[np.str_]:
    """The part of each rating.

    Args:
        users: [n], sorted.
        films: [n], each user's in time order.
        seed: decides what is cold, and the order where `shuffle` asks for one.
        shuffle: whether each user's ratings are shuffled before they are cut.
    """
    parts = np.full(len(users), "cold", dtype="<U5")
    is_warm = np.asarray([not is_cold(film, seed) for film in films.tolist()])
    rng = np.random.default_rng(seed)
    for start, end in _runs(users):
        mine = start + np.flatnonzero(is_warm[start:end])
        if shuffle:
            mine = rng.permutation(mine)
        learned, chosen = (round(share * len(mine)) for share in (TRAIN_SHARE, TRAIN_SHARE + VALID_SHARE))
        parts[mine[:learned]], parts[mine[learned:chosen]], parts[mine[chosen:]] = "train", "valid", "test"
    return parts


def is_cold(film: int, seed: int) -> bool:
    """Whether a film is held out: drawn by its id, so that it doesn't depend on what else is in a set."""
    digest = hashlib.blake2b(f"{seed}:{film}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") < COLD_SHARE * 2**64


def _runs(users: npt.NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    starts = np.flatnonzero(np.diff(users, prepend=-1))
    yield from zip(starts.tolist(), [*starts[1:].tolist(), len(users)], strict=True)


def _read_csv(source: Path) -> tuple[dict[int, Film], Ratings]:
    with _open(source / "movies.csv", "utf-8") as file:
        rows = list(csv.DictReader(file))
    none = "(no genres listed)"
    films = {
        int(row["movieId"]): Film(row["title"], "" if row["genres"] == none else row["genres"])
        for row in rows
    }
    with _open(source / "ratings.csv", "utf-8") as file:
        rated = [
            (row["userId"], row["movieId"], row["rating"], row["timestamp"]) for row in csv.DictReader(file)
        ]
    return films, _ratings(rated)


def _read_dat(source: Path) -> tuple[dict[int, Film], Ratings]:
    """Fields end with "::" and there is no quoting, so this is not CSV."""
    with _open(source / "movies.dat", "iso-8859-1") as file:
        movies = [line.rstrip("\r\n").split("::") for line in file]
    with _open(source / "ratings.dat", "iso-8859-1") as file:
        rated = [line.rstrip("\r\n").split("::") for line in file]
    return {int(film): Film(title, genres) for film, title, genres in movies}, _ratings(rated)


def _ratings(rows: list[Any]) -> Ratings:
    users, films, values, times = zip(*rows, strict=True)
    return Ratings(
        np.asarray(users, dtype=np.int64),
        np.asarray(films, dtype=np.int64),
        np.asarray(values, dtype=np.float64),
        np.asarray(times, dtype=np.int64),
    )


def _open(path: Path, encoding: str) -> TextIO:
    try:
        return path.open(encoding=encoding, newline="")
    except OSError as error:
        raise DataError(
            f"can't read {path} ({error.strerror}): give the unpacked folder of ml-latest-small or ml-1m"
        ) from error
