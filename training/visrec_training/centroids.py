"""What others do from content alone: the items that are most like the centre of what a person liked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from visrec_training.baselines import Matrix, spoken_for
from visrec_training.item_texts import load_text_graph
from visrec_training.prepare import Prepared
from visrec_training.queries import Queries
from visrec_training.text.encoders import NONE

CONTENT = {"words": (1.0, 0.0), "pictures": (0.0, 1.0), "both": (1.0, 0.25)}
"""The centroids that are compared with: shares of words and pictures by name."""


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
        histories = [np.unique(history) for history in queries.histories]
        total = np.zeros((len(histories), len(self.kernels[0])), dtype=np.float32)
        for share, kernel in zip(self.shares, self.kernels, strict=True):
            similar = spoken_for(queries, kernel)
            squared = [row[history].sum() for row, history in zip(similar, histories, strict=True)]
            length = np.sqrt(np.asarray(squared, dtype=np.float32).clip(min=1e-9))
            total += share * similar / length[:, None]
        return total


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
    size = (len(tokens), len(ids))
    weighted = sparse.coo_array((values.astype(np.float32), (rows, columns)), shape=size).tocsr()
    return (weighted @ weighted.T).toarray()
