"""What others do, in closed form, from behaviour alone: popularity, item-kNN and EASE.

The number that a fit needs is chosen on the validation part of the split.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from scipy import sparse

from visrec_training.item_weights import ease
from visrec_training.metrics import ranking_metrics
from visrec_training.queries import Queries, Section
from visrec_training.retrieval import rank_scores
from visrec_training.rows import Ragged, Rows
from visrec_training.split import Split

NEIGHBOURS = (50, 20, 100, 200)
"""Of an item; here and below, the first is taken where nothing can be validated."""
RIDGES = (100.0, 10.0, 30.0, 300.0, 1000.0)
"""EASE's, in people."""
CHOICE_PEOPLE = 2_000  # the first ones, whom numbers are chosen on
BLOCK = 2_048  # queries scored at a time

Matrix = npt.NDArray[np.float32]
Option = TypeVar("Option")


class Baseline(Protocol):
    """Anything that scores a catalogue for queries, having been fitted to a split."""

    def scores(self, queries: Queries) -> Matrix:
        """How well each item suits each query: float32 [n, N]."""
        ...


@dataclass(frozen=True, slots=True)
class Popularity:
    """The same for everybody: how many people liked an item; equals in an order drawn once.

    The order of a catalogue may say how old or popular items are.
    """

    places: Matrix
    """[N], counted from the least popular."""

    @classmethod
    def fit(cls, split: Split) -> Popularity:
        """Count."""
        counts = popularity_of(split)
        order = np.lexsort((np.random.default_rng(0).permutation(len(counts)), counts))
        return cls(order.argsort().astype(np.float32))

    def scores(self, queries: Queries) -> Matrix:
        """As `Baseline`."""
        return np.broadcast_to(self.places, (len(queries), len(self.places)))


@dataclass(frozen=True, slots=True)
class ItemToItem:
    """Each item of a history speaks for others, and what it says is summed."""

    weights: Matrix
    """[N, N]: row i is what i says."""

    @classmethod
    def item_knn(cls, together: Matrix, neighbours: int) -> ItemToItem:
        """Cosine of who liked two items, for the nearest neighbours of each (Sarwar et al., WWW 2001).

        Args:
            together: [N, N], of `liked_together`.
            neighbours: of an item.
        """
        norms = np.sqrt(together.diagonal()).clip(min=1)
        cosine = together / norms[:, None] / norms
        np.fill_diagonal(cosine, 0)
        if neighbours < len(cosine):
            least = -np.partition(-cosine, neighbours - 1, axis=0)[neighbours - 1]
            cosine = np.where(cosine >= least, cosine, 0)
        return cls(cosine)

    @classmethod
    def ease(cls, together: Matrix, ridge: float) -> ItemToItem:
        """EASE: each item predicted from all others by ridge regression (Steck, WWW 2019).

        Args:
            together: [N, N], of `liked_together`.
            ridge: λ, in people.
        """
        weights = ease(torch.from_numpy(together).double(), ridge).float()
        return cls(weights.contiguous().numpy())  # the inverse comes by columns, and rows are what is summed

    def scores(self, queries: Queries) -> Matrix:
        """As `Baseline`."""
        return spoken_for(queries, self.weights)


def popularity_of(split: Split) -> Rows:
    """How many people liked each item in training, int64 [N]."""
    return np.bincount(split.train.values, minlength=len(split.is_cold))


def liked_together(split: Split) -> Matrix:
    """How many people liked both of two items in training: float32 [N, N]."""
    people = _sparse(split.train, len(split.is_cold))
    return (people.T @ people).toarray()


def spoken_for(queries: Queries, weights: Matrix) -> Matrix:
    """The sum of weights' rows, [N, N], over each query's history: float32 [n, N]."""
    return _sparse(queries.histories, len(weights)) @ weights


def rank(baseline: Baseline, section: Section) -> Rows:
    """The best 20 items for each query of a section, int64 [n, 20]; -1 where fewer are ranked.

    What a person looks at ends their history.
    """
    starts = range(0, max(1, len(section.queries)), BLOCK)
    parts = [section.part(slice(start, start + BLOCK)) for start in starts]
    return np.concatenate([rank_scores(baseline.scores(part.queries.with_viewed()), part) for part in parts])


def best_item_knn(split: Split) -> ItemToItem:
    """Item-kNN with the number of neighbours that validation chooses."""
    fit = partial(ItemToItem.item_knn, liked_together(split))
    return fit(validated(NEIGHBOURS, fit, split))


def best_ease(split: Split) -> ItemToItem:
    """EASE with the ridge that validation chooses."""
    fit = partial(ItemToItem.ease, liked_together(split))
    return fit(validated(RIDGES, fit, split))


def validated(options: Sequence[Option], fit: Callable[[Option], Baseline], split: Split) -> Option:
    """The option whose fit reaches the highest NDCG@10 on validation."""
    asked = split.validation.first(CHOICE_PEOPLE)
    queries = asked.queries.with_viewed()
    return best(options, lambda option: fit(option).scores(queries), asked)


def best(options: Sequence[Option], scores: Callable[[Option], Matrix], section: Section) -> Option:
    """The option whose scores reach the highest NDCG@10.

    Args:
        options: the first one wins where several are equal, as where nobody is asked.
        scores: float32 [n, N], of all items for each query of the section.
        section: what is asked.
    """

    def reached(option: Option) -> float:
        return ranking_metrics(rank_scores(scores(option), section), section.queries.targets)["ndcg@10"]

    return max(options, key=reached)


def _sparse(sequences: Ragged, items: int) -> sparse.csr_array:
    """1 where a sequence holds an item, however often: float32 [n, items]."""
    pairs = (np.ones(len(sequences.values), np.float32), (sequences.owners, sequences.values))
    once = sparse.coo_array(pairs, shape=(len(sequences), items)).tocsr()
    once.data[:] = 1
    return once
