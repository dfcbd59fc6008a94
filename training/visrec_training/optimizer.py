"""How fast each part of the model learns, from the first step to the last."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from visrec_training.config import TrainConfig
from visrec_training.model import Model


class Optimizer:
    """AdamW, whose learning rates follow a schedule: a warm-up, then a cosine to 0.

    Where a step touches a few items alone, their ids are trained by Adam on sparse gradients, whose work does
    not grow with the catalogue.
    """

    def __init__(
        self,
        model: Model,
        finetuned: list[nn.Parameter],
        config: TrainConfig,
        steps: int,
        *,
        sparse_ids: bool,
    ) -> None:
        """Make it.

        Args:
            model: what is trained.
            finetuned: those of its parameters that are the backbone's.
            config: says how fast.
            steps: how many there are in all.
            sparse_ids: whether gradients of ids are sparse.
        """
        # logarithms, which have far to go
        balance = [*model.query_tower.balance.parameters(), model.item_tower.unmet]
        ids = [model.item_tower.id.weight] if sparse_ids else []
        apart = {id(parameter) for parameter in (*finetuned, *balance, *ids)}
        trained = [p for p in model.parameters() if p.requires_grad and id(p) not in apart]
        groups: list[dict[str, Any]] = [
            {"params": trained, "lr": config.learning_rate},
            {"params": balance, "lr": 5 * config.learning_rate},
        ]
        if finetuned:  # pretrained weights are moved gently
            groups.append({"params": finetuned, "lr": config.learning_rate / 20})
        self._optimizers: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(groups, weight_decay=config.weight_decay)
        ]
        if ids:
            self._optimizers.append(torch.optim.SparseAdam(ids, lr=config.learning_rate))
        warmup = max(1, round(config.warmup * steps))

        def factor(step: int) -> float:
            if step < warmup:
                return (step + 1) / warmup
            return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))

        self._schedules = [torch.optim.lr_scheduler.LambdaLR(each, factor) for each in self._optimizers]

    def step(self) -> None:
        """Move by the gradients, and forget them."""
        for optimizer, schedule in zip(self._optimizers, self._schedules, strict=True):
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()

    def state_dict(self) -> dict[str, Any]:
        """What a training that goes on needs."""
        return {
            "optimizers": [each.state_dict() for each in self._optimizers],
            "schedules": [each.state_dict() for each in self._schedules],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        for optimizer, own in zip(self._optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(own)
        for schedule, own in zip(self._schedules, state["schedules"], strict=True):
            schedule.load_state_dict(own)
