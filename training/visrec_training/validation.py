"""What training is judged by, epoch after epoch."""

from __future__ import annotations

import numpy as np

from visrec_training.data import Catalogue
from visrec_training.examples import content_pairs, follows
from visrec_training.queries import Queries, Section
from visrec_training.retrieval import Modalities
from visrec_training.rows import Ragged
from visrec_training.split import MIN_SEQUENCE, Split

HISTORY, PICTURE = Modalities(history=True), Modalities(picture=True)
BOTH = Modalities(picture=True, history=True)


class Validation:
    """Questions that training doesn't learn from, and what is sent with them."""

    def __init__(self, split: Split, catalogue: Catalogue, seed: int) -> None:
        """Take the split's validation queries; without behaviour, each picture asks for its category."""
        if len(split.valid) or follows(split.train):
            self.section = split.validation
            self.sent = (HISTORY,) if split.is_fixed else (HISTORY, PICTURE, BOTH)
            reason = nothing_held_out(split, "valid")
        else:
            self.section, self.sent = _same_category(split, catalogue, seed), (PICTURE,)
            reason = "no two items that are learned from share a category"
        self.lacking = None if len(self.section.queries) else reason
        """Why there is nothing to ask; None where there is something."""

    @property
    def asks_people(self) -> bool:
        """Whether histories are sent, by people whose answers are known."""
        return self.lacking is None and HISTORY in self.sent


def nothing_held_out(split: Split, part: str) -> str:
    """Why there are no queries of people in a part of the split, `valid` or `test`."""
    if split.is_fixed:
        return (
            f"nobody liked, in an interaction whose split is {part}, an item that was new to them and that"
            " somebody liked in train"
        )
    return f"nobody liked {MIN_SEQUENCE} or more of the items that are not held out"


def _same_category(split: Split, catalogue: Catalogue, seed: int) -> Section:
    pairs = content_pairs(catalogue, split.warm_items, seed, each=1)
    viewed, targets = pairs[pairs[:, 0] != pairs[:, 1]].T
    asked = np.arange(len(viewed))
    nothing, wanted, seen = Ragged.empty(len(viewed)), Ragged.single(targets), Ragged.single(viewed)
    queries = Queries(asked, nothing, viewed, wanted, seen)
    return Section(queries, np.ones(len(catalogue), dtype=bool))
