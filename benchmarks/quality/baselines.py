"""What others do, in closed form: popularity, neighbours, ridge regression, content centres, and a blend.

Each number that a fit needs is chosen on the validation part of the set at hand.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from visrec_training.evaluate import popularity_of, without_ties
from visrec_training.interactions import Rows
from visrec_training.item_texts import load_text_graph
from visrec_training.metrics import ranking_metrics
from visrec_training.neighbours import ease, products
from visrec_training.prepare import Prepared
from visrec_training.retrieval import rank_scores
from visrec_training.split import Queries, Section, Split
from visrec_training.text.encoders import NONE

NEIGHBOURS = (50, 20, 100, 200)
"""Of an item; here and below, the first is taken where nothing can be validated."""
RIDGES = (100.0, 10.0, 30.0, 300.0, 1000.0)
"""EASE's, in people."""
WEIGHTS = (0.3, 0.03, 0.1, 1.0, 3.0, 10.0)
"""Of content in a blend, next to 1 for EASE, for known items."""
NEW_WEIGHTS = (1.0, 0.3, 2.0, 3.0, 5.0, 10.0)
"""The same for new items, of which EASE says nothing."""
CHOICE_PEOPLE = 2_000  # the first ones, whom numbers are chosen on
NEW_SHARE = 0.1  # of the known items, taken for new where something is chosen for new items

Matrix = npt.NDArray[np.float32]
Option = TypeVar("Option")


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


@dataclass(frozen=True, slots=True)
class Blend:
    """EASE and a centroid of content, added up: it knows what people chose together, and new items."""

    people: ItemToItem
    content: Centroid
    weights: Matrix
    """[N]: of content, for each item."""

    @classmethod
    def fit(cls, split: Split, ridge: float, content: Centroid) -> Blend:
        """Fit EASE, and choose the weights of content where a tenth of the items is taken for new."""
        earlier, section = with_newcomers(split)
        by_people = _scaled(ItemToItem.ease(earlier, ridge).scores(section.queries))
        by_content = _scaled(content.scores(section.queries))
        options = list(product(WEIGHTS, NEW_WEIGHTS))
        chosen = best(options, lambda each: by_people + _weights(earlier, *each) * by_content, section)
        return cls(ItemToItem.ease(split, ridge), content, _weights(split, *chosen))

    def scores(self, queries: Queries) -> Matrix:
        """As `Baseline`."""
        by_content = _scaled(self.content.scores(queries))
        return _scaled(self.people.scores(queries)) + self.weights * by_content


def validated(options: Sequence[Option], fit: Callable[[Option], Baseline], split: Split) -> Option:
    """The option whose fit reaches the highest NDCG@10 on validation."""
    asked = split.validation.first(CHOICE_PEOPLE)
    return best(options, lambda option: fit(option).scores(asked.queries), asked)


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


def with_newcomers(split: Split) -> tuple[Split, Section]:
    """What could be known before a tenth of the known items came, and who is asked for what they chose then.

    Returns:
        The split with these items taken from all that is learned from; and, as `mixed` asks later, everybody
        who liked one of them, or a validation item, with both as right answers among all known items.
    """
    known = np.flatnonzero(split.candidates)
    is_new = np.zeros_like(split.candidates)
    drawn = np.random.default_rng(0).choice(known, size=round(NEW_SHARE * len(known)), replace=False)
    is_new[drawn] = True
    earlier = [liked[~is_new[liked]] for liked in split.train]
    targets = [liked[is_new[liked]] for liked in split.train]
    seen = list(earlier)
    asked = split.valid
    for user, right, met in zip(asked.users.tolist(), asked.targets, asked.seen, strict=True):
        targets[user] = np.union1d(targets[user], right)
        seen[user] = met[~is_new[met]]
    users = np.flatnonzero([len(each) > 0 for each in targets])
    queries = Queries(
        users=users,
        histories=[earlier[user] for user in users],
        viewed=np.full(len(users), -1),
        targets=[targets[user] for user in users],
        seen=[seen[user] for user in users],
    )
    section = Section(queries, split.candidates).first(CHOICE_PEOPLE)
    return dataclasses.replace(split, train=earlier), section


def _weights(split: Split, known: float, new: float) -> Matrix:
    """Float32 [N]: one weight for items that somebody liked in training, and another for all others."""
    return np.where(popularity_of(split) > 0, known, new).astype(np.float32)


def _scaled(scores: Matrix) -> Matrix:
    """Scores in units of their deviation over items, query by query: what is added up should weigh alike."""
    return scores / scores.std(axis=1, keepdims=True).clip(min=1e-9)


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
