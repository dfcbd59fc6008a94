"""What data a checkpoint was trained on, so that it is never measured on what it has learned from.

Each part of the data has a digest of its own: a difference is told by name. The order of rows, the types of
columns and the place of the folder make no difference.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from visrec_training.data import Catalogue, Dataset
from visrec_training.queries import Queries, Section
from visrec_training.regions import Regions
from visrec_training.rows import Ragged
from visrec_training.split import Split

Fingerprint: TypeAlias = Mapping[str, str]
"""Part of the data → digest."""
Array: TypeAlias = npt.NDArray[np.generic]
PICTURES = "pictures"


def fingerprint(dataset: Dataset, regions: Regions, split: Split) -> Fingerprint:
    """Name exactly the data that training sees."""
    return {**without_pictures(dataset, split), PICTURES: _texts(regions.digests)}


def without_pictures(dataset: Dataset, split: Split) -> Fingerprint:
    """The fingerprint but for the pictures, where nobody has read them."""
    return {**_of_items(dataset.catalogue), **_of_behaviour(dataset, split)}


def differences(then: Fingerprint, now: Fingerprint) -> str:
    """The parts that differ, of those that both name, as `titles, interactions`; "" where none does."""
    return ", ".join(part for part in then if part in now and then[part] != now[part])


def of_section(section: Section) -> str:
    """Name exactly what a section asks of whom, and what it ranks for them."""
    queries = section.queries
    return _arrays([section.ranked, *_of_queries(queries), *_of_lists(queries.seen)])


def _of_items(catalogue: Catalogue) -> Fingerprint:
    return {
        "item ids": _texts(catalogue.item_ids),
        "titles": _texts(catalogue.titles),
        "categories": _texts(catalogue.categories),
        "keywords": _texts(catalogue.keywords),
        "descriptions": _texts(catalogue.descriptions),
    }


def _of_behaviour(dataset: Dataset, split: Split) -> Fingerprint:
    done = dataset.interactions
    asked = [_of_queries(each) for each in (split.valid, split.test, split.cold)]
    return {
        "interactions": _arrays(() if done is None else (done.users, done.items, done.liked)),
        "split": _arrays([split.is_cold, *_of_lists(split.train), *(a for q in asked for a in q)]),
    }


def _of_queries(queries: Queries) -> list[Array]:
    return [queries.users, queries.viewed, *_of_lists(queries.targets)]


def _of_lists(lists: Ragged) -> tuple[Array, Array]:
    return lists.sizes, lists.values


def _texts(texts: Iterable[str]) -> str:
    sha = hashlib.sha256()
    for text in texts:
        sha.update(text.encode() + b"\0")
    return sha.hexdigest()[:16]


def _arrays(arrays: Iterable[Array]) -> str:
    sha = hashlib.sha256()
    for array in arrays:
        sha.update(np.ascontiguousarray(array).tobytes())
    return sha.hexdigest()[:16]
