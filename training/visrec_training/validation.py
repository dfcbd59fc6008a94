"""What training is judged by, epoch after epoch."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from visrec_training.data import Catalogue
from visrec_training.examples import sequences_without_behaviour
from visrec_training.fusion_scorer import FusionScorer
from visrec_training.metrics import ranking_metrics
from visrec_training.retrieval import Modalities, rank_catalogue
from visrec_training.split import NOTHING, Queries, Section, Split

HISTORY, PICTURE = Modalities(history=True), Modalities(picture=True)
BOTH = Modalities(picture=True, history=True)


class Validation:
    """Questions that training doesn't learn from, and what is sent with them."""

    def __init__(self, split: Split, catalogue: Catalogue, *, has_behaviour: bool, seed: int) -> None:
        """Take the split's validation queries; without behaviour, each picture asks for its category."""
        if has_behaviour:
            self.section = split.validation
            self.sent = (HISTORY,) if split.is_fixed else (HISTORY, PICTURE, BOTH)
        else:
            self.section, self.sent = _same_category(catalogue, seed), (PICTURE,)

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
        no_words = np.zeros((len(queries), 1), dtype=np.int64)
        rankings = [rank_catalogue(scorer, aspects, maps, self.section, sent, no_words) for sent in self.sent]
        return float(np.mean([ranking_metrics(each.rows, queries.targets)["ndcg@10"] for each in rankings]))


def _same_category(catalogue: Catalogue, seed: int) -> Section:
    pairs = sequences_without_behaviour(catalogue, seed, each=1)
    kept = [pair for pair in pairs if pair[0] != pair[1]]
    viewed, targets = np.asarray(kept, dtype=np.int64).reshape(-1, 2).T
    queries = Queries(
        np.arange(len(kept)), [NOTHING] * len(kept), viewed, list(targets[:, None]), list(viewed[:, None])
    )
    return Section(queries, np.ones(len(catalogue), dtype=bool))
