"""What others do, in closed form: popularity, item-to-item neighbours, ridge regression, content centres."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from visrec_training.evaluate import popularity_of, without_ties
from visrec_training.interactions import Rows
from visrec_training.item_texts import load_text_graph
from visrec_training.neighbours import ease, products
from visrec_training.prepare import Prepared
from visrec_training.split import Queries, Split
from visrec_training.text.encoders import NONE

Matrix = npt.NDArray[np.float32]


class Baseline(Protocol):
    """Anything that scores a catalogue for queries, having been fitted to a split."""

    def scores(self, queries: Queries) -> Matrix:
        """How well each item suits each query: float32 [n, N]."""
        ...


@dataclass(frozen=True, slots=True)
class Popularity:
    """The same for everybody: how many people liked an item; equals in an order drawn once."""

    counts: npt.NDArray[np.float32]

    @classmethod
    def fit(cls, split: Split) -> Popularity:
        """Count."""
        return cls(without_ties(popularity_of(split)).astype(np.float32))

    def scores(self, queries: Queries) -> Matrix:
        """As `Baseline`."""
        return np.tile(self.counts, (len(queries), 1))


@dataclass(frozen=True, slots=True)
class ItemToItem:
    """Each item of a history speaks for others, and what it says is summed."""

    weights: Matrix
    """[N, N]: row i is what i says."""

    @classmethod
    def item_knn(cls, split: Split, neighbours: int) -> ItemToItem:
        """Cosine of who liked two items, for the nearest neighbours of each (Sarwar et al., WWW 2001)."""
        chosen = _matrix(split.train, len(split.is_cold))
        together = chosen.T @ chosen
        norms = np.sqrt(together.diagonal()).clip(min=1)
        cosine = together / norms[:, None] / norms
        np.fill_diagonal(cosine, 0)
        if neighbours < len(cosine):
            least = -np.partition(-cosine, neighbours - 1, axis=0)[neighbours - 1]
            cosine = np.where(cosine >= least, cosine, 0)
        return cls(cosine)

    @classmethod
    def ease(cls, split: Split, ridge: float) -> ItemToItem:
        """EASE: each item predicted from all others by ridge regression (Steck, WWW 2019)."""
        chosen = _matrix(split.train, len(split.is_cold))
        return cls(ease(torch.from_numpy(chosen.T @ chosen).double(), ridge).float().numpy())

    def scores(self, queries: Queries) -> Matrix:
        """As `Baseline`."""
        return _matrix(queries.histories, len(self.weights)) @ self.weights


@dataclass(frozen=True, slots=True)
class Centroid:
    """Cosine with the centre of what a person liked, summed over kinds of content; knows new items."""

    kernels: tuple[Matrix, ...]
    """[N, N] each: the inner products of the items' content."""
    shares: tuple[float, ...]

    @classmethod
    def fit(cls, prepared: Prepared, *, words: float, pictures: float) -> Centroid:
        """Prepare the content; a share of 0 leaves it out."""
        kinds = ((words, _word_kernel), (pictures, _picture_kernel))
        used = [(share, kernel(prepared)) for share, kernel in kinds if share]
        return cls(tuple(kernel for _, kernel in used), tuple(share for share, _ in used))

    def scores(self, queries: Queries) -> Matrix:
        """As `Baseline`."""
        liked = _matrix(queries.histories, len(self.kernels[0]))
        total = np.zeros_like(liked)
        for share, kernel in zip(self.shares, self.kernels, strict=True):
            similar = liked @ kernel
            length = np.sqrt((similar * liked).sum(axis=1, keepdims=True).clip(min=1e-9))
            total += share * similar / length
        return total


def _matrix(sequences: list[Rows], items: int) -> Matrix:
    """1 where a sequence holds an item: float32 [n, items]."""
    matrix = np.zeros((len(sequences), items), dtype=np.float32)
    for row, sequence in enumerate(sequences):
        matrix[row, sequence] = 1
    return matrix


def _word_kernel(prepared: Prepared) -> Matrix:
    """TF-IDF of title, keywords and category, by the tokens of the text graph, of length 1."""
    catalogue = prepared.dataset.catalogue
    read = load_text_graph(NONE)([catalogue.text(row) for row in range(len(catalogue))]).tokens
    tokens = [np.unique(row[row != 0]) for row in read]
    ids, columns = np.unique(np.concatenate([*map(np.asarray, tokens)]), return_inverse=True)
    rows = np.repeat(np.arange(len(tokens)), [len(each) for each in tokens])
    rarity = np.log(len(tokens) / np.bincount(columns))
    values = rarity[columns].astype(np.float32)
    values /= np.sqrt(np.bincount(rows, values**2, minlength=len(tokens)).clip(min=1e-9))[rows]
    place = torch.from_numpy(np.stack([rows, columns]))
    size = (len(tokens), len(ids))
    weighted = torch.sparse_coo_tensor(
        place, torch.from_numpy(values.astype(np.float32)), size, check_invariants=True
    ).coalesce()
    return products(weighted, weighted).numpy()


def pooled_pictures(prepared: Prepared) -> Matrix:
    """Regions, pooled by their mean, of length 1: float32 [N, D]."""
    pooled = prepared.regions.values.mean(axis=1, dtype=np.float32)
    return pooled / np.linalg.norm(pooled, axis=1, keepdims=True).clip(min=1e-9)


def _picture_kernel(prepared: Prepared) -> Matrix:
    """Regions, pooled by their mean, less the catalogue's mean, of length 1."""
    pooled = pooled_pictures(prepared)
    pooled -= pooled[prepared.split.warm_items].mean(axis=0)
    pooled /= np.linalg.norm(pooled, axis=1, keepdims=True).clip(min=1e-9)
    return pooled @ pooled.T
