"""What training minimises: cross-entropy of the softmax over the items that training may see.

Over all of them where they fit a step. Beyond, over the right answers of a batch and items drawn at random,
with each item's part of the sum divided by its chance to take part (logQ correction; Bengio & Senécal, IEEE
TNN 19:4, 2008; with in-batch items as in Yang et al., Mixed Negative Sampling, WWW 2020).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from visrec_training.config import TrainConfig
from visrec_training.examples import Batch
from visrec_training.live_items import LiveItems
from visrec_training.lookup import find
from visrec_training.model import Model

DRAWN = 2_048  # items drawn for a step


class Scored(NamedTuple):
    """Logits of a batch for some items."""

    logits: Tensor
    """float [B, k]."""
    rows: Tensor
    """int64 [k], of the catalogue, ascending."""
    log_chance: Tensor
    """float [k], of each to take part."""


class Objective:
    """The loss of a batch, by one model and its items as they are now."""

    def __init__(
        self,
        model: Model,
        live: LiveItems,
        config: TrainConfig,
        chosen: Tensor,
        *,
        masks_told: bool,
        drawn: int = DRAWN,
    ) -> None:
        """Take what is needed.

        Args:
            model: what learns.
            live: its items.
            config: how.
            chosen: float [N], how often each item is a right answer; negative where it is masked from the
                softmax.
            masks_told: whether what is told of a person is no wrong answer.
            drawn: items, where not all fit a step.
        """
        self._model, self._live, self._config = model, live, config
        self._masks_told, self._drawn = masks_told, drawn
        self.negatives = chosen >= 0
        """bool [N]: items that are not masked from the softmax."""
        self._rows = self.negatives.nonzero().flatten()
        self.is_sampled = len(chosen) > config.dense_items
        share = chosen.clamp_min(0) / chosen.clamp_min(0).sum().clamp_min(1)
        left_out = config.batch * torch.log1p(-share.double()) + drawn * math.log1p(
            -1 / max(2, len(self._rows))
        )
        self._log_chance = (-left_out.expm1()).log().float()

    def loss(self, batch: Batch) -> Tensor:
        """Cross-entropy of softmax(query · items / τ).

        Without the table of neighbours: it was fitted to these very examples, so it would leave nothing to
        learn from them. How much it counts is chosen on validation, after each epoch.
        """
        scored = self._sampled(batch) if self.is_sampled else self._full(batch)
        logits = scored.logits
        if self._masks_told:
            told = torch.cat([batch.history, batch.pictures.unsqueeze(1)], dim=1)
            place, is_there = find(scored.rows, told)
            known = torch.zeros_like(logits).scatter_add(1, place, is_there.float())
            logits = logits.masked_fill(known > 0, -1e9)
        place, is_target = find(scored.rows, batch.targets)
        likely = logits.gather(1, place) - (logits - scored.log_chance).logsumexp(1, keepdim=True)
        return -((likely * is_target).sum(1) / is_target.sum(1)).mean()

    def _full(self, batch: Batch) -> Scored:
        """Logits of all items, made anew."""
        model, live = self._model, self._live
        with self._half_precision():
            aspects, maps = live.attend()
            items = live.made(aspects, live.has_id & self._kept())
            has_picture = (batch.pictures >= 0).view(-1, 1, 1)
            aspects, maps = (each[batch.pictures.clamp_min(0)] * has_picture for each in (aspects, maps))
            told = model.query_tower.history.look_up(items.vectors, items.sources, batch.history)
            query, _, _ = model.query_tower(aspects, maps, told, batch.tokens)
        # outside autocast: half precision can't tell the best items apart
        logits = query.float() @ items.vectors.float().T
        every = torch.arange(logits.shape[1], device=logits.device)
        return Scored(logits.masked_fill(~self.negatives, -1e9), every, torch.zeros_like(logits[0]))

    def _sampled(self, batch: Batch) -> Scored:
        """Logits of the right answers and of items drawn at random; what histories hold is not made anew."""
        live, tower, device = self._live, self._model.query_tower, batch.targets.device
        drawn = self._rows[torch.randint(len(self._rows), (self._drawn,), device=device)]
        rows = torch.cat([batch.targets[batch.targets >= 0], drawn]).unique()
        with self._half_precision():
            seen = batch.pictures.clamp_min(0).unique()
            pictures, _ = find(seen, batch.pictures.clamp_min(0))
            has_picture = (batch.pictures >= 0).view(-1, 1, 1)
            aspects, maps = (each[pictures] * has_picture for each in live.attend_to(seen))
            made = live.made_of(rows, (live.has_id & self._kept())[rows])
            read = torch.cat([rows, batch.history[batch.history >= 0]]).unique()
            known = live.placed(read)
            vectors = known.vectors.index_copy(0, torch.searchsorted(read, rows), made.vectors)
            place, is_there = find(read, batch.history)
            history = place.masked_fill(~is_there, -1)
            told = tower.history.look_up(vectors, known.sources, history)
            query, _, _ = tower(aspects, maps, told, batch.tokens)
        return Scored(query.float() @ made.vectors.float().T, rows, self._log_chance[rows])

    def _kept(self) -> Tensor:
        """Which items keep their ids in this step."""
        has_id = self._live.has_id
        return torch.rand(len(has_id), device=has_id.device) >= self._config.id_dropout

    def _half_precision(self) -> torch.autocast:
        kind = self._live.has_id.device.type
        return torch.autocast(kind, torch.bfloat16, enabled=kind == "cuda")
