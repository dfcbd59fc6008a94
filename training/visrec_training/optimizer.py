"""How fast each part of the model learns, from the first step to the last."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from visrec_training.config import TrainConfig
from visrec_training.model import Model


def make_optimizer(
    model: Model, finetuned: list[nn.Parameter], config: TrainConfig, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """Make the optimizer, and the schedule that its learning rates follow: a warm-up, then a cosine to 0.

    Args:
        model: what is trained.
        finetuned: those of its parameters that are the backbone's.
        config: says how fast.
        steps: how many there are in all.
    """
    backbone = {id(parameter) for parameter in finetuned}
    trained = [p for p in model.parameters() if p.requires_grad and id(p) not in backbone]
    # logarithms, which have far to go
    balance = [*model.query_tower.balance.parameters(), model.item_tower.unmet]
    far = {id(parameter) for parameter in balance}
    groups: list[dict[str, Any]] = [
        {"params": [p for p in trained if id(p) not in far], "lr": config.learning_rate},
        {"params": balance, "lr": 5 * config.learning_rate},
    ]
    if finetuned:  # pretrained weights are moved gently
        groups.append({"params": finetuned, "lr": config.learning_rate / 20})
    optimizer = torch.optim.AdamW(groups, weight_decay=config.weight_decay)
    warmup = max(1, round(config.warmup * steps))

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))

    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
