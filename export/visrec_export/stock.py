"""The items that a release ranks, and their vectors.

A release that was exported ranks what its checkpoint knows. One that a change of the catalogue made has its
items in `catalogue-N.npz`, which the next change starts from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch

from visrec_client.errors import UnknownItem
from visrec_export.errors import RepositoryError
from visrec_serving.releases import Release
from visrec_training.account import offenders
from visrec_training.checkpoint import Checkpoint
from visrec_training.errors import CheckpointError
from visrec_training.item_tower import Items


@dataclass(frozen=True, slots=True)
class Stock:
    """N items."""

    item_ids: tuple[str, ...]
    items: Items

    @classmethod
    def of(cls, release: Release, checkpoint: Checkpoint) -> Self:
        """What a release ranks.

        Args:
            release: is whole.
            checkpoint: the one that it was made from.

        Raises:
            CheckpointError: it was made from another.
        """
        if release.report["checkpoint"] != checkpoint.digest():
            raise CheckpointError(
                f"release {release.number} was not made from this checkpoint: give with --checkpoint the one"
                " that it was exported from"
            )
        if release.catalogue is None:
            return cls(checkpoint.item_ids, checkpoint.items)
        with np.load(release.catalogue, allow_pickle=False) as stored:
            items = Items(*(torch.from_numpy(stored[name]) for name in Items._fields))
            return cls(tuple(stored["item_ids"].tolist()), items)

    def save(self, path: Path) -> None:
        """Write it."""
        arrays = {name: tensor.numpy() for name, tensor in self.items._asdict().items()}
        np.savez(path, item_ids=np.asarray(self.item_ids, dtype=np.str_), **arrays)

    def extended(self, item_ids: Sequence[str], items: Items) -> Stock:
        """With new items at the end, which speak for no others until they are trained with."""
        width = self.items.votes.shape[1]
        empty = torch.zeros(len(item_ids), width)
        items = items._replace(neighbours=empty.int(), votes=empty)
        pairs = zip(self.items, items, strict=True)
        return Stock((*self.item_ids, *item_ids), Items(*(torch.cat(pair) for pair in pairs)))

    def without(self, item_ids: Sequence[str]) -> Stock:
        """Without some items.

        Raises:
            UnknownItem: one of them is not here.
            RepositoryError: none would be left.
        """
        gone = set(item_ids)
        if unknown := sorted(gone.difference(self.item_ids)):
            raise UnknownItem(f"{offenders('ids that no item has', unknown)}; nothing was changed")
        rows = [row for row, item_id in enumerate(self.item_ids) if item_id not in gone]
        if not rows:
            raise RepositoryError("these are all items of the catalogue: nothing would be left to recommend")
        kept = Items(*(tensor[rows] for tensor in self.items))
        row_now = torch.full((len(self.item_ids),), -1, dtype=torch.int32)
        row_now[rows] = torch.arange(len(rows), dtype=torch.int32)
        neighbours = row_now[kept.neighbours.long()]
        items = kept._replace(neighbours=neighbours.clamp_min(0), votes=kept.votes * (neighbours >= 0))
        return Stock(tuple(self.item_ids[row] for row in rows), items)
