"""Questions that are read once, and ranked as often as the balance of the model's parts is changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import reduce
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor

from visrec_training.fusion_scorer import FusionScorer, Parts
from visrec_training.metrics import Values, query_metrics
from visrec_training.queries import Section
from visrec_training.retrieval import Read, barred, best_of, probabilities
from visrec_training.rows import Ragged, Rows

JOINED = 1 << 22
"""Logits of questions that are ranked at once: of fewer, most of the time would go into calls."""
Asked: TypeAlias = tuple[Section, Sequence[Iterable[Read]]]
"""A section with at least one question, as the model has read it, by `read_queries`: once for each of what is
sent."""


class _Batch(NamedTuple):
    """Some of the questions."""

    told: Tensor
    """float [B, 5], of `Balance`."""
    parts: Parts
    barred: Tensor
    """bool [B, N]: what is not ranked for them."""


class Rehearsal:
    """The questions of some sections, next to a catalogue."""

    def __init__(self, scorer: FusionScorer, is_new: Tensor, asked: Sequence[Asked]) -> None:
        """Compare them with all items, part by part.

        Args:
            scorer: holds the catalogue.
            is_new: bool [N], which of its items are placed as ones that nobody met.
            asked: the sections.
        """
        self._balance = scorer.tower.balance
        self._batches = list(_joined(_compared(scorer, is_new, asked)))
        self._targets = reduce(
            Ragged.then, (section.queries.targets for section, read in asked for _ in read)
        )
        self._ends = np.cumsum([len(section.queries) * len(read) for section, read in asked])[:-1]

    @torch.inference_mode()
    def ndcg(self) -> list[float]:
        """Mean NDCG@10 of each section, over all that is sent."""
        if (self._targets.sizes == 1).all():
            reached = self._counted()
        else:
            best = (best_of(self._ranked(batch)) for batch in self._batches)
            reached = query_metrics(_rows(best), self._targets)["ndcg@10"]
        return [float(each.mean()) for each in np.split(reached, self._ends)]

    @torch.inference_mode()
    def excess(self) -> float:
        """How much surer the model is of its first ten than it is right: their scores' sum less recall@10."""
        best, sure = [], []
        for batch in self._batches:
            logits = self._logits(batch)
            best.append(best_of(logits.masked_fill(batch.barred, -torch.inf)))
            sure.append(probabilities(logits, best[-1][:, :10]).sum(1))
        recall = query_metrics(_rows(best), self._targets)["recall@10"]
        return float(torch.cat(sure).mean()) - float(recall.mean())

    def _counted(self) -> Values:
        """NDCG@10 of each question, where each has one right answer, ranked behind all that score the same.

        To count what scores no less takes a sixth of the time of sorting.
        """
        right, ranks = torch.from_numpy(self._targets.values).split([len(b.told) for b in self._batches]), []
        for batch, wanted in zip(self._batches, right, strict=True):
            logits = self._ranked(batch)
            score = logits.gather(1, wanted.to(logits.device).unsqueeze(1))
            ranks.append(logits.ge_(score).sum(1).where(score.isfinite().squeeze(1), torch.inf))
        rank = torch.cat(ranks).double().cpu().numpy()
        return np.where(rank <= 10, 1 / np.log2(1 + rank), 0.0)

    def _logits(self, batch: _Batch) -> Tensor:
        return batch.parts.weighed(self._balance(batch.told))

    def _ranked(self, batch: _Batch) -> Tensor:
        return self._logits(batch).masked_fill_(batch.barred, -torch.inf)


@torch.inference_mode()
def _compared(scorer: FusionScorer, is_new: Tensor, asked: Sequence[Asked]) -> Iterator[_Batch]:
    for section, sent in asked:
        for read in sent:
            start = 0
            for each in read:
                parts = scorer.apart(each.said, each.history, is_new)
                count = len(each.history)
                yield _Batch(each.said.told, parts, barred(section, start, count, parts.content.device))
                start += count


@torch.inference_mode()
def _joined(batches: Iterable[_Batch]) -> Iterator[_Batch]:
    """The same questions, small batches together."""
    held: list[_Batch] = []
    for batch in batches:
        if sum(each.barred.numel() for each in (*held, batch)) > JOINED and held:
            yield _join(held)
            held = []
        held.append(batch)
    if held:
        yield _join(held)


def _join(batches: Sequence[_Batch]) -> _Batch:
    if len(batches) == 1:
        return batches[0]
    told, parts, never = zip(*batches, strict=True)
    return _Batch(torch.cat(told), Parts.join(parts), torch.cat(never))


def _rows(best: Iterable[Tensor]) -> Rows:
    rows: Rows = torch.cat(list(best)).cpu().numpy()
    return rows
