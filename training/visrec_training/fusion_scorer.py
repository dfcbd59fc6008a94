"""The fusion scorer: query vectors against a whole catalogue, and the best K of the softmax."""

from __future__ import annotations

from torch import Tensor, nn

from visrec_training.query_tower import QueryTower


class FusionScorer(nn.Module):
    """The query tower beside one catalogue's item vectors: what is exported and served.

    Ids and words are rows here; the export puts the dictionaries around it.
    """

    item_vectors: Tensor
    appeal: Tensor
    scale: Tensor

    def __init__(
        self, tower: QueryTower, item_vectors: Tensor, appeal: Tensor, scale: Tensor, k: int
    ) -> None:
        """Build it.

        Args:
            tower: makes queries.
            item_vectors: float [N, dim].
            appeal: float [N], what is added to each item's logits.
            scale: float [], 1 / τ.
            k: items in an answer; a smaller catalogue is filled up with rows that score 0.
        """
        super().__init__()
        self.tower, self.k = tower, k
        self.items = len(item_vectors)
        missing = max(0, k - self.items)
        self.register_buffer("item_vectors", nn.functional.pad(item_vectors, (0, 0, 0, missing)))
        self.register_buffer("appeal", nn.functional.pad(appeal, (0, missing), value=-1e9))
        self.register_buffer("scale", scale)

    def logits(self, aspects: Tensor, maps: Tensor, history: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Score every item: logits [B, N] and attention [B, 7, 7]. Arguments as for `forward`."""
        present = history >= 0
        vectors = self.item_vectors[history.clamp_min(0)]
        query, attention = self.tower(aspects, maps, vectors, present, tokens)
        return self.scale * (query @ self.item_vectors.T) + self.appeal, attention

    def forward(
        self, aspects: Tensor, maps: Tensor, history: Tensor, tokens: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Answer requests.

        Args:
            aspects: float [B, M, d]; all 0 without a picture.
            maps: float [B, M, 49]; all 0 without a picture.
            history: int64 [B, L], rows of items; -1 pads, and stands for unknown items.
            tokens: int64 [B, T], rows of words; 0 pads, and stands for unknown words.

        Returns:
            rows int64 [B, K] and probabilities float [B, K], best first; attention float [B, 7, 7].
        """
        logits, attention = self.logits(aspects, maps, history, tokens)
        scores, rows = logits.softmax(dim=-1).topk(self.k, dim=-1)
        return rows, scores, attention
