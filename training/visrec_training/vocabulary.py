"""The words a model knows: hashes of tokens, as the text graph makes them, and their rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
import numpy.typing as npt

from visrec_training.rows import Rows

UNKNOWN = 0
"""Row of padding and of tokens that no training item has; it counts for nothing."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Token hashes, sorted; the token at position p has row p + 1."""

    hashes: Rows
    """int64 [V]."""
    rarity: npt.NDArray[np.float32]
    """float32 [V + 1]: log(items / items with the token), so that rare words weigh more; 0 for row 0."""

    @classmethod
    def learn(cls, items: Sequence[Sequence[Rows]]) -> Vocabulary:
        """Collect the tokens of items, each of which has one text or more: hashes, int64 [n] each."""
        counts = Counter(token for texts in items for token in {t for text in texts for t in text.tolist()})
        hashes = np.asarray(sorted(counts), dtype=np.int64)
        shares = np.asarray([counts[token] for token in hashes.tolist()], dtype=np.float64) / max(
            len(items), 1
        )
        rarity = np.concatenate([[0.0], np.log(1 / shares).clip(min=0.1)]) if len(hashes) else np.zeros(1)
        return cls(hashes, rarity.astype(np.float32))

    def rows(self, hashes: Rows) -> Rows:
        """Rows of tokens, int64 of any shape; `UNKNOWN` where a token is not known, and for padding."""
        if not len(self.hashes):
            return np.zeros_like(hashes)
        position = np.searchsorted(self.hashes, hashes).clip(max=len(self.hashes) - 1)
        return np.where(self.hashes[position] == hashes, position + 1, UNKNOWN)

    def encode(self, items: Sequence[Sequence[Rows]], length: int) -> tuple[Rows, int]:
        """Rows of the tokens of items, each of which has one text or more, such as title and category.

        Each text of an item gives a token in turn, whole words before their pieces, so that a long one does
        not displace the others.

        Args:
            items: for each text of each item its hashes, int64 [n], whole words before their pieces.
            length: the most tokens of an item.

        Returns:
            int64 [n, longest, at most length], the known tokens first, then `UNKNOWN`; and how many items
            have more tokens than that.
        """
        found = [list(dict.fromkeys(_in_turn([self.known(text) for text in texts]))) for texts in items]
        longest = max(map(len, found), default=0)
        encoded = np.full((len(items), max(1, min(length, longest))), UNKNOWN, dtype=np.int64)
        for row, tokens in zip(encoded, found, strict=True):
            row[: len(tokens)] = tokens[:length]
        return encoded, sum(len(tokens) > length for tokens in found)

    def known(self, hashes: Rows) -> list[int]:
        """Rows of those tokens, int64 [n], that are known."""
        rows = self.rows(hashes)
        return rows[rows != UNKNOWN].tolist()


def _in_turn(lists: Sequence[Sequence[int]]) -> Iterator[int]:
    """The first of each list, then the second of each, and so on."""
    return (row for rows in zip_longest(*lists, fillvalue=UNKNOWN) for row in rows if row != UNKNOWN)


def cut_texts(count: int, most: int) -> list[str]:
    """The line that tells of items whose texts are cut after `most` tokens; none where there are no such."""
    return [f"{count:,} items have more than {most} tokens of text: the rest is not used"] if count else []


NO_WORDS = Vocabulary(np.zeros(0, dtype=np.int64), np.zeros(1, dtype=np.float32))
"""Of nothing but padding."""
