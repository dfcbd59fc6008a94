"""The baseline that knows most: a blend of EASE and a centroid of content."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from itertools import product

import numpy as np

from visrec_training.baselines import (
    CHOICE_PEOPLE,
    ItemToItem,
    Matrix,
    best,
    liked_together,
    popularity_of,
)
from visrec_training.centroids import Centroid
from visrec_training.queries import Queries
from visrec_training.rows import Flags
from visrec_training.split import Split

WEIGHTS = (0.3, 0.03, 0.1, 1.0, 3.0, 10.0)
"""Of content in a blend, next to 1 for EASE, for known items; the first where nothing can be validated."""
NEW_WEIGHTS = (1.0, 0.3, 2.0, 3.0, 5.0, 10.0)
"""The same for new items, of which EASE says nothing."""
NEW_SHARE = 0.1  # of the known items, taken for new where something is chosen for new items


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
        is_new = _newcomers(split)
        earlier = dataclasses.replace(split, train=split.train.where(~is_new[split.train.values]))
        (mixed,) = split.validation_with_new(is_new)
        section = mixed.first(CHOICE_PEOPLE)
        by_people = _scaled(ItemToItem.ease(liked_together(earlier), ridge).scores(section.queries))
        by_content = _scaled(content.scores(section.queries))
        options = list(product(WEIGHTS, NEW_WEIGHTS))
        chosen = best(options, lambda each: by_people + _weights(earlier, *each) * by_content, section)
        return cls(ItemToItem.ease(liked_together(split), ridge), content, _weights(split, *chosen))

    def scores(self, queries: Queries) -> Matrix:
        """As `Baseline`."""
        by_content = _scaled(self.content.scores(queries))
        return _scaled(self.people.scores(queries)) + self.weights * by_content


def _newcomers(split: Split) -> Flags:
    """A tenth of the known items, bool [N]."""
    known = np.flatnonzero(split.candidates)
    is_new = np.zeros_like(split.candidates)
    is_new[np.random.default_rng(0).choice(known, size=round(NEW_SHARE * len(known)), replace=False)] = True
    return is_new


def _weights(split: Split, known: float, new: float) -> Matrix:
    """Float32 [N]: one weight for items that somebody liked in training, and another for all others."""
    return np.where(popularity_of(split) > 0, known, new).astype(np.float32)


def _scaled(scores: Matrix) -> Matrix:
    """Scores in units of their deviation over items, query by query: what is added up should weigh alike."""
    return scores / scores.std(axis=1, keepdims=True).clip(min=1e-9)
