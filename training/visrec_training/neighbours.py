"""Which items speak for which, and how much: what the low-rank places leave of item-to-item weights, sparse.

What is chosen together in a long tail has a high rank: a few main directions lose it, a few dozen neighbours
an item keep it. Where much is known of people it is the other way round. So both are kept: a low rank, and of
what it leaves the strongest entries, as in robust principal component analysis (Candès et al., JACM 2011).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

NEIGHBOURS = 50  # of an item among those that were met, and as many among new ones
Entries: TypeAlias = tuple[Tensor, Tensor, Tensor]
"""Who speaks, for whom, and how much: rows int64 [n] of the catalogue, twice, and votes float [n]."""


class Neighbours(NamedTuple):
    """For each of N items which others it speaks for."""

    neighbours: Tensor
    """int32 [N, m], rows of the catalogue."""
    votes: Tensor
    """float32 [N, m]; 0 fills up."""

    def said_by(self, chosen: Tensor | slice) -> Neighbours:
        """What some of the items say, int64 [k] or all."""
        return Neighbours(self.neighbours[chosen], self.votes[chosen])

    def louder(self, scale: float) -> Neighbours:
        """What is said times a scale."""
        return self._replace(votes=scale * self.votes)

    def where(self, speaks: Tensor) -> Neighbours:
        """What those who speak, bool [N], say; the others say nothing."""
        return self._replace(votes=self.votes * speaks.unsqueeze(1))

    def beside(self, others: Neighbours) -> Neighbours:
        """What the same N items say here and there."""
        both = (torch.cat(each, dim=1) for each in zip(self, others, strict=True))
        return Neighbours(*both)


def no_neighbours(items: int, device: torch.device) -> Neighbours:
    """The table where nobody did anything."""
    return Neighbours(
        torch.zeros(items, 0, dtype=torch.int32, device=device), torch.zeros(items, 0, device=device)
    )


def strongest(votes: Tensor) -> Tensor:
    """Columns of the `NEIGHBOURS` largest of each row, int64 [n, at most NEIGHBOURS]."""
    return votes.abs().topk(min(NEIGHBOURS, votes.shape[1]), dim=1).indices


def entries(votes: Tensor, speakers: Tensor, spoken: Tensor) -> Entries:
    """The strongest of each row of votes, [n, k], by rows of the catalogue.

    Args:
        votes: float [n, k].
        speakers: int64 [n].
        spoken: int64 [k], or [n, k] where each speaks for others.
    """
    kept = strongest(votes)
    said, by = votes.gather(1, kept), speakers.unsqueeze(1).expand_as(kept)
    of = spoken.expand(len(votes), -1).gather(1, kept)
    return by[said != 0], of[said != 0], said[said != 0]


def strongest_entries(speakers: Tensor, spoken: Tensor, votes: Tensor) -> Entries:
    """The `NEIGHBOURS` strongest entries of each who speaks, of any number of entries."""
    order = votes.abs().argsort(descending=True, stable=True)
    order = order[speakers[order].argsort(stable=True)]
    sizes = speakers.bincount()
    rank = torch.arange(len(order), device=order.device) - (sizes.cumsum(0) - sizes)[speakers[order]]
    kept = order[(rank < NEIGHBOURS) & (votes[order] != 0)]
    return speakers[kept], spoken[kept], votes[kept]


def table(parts: Iterable[Entries], count: int) -> Neighbours:
    """Lay out entries by who speaks; m is what the most talkative of `count` items needs."""
    speakers, spoken, votes = map(torch.cat, zip(*parts, strict=True))
    order = speakers.argsort(stable=True)
    speakers, spoken, votes = speakers[order], spoken[order], votes[order]
    sizes = speakers.bincount(minlength=count)
    slot = torch.arange(len(speakers), device=votes.device) - (sizes.cumsum(0) - sizes)[speakers]
    width = int(sizes.max())
    rows = torch.zeros(count, width, dtype=torch.int32, device=votes.device)
    filled = torch.zeros(count, width, device=votes.device)
    rows[speakers, slot], filled[speakers, slot] = spoken.int(), votes
    return Neighbours(rows, filled)
