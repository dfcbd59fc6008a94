"""What people chose after what, where an order is known: items predicted from those that came before them.

Sequences are cut in two at several places, and what comes after a cut is predicted from what came before it,
by ridge regression (Choi et al., Session-aware Linear Item-Item Models for Session-based Recommendation, WWW
2021). It tells what comes next from what came first, which counts of items chosen together don't.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from visrec_training.people import choices
from visrec_training.rows import Ragged, Rows

CUTS, MOST_CUTS = 20, 500_000  # at most, of one sequence and of all
WINDOW = 50  # items before a cut that count, and as many after it
FADE = 0.2  # power by which items further before a cut count less


@dataclass(frozen=True)
class Transitions:
    """Cuts through people's sequences of n items."""

    before: sparse.csr_array
    """float32 [cuts, n]: how much each item before a cut counts."""
    after: sparse.csr_array
    """float32 [cuts, n]: how often each item comes after it."""
    cuts: float
    """How many a person has: the mean, at least 1."""
    device: torch.device
    """Where the dense answers go."""

    @classmethod
    def of(cls, sequences: Ragged, met: Tensor, items: int) -> Self:
        """Cut sequences.

        Args:
            sequences: a person each, rows of the catalogue, oldest first.
            met: int64 [n], the rows that count; on the device where the dense answers go.
            items: the catalogue's size.
        """
        who, what = choices(sequences, met, items)
        sizes = np.bincount(who, minlength=len(sequences))
        ends = sizes.cumsum()
        first, end, cut = _cuts((ends - sizes)[sizes > 1], ends[sizes > 1])
        earlier, cut_before = _windows(np.maximum(first, cut - WINDOW), cut)
        later, cut_after = _windows(cut, np.minimum(end, cut + WINDOW))
        fades = (cut[cut_before] - earlier).astype(np.float32) ** -FADE
        size = (len(cut), len(met))
        before = sparse.coo_array((fades, (cut_before, what[earlier])), shape=size).tocsr()
        once = np.ones(len(later), np.float32)
        after = sparse.coo_array((once, (cut_after, what[later])), shape=size).tocsr()
        return cls(before, after, max(1.0, len(cut) / len(sequences)), met.device)

    def among(self, places: Tensor) -> Self:
        """The same cuts and k of the items, int64 [k]."""
        chosen = places.cpu().numpy()
        return replace(self, before=self.before[:, chosen], after=self.after[:, chosen])

    def weights(self, ridge: float) -> Tensor:
        """How much each item says for those that come after it, float64 [n, n]; the diagonal is 0.

        Args:
            ridge: λ, in people.
        """
        gram, follow = (self._counts(each) for each in (self.before, self.after))
        gram.diagonal().add_(ridge * self.cuts)
        weights = torch.cholesky_solve(follow, torch.linalg.cholesky(gram))
        weights.diagonal().zero_()
        return weights

    def _counts(self, met: sparse.csr_array) -> Tensor:
        """What comes before a cut with what of `met`, float64 [n, n]."""
        return torch.from_numpy((self.before.T @ met).toarray()).double().to(self.device)


def _cuts(starts: Rows, ends: Rows) -> tuple[Rows, Rows, Rows]:
    """Where sequences of two or more items begin, end and are cut, int64 [cuts] each."""
    sizes = ends - starts
    most = max(1, min(CUTS, MOST_CUTS // max(1, len(sizes))))
    counts = np.minimum(sizes - 1, most)
    first, end = starts.repeat(counts), ends.repeat(counts)
    place = np.arange(counts.sum()) - (counts.cumsum() - counts).repeat(counts)
    return first, end, first + 1 + place * (end - first - 1) // counts.repeat(counts)


def _windows(first: Rows, end: Rows) -> tuple[Rows, Rows]:
    """All places from each `first` to before its `end`, and of which window each is, int64."""
    sizes = end - first
    window = np.repeat(np.arange(len(sizes)), sizes)
    return np.arange(sizes.sum()) - (sizes.cumsum() - sizes - first)[window], window
