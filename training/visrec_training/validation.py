"""What training is judged by, epoch after epoch."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from visrec_training.data import Catalogue
from visrec_training.examples import content_pairs, follows
from visrec_training.fusion_scorer import FusionScorer
from visrec_training.metrics import ranking_metrics
from visrec_training.retrieval import Modalities, rank_catalogue
from visrec_training.split import MIN_SEQUENCE, NOTHING, Queries, Section, Split

HISTORY, PICTURE = Modalities(history=True), Modalities(picture=True)
MOST = 1_000  # people that a fitted balance is chosen on
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

    def balance(self, scorer: FusionScorer, aspects: Tensor, maps: Tensor) -> tuple[float, float]:
        """Mean NDCG@10 over what is sent, and by how much the first ten are held likelier than they are.

        Of `MOST` people at most; arguments as for `score`.
        """
        section = self.section.first(MOST)
        rankings = [rank_catalogue(scorer, aspects, maps, section, sent) for sent in self.sent]
        metrics = [ranking_metrics(each.rows, section.queries.targets) for each in rankings]
        sure = np.mean([each.scores[:, :10].sum(axis=1).mean() for each in rankings])
        right = np.mean([each["recall@10"] for each in metrics])
        return float(np.mean([each["ndcg@10"] for each in metrics])), float(sure - right)

    def score(self, scorer: FusionScorer, aspects: Tensor, maps: Tensor) -> float | None:
        """Mean NDCG@10 over what is sent; None where there is nothing to ask.

        Args:
            scorer: holds the catalogue.
            aspects: float [N, M, d], of the catalogue's pictures.
            maps: float [N, M, 49].
        """
        queries = self.section.queries
        if not len(queries):
            return None
        rankings = [rank_catalogue(scorer, aspects, maps, self.section, sent) for sent in self.sent]
        return float(np.mean([ranking_metrics(each.rows, queries.targets)["ndcg@10"] for each in rankings]))


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
