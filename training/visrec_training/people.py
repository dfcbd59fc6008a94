"""Who chose which items, sparse: memory grows with what people did, not with people times items."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from scipy import sparse
from torch import Tensor

from visrec_training.query_tower import EVIDENCE
from visrec_training.rows import Ragged, Rows

TOLD, TOLD_NUMBERS = 2_000, 40_000_000  # people who tell how far histories move items apart, and their limit


@dataclass(frozen=True)
class People:
    """Some people, and which of n items each of them chose."""

    chose: sparse.csr_array
    """float64 [people, n]: 1 for each choice, or the root of what it counts where people are `weighed`."""
    device: torch.device
    """Where the dense answers go."""

    @classmethod
    def of(cls, sequences: Ragged, met: Tensor, items: int) -> Self:
        """Take what people chose of some items.

        Args:
            sequences: a person each, rows of the catalogue.
            met: int64 [n], the rows that count; on the device where the dense answers go.
            items: the catalogue's size.
        """
        who, what = choices(sequences, met, items)
        pairs = (np.ones(len(who)), (who, what))
        chose = sparse.coo_array(pairs, shape=(len(sequences), len(met))).tocsr()
        chose.data[:] = 1  # however often
        return cls(chose, met.device)

    def among(self, places: Tensor) -> Self:
        """The same people and k of the items, int64 [k]."""
        return type(self)(self.chose[:, places.cpu().numpy()], self.device)

    @property
    def sizes(self) -> npt.NDArray[np.float64]:
        """How many items each person chose, [people]."""
        return np.diff(self.chose.indptr).astype(np.float64)

    @property
    def counts(self) -> Tensor:
        """How many people chose each item, float64 [n]."""
        return torch.from_numpy(self.chose.sum(axis=0)).to(self.device)

    def together(self, share: float = 0.0) -> Tensor:
        """How often two items were chosen by one person, float64 [n, n].

        Args:
            share: by which power of how much they chose a person counts less.
        """
        weights = sparse.diags_array(self.sizes.clip(min=1) ** -share)
        return torch.from_numpy((self.chose.T @ weights @ self.chose).toarray()).to(self.device)

    def weighed(self, share: float) -> Self:
        """The same people, of whom those count less who chose much; all choices together count as they did.

        Args:
            share: by which power of how much they chose.
        """
        weights = self.sizes.clip(min=1) ** -share
        chosen = self.sizes.sum()
        scale = chosen / (weights @ self.sizes) if chosen else 1.0
        return type(self)((sparse.diags_array(np.sqrt(scale * weights)) @ self.chose).tocsr(), self.device)

    def shares(self, power: float) -> Tensor:
        """Who chose what, over the root of how much they chose and a power of who did: sparse [people, n].

        Args:
            power: of what all people's shares, squared, of an item sum up to.
        """
        shares = sparse.diags_array(self.sizes.clip(min=1) ** -0.5) @ self.chose
        audiences = shares.multiply(shares).sum(axis=0)
        shares = (shares @ sparse.diags_array(audiences**-power)).tocoo()
        place = torch.from_numpy(np.stack([shares.row, shares.col]).astype(np.int64))
        values = torch.from_numpy(shares.data)
        size = tuple(shares.shape)
        return torch.sparse_coo_tensor(place, values, size, check_invariants=True).coalesce().to(self.device)

    def told(self) -> Tensor:
        """What the first people tell of themselves, as a query tower reads it: float32 [at most TOLD, n]."""
        count = max(1, min(TOLD, TOLD_NUMBERS // self.chose.shape[1]))
        told = torch.from_numpy(self.chose[:count].toarray()).float().to(self.device)
        return told / told.sum(1, keepdim=True).clamp_min(1) ** EVIDENCE

    def most_met(self, most: int) -> Tensor:
        """The items that most people chose, in order: int64 [at most `most`]."""
        return self.counts.argsort(descending=True, stable=True)[:most].sort().values


def choices(sequences: Ragged, met: Tensor, items: int) -> tuple[Rows, Rows]:
    """Who chose which of n items, one sequence after the other: int64 [choices] each. As for `People.of`."""
    place = np.full(items, -1)
    place[met.cpu().numpy()] = np.arange(len(met))
    who, what = sequences.owners, place[sequences.values]
    return who[what >= 0], what[what >= 0]
