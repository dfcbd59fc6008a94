"""What training is judged by, epoch after epoch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from visrec_training.data import Catalogue
from visrec_training.examples import content_pairs, follows
from visrec_training.fusion_scorer import FusionScorer
from visrec_training.interactions import Rows
from visrec_training.metrics import ranking_metrics
from visrec_training.queries import NOTHING, Queries, Section
from visrec_training.retrieval import Modalities, best_read, rank_read, read_queries
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


class Rehearsal:
    """A section's questions, read once and ranked as often as the balance of the model's parts is changed."""

    def __init__(
        self,
        scorer: FusionScorer,
        aspects: Tensor,
        maps: Tensor,
        section: Section,
        sent: Sequence[Modalities],
    ) -> None:
        """Read them, with each of what is sent.

        Args:
            scorer: holds the catalogue.
            aspects: float [N, M, d], of the catalogue's pictures.
            maps: float [N, M, 49].
            section: at least one question.
            sent: one or more.
        """
        self._scorer, self._section = scorer, section
        self._read = [list(read_queries(scorer, aspects, maps, section, each)) for each in sent]

    def ndcg(self) -> float:
        """Mean NDCG@10, over all that is sent."""
        rankings = [best_read(self._scorer, self._section, each) for each in self._read]
        return self._mean("ndcg@10", rankings)

    def excess(self) -> float:
        """How much surer the model is of its first ten than it is right: their scores' sum less recall@10."""
        rankings = [rank_read(self._scorer, self._section, each) for each in self._read]
        sure = np.mean([each.scores[:, :10].sum(axis=1).mean() for each in rankings])
        return float(sure) - self._mean("recall@10", [each.rows for each in rankings])

    def _mean(self, metric: str, rankings: Sequence[Rows]) -> float:
        targets = self._section.queries.targets
        return float(np.mean([ranking_metrics(rows, targets)[metric] for rows in rankings]))


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
    kept = [pair for pair in pairs if pair[0] != pair[1]]
    viewed, targets = np.asarray(kept, dtype=np.int64).reshape(-1, 2).T
    queries = Queries(
        np.arange(len(kept)), [NOTHING] * len(kept), viewed, list(targets[:, None]), list(viewed[:, None])
    )
    return Section(queries, np.ones(len(catalogue), dtype=bool))
