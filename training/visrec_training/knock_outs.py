"""Data with a part taken away, to learn what the part is worth."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from visrec_training.prepare import Prepared
from visrec_training.rows import Ragged

SHUFFLED_PICTURES, NO_PICTURES = "shuffled pictures", "no pictures"


def _shuffled_pictures(prepared: Prepared) -> Prepared:
    """Items get each other's pictures, in an order drawn once."""
    values = prepared.regions.values
    order = np.random.default_rng(0).permutation(len(values))
    return dataclasses.replace(prepared, regions=dataclasses.replace(prepared.regions, values=values[order]))


def _no_pictures(prepared: Prepared) -> Prepared:
    """All pictures look alike."""
    nothing = np.zeros_like(prepared.regions.values)
    return dataclasses.replace(prepared, regions=dataclasses.replace(prepared.regions, values=nothing))


def _no_words(prepared: Prepared) -> Prepared:
    """Items have no texts."""
    catalogue = prepared.dataset.catalogue
    none = ("",) * len(catalogue)
    bare = dataclasses.replace(catalogue, titles=none, categories=none, keywords=none, descriptions=none)
    return dataclasses.replace(prepared, dataset=dataclasses.replace(prepared.dataset, catalogue=bare))


def _no_behaviour(prepared: Prepared) -> Prepared:
    """Nobody did anything that could be learned from."""
    split = prepared.split
    unknown = dataclasses.replace(split, train=Ragged.empty(len(split.train)))
    return dataclasses.replace(prepared, split=unknown)


KNOCK_OUTS: dict[str, Callable[[Prepared], Prepared]] = {
    SHUFFLED_PICTURES: _shuffled_pictures,
    NO_PICTURES: _no_pictures,
    "no words": _no_words,
    "no behaviour": _no_behaviour,
}
"""By name; each leaves what it is given as it was."""
