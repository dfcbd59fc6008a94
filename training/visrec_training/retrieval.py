"""Asking a model the queries of a split, with some of the modalities, and ranking the whole catalogue."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from visrec_training.data import Rows
from visrec_training.examples import pad_histories
from visrec_training.fusion_scorer import FusionScorer
from visrec_training.split import Queries

DEPTH, BATCH = 20, 512


@dataclass(frozen=True, slots=True)
class Modalities:
    """What a query sends."""

    picture: bool = False
    history: bool = False
    words: bool = False
    viewed_in_history: bool = False
    """The viewed item joins the history, as it does for a caller who sends no picture."""

    def __str__(self) -> str:
        history = "history with the viewed item" if self.viewed_in_history else "history"
        named = (("picture", self.picture), (history, self.history), ("words", self.words))
        return " + ".join(name for name, sent in named if sent) or "nothing"


@torch.inference_mode()
def rank_catalogue(
    scorer: FusionScorer,
    aspects: Tensor,
    maps: Tensor,
    queries: Queries,
    modalities: Modalities,
    tokens: Rows,
) -> Rows:
    """The best 20 items for each query, without the viewed item and the history: int64 [n, 20].

    Args:
        scorer: holds the catalogue.
        aspects: float [N, M, d], of the catalogue's pictures.
        maps: float [N, M, 49].
        queries: n of them.
        modalities: what is sent.
        tokens: int64 [n, T], the words; used only if `modalities.words`.
    """
    ranked = []
    device = scorer.item_vectors.device
    for start in range(0, len(queries), BATCH):
        chosen = slice(start, start + BATCH)
        viewed = queries.viewed[chosen]
        histories = queries.histories[chosen]
        seen = [np.append(history, item) for history, item in zip(histories, viewed, strict=True)]
        sent = seen if modalities.viewed_in_history else histories
        history = pad_histories(sent, scorer.tower.history.recency.shape[1])
        pictures = torch.from_numpy(viewed).to(device)
        logits, _ = scorer.logits(
            aspects[pictures] * modalities.picture,
            maps[pictures] * modalities.picture,
            torch.from_numpy(history if modalities.history else np.full_like(history, -1)).to(device),
            torch.from_numpy(tokens[chosen] * modalities.words).to(device),
        )
        logits = logits[:, : scorer.items]
        for row, items in enumerate(seen):
            logits[row, torch.from_numpy(items).to(device)] = -torch.inf
        ranked.append(logits.topk(min(DEPTH, scorer.items), dim=-1).indices.cpu().numpy())
    return np.concatenate(ranked) if ranked else np.zeros((0, DEPTH), dtype=np.int64)
