"""The words a model knows: hashes of tokens, as the client sends them, and their rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from visrec_client.words import token_ids
from visrec_training.interactions import Rows

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
    def learn(cls, texts: Sequence[str]) -> Vocabulary:
        """Collect the tokens of the items' texts."""
        counts = Counter(token for text in texts for token in set(token_ids(text)))
        hashes = np.asarray(sorted(counts), dtype=np.int64)
        shares = np.asarray([counts[token] for token in hashes.tolist()], dtype=np.float64) / max(
            len(texts), 1
        )
        rarity = np.concatenate([[0.0], np.log(1 / shares).clip(min=0.1)]) if len(hashes) else np.zeros(1)
        return cls(hashes, rarity.astype(np.float32))

    def rows(self, tokens: Iterable[int]) -> Rows:
        """Rows of tokens, int64 [n]; `UNKNOWN` where a token is not known."""
        wanted = np.fromiter(tokens, dtype=np.int64)
        if not len(self.hashes):
            return np.zeros_like(wanted)
        position = np.searchsorted(self.hashes, wanted).clip(max=len(self.hashes) - 1)
        return np.where(self.hashes[position] == wanted, position + 1, UNKNOWN)

    def encode(self, texts: Sequence[str], length: int) -> Rows:
        """Rows of whole texts, int64 [n, longest, at most length]: the known tokens first, then `UNKNOWN`."""
        encoded = np.zeros((len(texts), length), dtype=np.int64)
        for index, text in enumerate(texts):
            rows = self.rows(token_ids(text))
            rows = rows[rows != UNKNOWN][:length]
            encoded[index, : len(rows)] = rows
        return encoded[:, : max(1, int((encoded != UNKNOWN).sum(axis=1).max(initial=0)))]
