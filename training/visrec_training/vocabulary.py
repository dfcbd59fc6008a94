"""The words a model knows: hashes of tokens, as the text graph makes them, and their rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from visrec_training.rows import NOTHING, Ragged, Rows

UNKNOWN = 0
"""Row of padding and of tokens that no training item has; it counts for nothing."""
BLOCK = 1 << 16  # items at a time


@dataclass(frozen=True, slots=True)
class ItemTokens:
    """The tokens of n items, each of which has equally many texts, such as title and category."""

    hashes: Ragged
    """A list for each text, whole words before their pieces; the texts of an item one after another."""
    texts: int
    """How many an item has."""

    def __len__(self) -> int:
        return len(self.hashes) // self.texts

    @property
    def owners(self) -> Rows:
        """Which item each token stands in, int64 [total]."""
        return self.hashes.owners // self.texts

    def take(self, items: Rows) -> ItemTokens:
        """Those of some items, int64 [k]."""
        lists = items[:, None] * self.texts + np.arange(self.texts)
        return ItemTokens(self.hashes.part(lists.ravel()), self.texts)

    def blocks(self) -> Iterator[ItemTokens]:
        """All of them, `BLOCK` items at a time."""
        for start in range(0, len(self), BLOCK):
            yield self.take(np.arange(start, min(start + BLOCK, len(self))))


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Token hashes, sorted; the token at position p has row p + 1."""

    hashes: Rows
    """int64 [V]."""
    rarity: npt.NDArray[np.float32]
    """float32 [V + 1]: log(items / items with the token), so that rare words weigh more; 0 for row 0."""

    @classmethod
    def learn(cls, items: ItemTokens) -> Self:
        """Collect the tokens of items."""
        hashes = np.unique(items.hashes.values)
        counts = np.zeros(len(hashes), dtype=np.int64)
        for some in items.blocks():
            rows = np.searchsorted(hashes, some.hashes.values)
            once = np.unique(some.owners * len(hashes) + rows) % max(len(hashes), 1)
            counts += np.bincount(once, minlength=len(hashes))
        shares = counts / max(len(items), 1)
        rarity = np.concatenate([[0.0], np.log(1 / shares).clip(min=0.1)])
        return cls(hashes, rarity.astype(np.float32))

    def rows(self, hashes: Rows) -> Rows:
        """Rows of tokens, int64 of any shape; `UNKNOWN` where a token is not known, and for padding."""
        if not len(self.hashes):
            return np.zeros_like(hashes)
        position = np.searchsorted(self.hashes, hashes).clip(max=len(self.hashes) - 1)
        return np.where(self.hashes[position] == hashes, position + 1, UNKNOWN)

    def encode(self, items: ItemTokens, length: int) -> tuple[npt.NDArray[np.int32], int]:
        """Rows of the tokens of items.

        Each text of an item gives a token in turn, whole words before their pieces, so that a long one does
        not displace the others.

        Args:
            items: n of them.
            length: the most tokens of an item.

        Returns:
            int32 [n, longest, at most length], the known tokens first, then `UNKNOWN`; and how many items
            have more tokens than that.
        """
        found = [self._in_turn(some) for some in items.blocks()]
        sizes = np.concatenate([NOTHING, *(each.sizes for each in found)])
        longest = max(1, min(length, sizes.max(initial=0)))
        encoded = np.full((len(items), longest), UNKNOWN, dtype=np.int32)
        shown = [each.first(each.sizes.clip(max=longest)).values for each in found]
        encoded[np.arange(longest) < sizes[:, None]] = np.concatenate([NOTHING, *shown])
        return encoded, int((sizes > length).sum())

    def known(self, hashes: Rows) -> list[int]:
        """Rows of those tokens, int64 [n], that are known."""
        rows = self.rows(hashes)
        return rows[rows != UNKNOWN].tolist()

    def _in_turn(self, items: ItemTokens) -> Ragged:
        """Rows of the known tokens of each item, each once: the first of each text, the second of each, …."""
        rows = self.rows(items.hashes.values)
        known = items.hashes.replaced(rows).where(rows != UNKNOWN)
        turn = np.arange(len(known.values)) - known.starts[known.owners]
        item, text = np.divmod(known.owners, items.texts)
        order = np.lexsort((text, turn, item))
        item, rows = item[order], known.values[order]
        first = np.sort(np.unique(item * len(self.rarity) + rows, return_index=True)[1])
        return Ragged.by_size(rows[first], np.bincount(item[first], minlength=len(items)))


def cut_texts(count: int, most: int) -> list[str]:
    """The line that tells of items whose texts are cut after `most` tokens; none where there are no such."""
    return [f"{count:,} items have more than {most} tokens of text: the rest is not used"] if count else []


NO_WORDS = Vocabulary(np.zeros(0, dtype=np.int64), np.zeros(1, dtype=np.float32))
"""Of nothing but padding."""
