"""Who would choose an item that nobody met: kernel ridge regression from content to audiences.

What a history says for a new item is predicted from what it says for the items that are like it: how alike
audiences are, the sum of three measures. From what it is predicted (`content.RECIPES`), how strongly it is
held small, how much likeness of content counts by itself beside it, and how even the items are made are
chosen on the items that were met, each predicted from all others as if nobody had met it: leave-one-out,
which the kernel's inverse gives for free (Rasmussen & Williams, Gaussian Processes for Machine Learning,
2006, section 5.4.2).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from visrec_training.content import RECIPES, Content, Recipe
from visrec_training.metrics import ranking_metrics
from visrec_training.people import People
from visrec_training.queries import Queries, Section
from visrec_training.retrieval import rank_scores
from visrec_training.rows import Ragged

CHOICE_ITEMS, CHOICE_PEOPLE = 4_000, 2_000  # the most met and the first, that strengths are chosen on
FOLDS = 10  # parts of the items; each person is asked about those of one
RIDGES = (3.0, 1.0, 10.0, 30.0, 100.0)
LIKENESS = (0.0, 0.3, 1.0, 3.0)  # next to 1 for what is predicted, in deviations of what histories say
EVENNESS = (0.0, 0.25, 0.5, 0.75)
"""Powers of the deviation of what is said for an item that this is divided by: content foretells badly how
popular an item will be."""
Option = TypeVar("Option")


@dataclass(frozen=True)
class Audiences:
    """The fitted regression, over the n items that were met."""

    content: Content
    met: Tensor
    """int64 [n], rows of the catalogue."""
    alike: Tensor
    """float32 [n, n], what is predicted: each column is what the items say for one of them."""
    recipe: Recipe
    inverse: Tensor
    """float64 [n, n], of the kernel with its ridge."""
    likeness: float
    """How much the kernel itself counts beside."""
    evenness: float

    def kernel(self, rows: Tensor) -> Tensor:
        """How alike the content of others, int64 [k] of the catalogue, is to theirs: float32 [n, k]."""
        return self.content.kernel(self.met, rows, self.recipe).float()

    def regress(self, values: Tensor) -> Tensor:
        """What predicts values of other items, [k, m], as kernel.T @ this: float32 [n, m].

        Args:
            values: [n, m], of the items that were met.
        """
        return (self.inverse @ values.double()).float()

    def foretell(self, kernel: Tensor) -> Tensor:
        """What the items that were met say for others, float32 [n, k], by their `kernel`."""
        return _even(self._by_kernel @ kernel + self.likeness * kernel, self.evenness)

    @cached_property
    def _by_kernel(self) -> Tensor:
        return self.regress(self.alike.T).T

    def predict_others(self, votes: Tensor) -> Tensor:
        """What content predicts of each column of votes, float32 [n, n], from all other columns."""
        return _left_out(votes, self.inverse)

    def left_out(self) -> Tensor:
        """What the other items say for each, as if nobody had met it: float32 [n, n]."""
        predicted = self.predict_others(self.alike)
        kernel = self.content.kernel(self.met, self.met, self.recipe).float()
        return _even(predicted + self.likeness * kernel, self.evenness)


def fit_audiences(people: People, met: Tensor, content: Content, weights: Tensor) -> Audiences:
    """Fit the regression.

    Args:
        people: who chose which of the items that were met.
        met: int64 [n], their rows in the catalogue.
        content: of all N items.
        weights: float [n, n], how much one item says for another by regression.
    """
    chosen = people.most_met(CHOICE_ITEMS)
    trial = _Trial(people.among(chosen))
    rows = met[chosen]
    measures = _measures(people.among(chosen), weights[chosen][:, chosen])
    units = [trial.spread(each) for each in measures]
    votes = _sum(measures, units)
    alike = content.compare(rows, rows)

    def scored(recipe: Recipe, ridge: float) -> tuple[float, Tensor]:
        inverse = ridge_inverse(alike.kernel(recipe), ridge)
        return trial.score(_left_out(votes, inverse)), inverse

    recipe, _ = _best(trial.choices(RECIPES), lambda each: scored(each, RIDGES[0]))
    ridge, inverse = _best(trial.choices(RIDGES), lambda each: scored(recipe, each))
    kernel, predicted = alike.kernel(recipe).float(), _left_out(votes, inverse)
    unit = _ratio(trial.spread(predicted), trial.spread(kernel))
    likeness = unit * max(
        trial.choices(LIKENESS), key=lambda each: trial.score(predicted + each * unit * kernel)
    )
    said = predicted + likeness * kernel
    evenness = max(trial.choices(EVENNESS), key=lambda each: trial.score(_even(said, each)))
    if len(chosen) < len(met):
        inverse = ridge_inverse(content.kernel(met, met, recipe), ridge)
        votes = _sum(_measures(people, weights), units)
    return Audiences(content, met, votes, recipe, inverse, likeness, evenness)


def _best(
    options: Sequence[Option], scored: Callable[[Option], tuple[float, Tensor]]
) -> tuple[Option, Tensor]:
    """The option of the highest score, the first of equals, and what scoring it made; all else is let go."""
    best, highest, made = options[0], *scored(options[0])
    for option in options[1:]:
        score, other = scored(option)
        if score > highest:
            best, highest, made = option, score, other
    return best, made


def audience_cosine(together: Tensor) -> Tensor:
    """How alike the audiences of items are, float32 [n, n], from how often two occur together."""
    norms = together.diagonal().sqrt()
    return (together / norms / norms.unsqueeze(1)).float()


def ridge_inverse(kernel: Tensor, ridge: float | Tensor) -> Tensor:
    """Inverse of a kernel, float64 [n, n], to whose diagonal a ridge, or float64 [n], was added."""
    kernel = kernel.clone()
    kernel.diagonal().add_(ridge)
    return torch.cholesky_inverse(torch.linalg.cholesky(kernel))


class _Trial:
    """People who are asked for items of one fold by what they chose of the others."""

    def __init__(self, people: People) -> None:
        """Draw the folds."""
        chose = people.chose.tocoo()
        fold = np.random.default_rng(0).integers(FOLDS, size=chose.shape[1])
        is_asked = chose.row % FOLDS == fold[chose.col]
        wanted, told = (
            np.bincount(chose.row[each], minlength=chose.shape[0]) for each in (is_asked, ~is_asked)
        )
        kept = np.flatnonzero((wanted > 0) & (told > 0))[:CHOICE_PEOPLE]
        chosen, asked = people.chose[kept].toarray() > 0, (kept % FOLDS)[:, None] == fold
        self._told = torch.from_numpy(chosen & ~asked).float().to(people.device)
        self._asked = torch.from_numpy(asked).to(people.device)
        self._targets = Ragged.of(np.flatnonzero(row) for row in chosen & asked)

    def choices(self, options: Sequence[Option]) -> Sequence[Option]:
        """What can be chosen from: without anybody to ask, the first alone."""
        return options if len(self._targets) else options[:1]

    def score(self, votes: Tensor) -> float:
        """Mean NDCG@10 of what items say, [n, n]."""
        if not len(self._targets):
            return 0.0
        scores = (self._told @ votes).masked_fill(~self._asked, -torch.inf).cpu().numpy()
        count = len(scores)
        nothing = Ragged.empty(count)
        queries = Queries(np.arange(count), nothing, np.full(count, -1), self._targets, nothing)
        ranked = rank_scores(scores, Section(queries, np.ones(scores.shape[1], dtype=bool)))
        return ranking_metrics(ranked, self._targets)["ndcg@10"]

    def spread(self, votes: Tensor) -> float:
        """How far histories move items apart by what items say, [n, n]."""
        return float((self._told @ votes).std()) if len(self._targets) else 0.0


def _measures(people: People, weights: Tensor) -> tuple[Tensor, ...]:
    """How alike audiences are, float32 [n, n] each: by cosine of all, of who chose little, by regression."""
    return (
        audience_cosine(people.together()),
        audience_cosine(people.together(share=1.0)),
        weights.float(),
    )


def _sum(measures: Sequence[Tensor], units: Sequence[float]) -> Tensor:
    """Their sum, each by its unit: how far it moves items apart, 0 where that is not known."""
    total = torch.zeros_like(measures[0])
    for measure, unit in zip(measures, units, strict=True):
        total += measure / (unit or 1.0)
    return total


def _left_out(values: Tensor, inverse: Tensor) -> Tensor:
    """What regression predicts of each column of [n, n] from all others, by its kernel's inverse."""
    return values - values @ inverse.float() / inverse.diagonal().float()


def _even(votes: Tensor, power: float) -> Tensor:
    """What is said for each item, columns of [n, k], made more alike in how far it varies."""
    return votes / votes.std(0).clamp_min(1e-9) ** power if power and len(votes) > 1 else votes


def _ratio(one: float, other: float) -> float:
    return one / other if other else 0.0
