"""Questions that are read once, and ranked as often as the balance of the model's parts is changed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from visrec_training.fusion_scorer import FusionScorer, Parts
from visrec_training.metrics import ranking_metrics
from visrec_training.queries import Section
from visrec_training.query_tower import Said
from visrec_training.retrieval import Read, barred, best_of, probabilities
from visrec_training.rows import Rows


class _Asked(NamedTuple):
    """Some queries of a section."""

    said: Said
    parts: Parts
    barred: Tensor
    """bool [B, N]: what is not ranked for them."""


class Rehearsal:
    """A section's questions, next to a catalogue."""

    def __init__(self, scorer: FusionScorer, section: Section, read: Sequence[Iterable[Read]]) -> None:
        """Compare them with all items, part by part.

        Args:
            scorer: holds the catalogue.
            section: at least one question.
            read: as the model has read the section, by `read_queries`: once for each of what is sent.
        """
        self._balance, self._section = scorer.tower.balance, section
        self._asked = [list(_compared(scorer, section, each)) for each in read]

    @torch.inference_mode()
    def ndcg(self) -> float:
        """Mean NDCG@10, over all that is sent."""
        return self._mean("ndcg@10", [[self._best(each) for each in asked] for asked in self._asked])

    @torch.inference_mode()
    def excess(self) -> float:
        """How much surer the model is of its first ten than it is right: their scores' sum less recall@10."""
        ranked = [[self._best(each) for each in asked] for asked in self._asked]
        sure = [
            torch.cat([self._sureness(*each) for each in zip(asked, best, strict=True)]).mean().item()
            for asked, best in zip(self._asked, ranked, strict=True)
        ]
        return float(np.mean(sure)) - self._mean("recall@10", ranked)

    def _sureness(self, asked: _Asked, best: Tensor) -> Tensor:
        return probabilities(self._logits(asked), best[:, :10]).sum(1)

    def _logits(self, asked: _Asked) -> Tensor:
        return asked.parts.weighed(self._balance(asked.said.told))

    def _best(self, asked: _Asked) -> Tensor:
        return best_of(self._logits(asked).masked_fill_(asked.barred, -torch.inf))

    def _mean(self, metric: str, ranked: Sequence[Sequence[Tensor]]) -> float:
        targets = self._section.queries.targets
        rows: list[Rows] = [torch.cat(list(each)).cpu().numpy() for each in ranked]
        return float(np.mean([ranking_metrics(each, targets)[metric] for each in rows]))


@torch.inference_mode()
def _compared(scorer: FusionScorer, section: Section, read: Iterable[Read]) -> Iterable[_Asked]:
    start = 0
    for each in read:
        parts = scorer.apart(each.said, each.history)
        yield _Asked(each.said, parts, barred(section, start, len(each.history), parts.content.device))
        start += len(each.history)
