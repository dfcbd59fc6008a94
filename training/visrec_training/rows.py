"""Rows of a catalogue, and lists of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self, overload

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int64]
"""Positions in a catalogue, or of users; they mean nothing outside a run."""
Flags = npt.NDArray[np.bool_]
NOTHING: Rows = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Ragged(Sequence[Rows]):
    """n lists of any length in one array: an object for each would take more memory than its rows."""

    values: Rows
    """int64 [total]: the lists, one after another."""
    sizes: Rows
    """int64 [n]: how long each is."""
    starts: Rows
    """int64 [n]: where each starts."""

    @classmethod
    def by_size(cls, values: Rows, sizes: Rows) -> Self:
        """Lists that lie in one array, one after another."""
        return cls(values, sizes, sizes.cumsum() - sizes)

    @classmethod
    def of(cls, lists: Iterable[npt.ArrayLike]) -> Self:
        """Put lists of whole numbers together."""
        kept = [np.asarray(each, dtype=np.int64) for each in lists]
        sizes = np.asarray([len(each) for each in kept], dtype=np.int64)
        return cls.by_size(np.concatenate([NOTHING, *kept]), sizes)

    @classmethod
    def empty(cls, count: int) -> Self:
        """So many lists of nothing."""
        return cls.by_size(NOTHING, np.zeros(count, dtype=np.int64))

    @classmethod
    def single(cls, values: Rows) -> Self:
        """A list of one for each value."""
        return cls.by_size(values, np.ones_like(values))

    def __len__(self) -> int:
        return len(self.sizes)

    @overload
    def __getitem__(self, place: int) -> Rows: ...
    @overload
    def __getitem__(self, place: slice) -> Ragged: ...
    def __getitem__(self, place: int | slice) -> Rows | Ragged:
        """One list, a view; or some of them."""
        if isinstance(place, slice):
            return self.part(np.arange(len(self))[place])
        start = self.starts[place]  # raises IndexError at the end, as iteration needs
        return self.values[start : start + self.sizes[place]]

    @property
    def owners(self) -> Rows:
        """Which list each value stands in, int64 [total]."""
        return np.arange(len(self)).repeat(self.sizes)

    def part(self, chosen: Rows) -> Ragged:
        """Some of the lists, int64 [k]."""
        return self._windows(self.starts[chosen], self.sizes[chosen])

    def first(self, sizes: Rows) -> Ragged:
        """The first `sizes` of each list, int64 [n], which it has."""
        return self._windows(self.starts, sizes)

    def last(self, most: int) -> Ragged:
        """The last `most` of each list."""
        sizes = self.sizes.clip(max=most)
        return self._windows(self.starts + self.sizes - sizes, sizes)

    def where(self, kept: Flags) -> Ragged:
        """The lists with some of their values alone, bool [total]."""
        sizes = np.bincount(self.owners[kept], minlength=len(self))
        return Ragged.by_size(self.values[kept], sizes)

    def replaced(self, values: Rows) -> Ragged:
        """Lists of the same sizes with other values, int64 [total]."""
        return Ragged(values, self.sizes, self.starts)

    def appended(self, values: Rows, chosen: Flags) -> Ragged:
        """The lists, of which the chosen ones, bool [n], have one value more, of int64 [n]."""
        ends = (self.starts + self.sizes)[chosen]
        return Ragged.by_size(np.insert(self.values, ends, values[chosen]), self.sizes + chosen)

    def then(self, others: Ragged) -> Ragged:
        """These lists and then others."""
        return Ragged.by_size(
            np.concatenate([self.values, others.values]), np.concatenate([self.sizes, others.sizes])
        )

    def _windows(self, starts: Rows, sizes: Rows) -> Ragged:
        made = sizes.cumsum() - sizes
        places = np.arange(sizes.sum()) + (starts - made).repeat(sizes)
        return Ragged(self.values[places], sizes, made)
