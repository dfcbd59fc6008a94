"""A catalogue of any size, made from a trained one: for measuring time and memory, never quality."""

from __future__ import annotations

import dataclasses

import torch
import torch.nn.functional as F
from torch import Tensor

from visrec_training.checkpoint import Checkpoint
from visrec_training.item_tower import Items

SPREAD = 0.5
"""Of the real items' standard deviation: how far a simulated item lies from the real one it is made from."""
# what a model holds an item; a catalogue that is served has it in its vectors
_BY_ITEM = ("item_tower.id.weight", "item_tower.id_places.weight")


def simulated_id(row: int) -> str:
    """The id of a simulated item."""
    return f"sim-{row:07d}"


def simulate(checkpoint: Checkpoint, items: int, seed: int) -> Checkpoint:
    """Put a simulated catalogue in the place of a checkpoint's own.

    Each item is a real one, drawn at random, with noise on its vectors, so that scores are spread as they are
    over the real ones.

    Args:
        checkpoint: a trained model with its catalogue.
        items: how many to make.
        seed: decides which, and the noise.
    """
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(len(checkpoint.item_ids), (items,), generator=generator)

    def near(values: Tensor) -> Tensor:
        return values[drawn] + SPREAD * values.std(0) * torch.randn(
            items, values.shape[1], generator=generator
        )

    votes = checkpoint.items.votes
    vectors, dim = near(checkpoint.items.vectors), checkpoint.model_config.dim
    vectors[:, :dim] = F.normalize(vectors[:, :dim], dim=-1)
    return dataclasses.replace(
        checkpoint,
        item_ids=tuple(map(simulated_id, range(items))),
        items=Items(
            vectors,
            near(checkpoint.items.sources),
            near(checkpoint.items.texts),
            torch.randint(items, (items, votes.shape[1]), generator=generator, dtype=torch.int32),
            votes[drawn],
        ),
        state=checkpoint.state | {name: checkpoint.state[name][drawn] for name in _BY_ITEM},
    )
