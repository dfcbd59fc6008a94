"""The query tower: picture, history and words of one request → one query vector.

Any of the three may be missing. What the person did and typed decides which aspects of the picture matter
(user-conditioned attention, as in ACF, Chen et al., SIGIR 2017).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from visrec_training.config import GRID, ModelConfig
from visrec_training.item_tower import PictureVector, WordBag


class HistoryEncoder(nn.Module):
    """Item vectors [B, L, dim], oldest first, and which are there [B, L] → one vector [B, dim].

    Each head pools the history its own way: by what the items are, and by how long ago they were.
    """

    def __init__(self, config: ModelConfig) -> None:
        """Build it."""
        super().__init__()
        heads, dim = config.history_heads, config.dim
        self.value = nn.Sequential(nn.Linear(dim, dim), nn.GELU())
        self.key = nn.Linear(dim, heads)
        self.recency = nn.Parameter(torch.zeros(heads, config.history))
        self.out = nn.Linear(heads * dim, dim)

    def forward(self, items: Tensor, present: Tensor) -> Tensor:
        """Pool histories; the vector is 0 where a history is empty."""
        hidden = items + self.value(items)
        # 0 for the newest item, 1 for the one before it, …
        age = (present.sum(1, keepdim=True) - present.cumsum(1)).clamp_min(0).long()
        scores = self.key(hidden).transpose(1, 2) + self.recency[:, age].transpose(0, 1)
        weights = scores.masked_fill(~present.unsqueeze(1), -1e4).softmax(dim=-1)
        pooled = self.out((weights @ hidden).flatten(1))
        return pooled * present.any(dim=1, keepdim=True)


class QueryTower(nn.Module):
    """Picture, history and words → query [B, dim] of length 1, and where it looked, [B, 7, 7]."""

    def __init__(self, config: ModelConfig, picture: PictureVector, words: WordBag) -> None:
        """Build it; `picture` and `words` are shared with the item tower."""
        super().__init__()
        dim = config.dim
        self.picture, self.words = picture, words
        self.history = HistoryEncoder(config)
        self.interest = nn.Linear(2 * dim, config.aspects * config.aspect_dim)
        self.prior = nn.Parameter(torch.zeros(config.aspects))
        self.gate = nn.Sequential(nn.Linear(3 * dim + 3, dim), nn.GELU(), nn.Linear(dim, 3))
        self.mix = nn.Sequential(
            nn.Linear(3 * dim + 3, 2 * dim),
            nn.GELU(),
            nn.Dropout(config.dropout),
            nn.Linear(2 * dim, dim),
        )

    def forward(
        self, aspects: Tensor, maps: Tensor, items: Tensor, items_present: Tensor, tokens: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Make queries.

        Args:
            aspects: float [B, M, d]; all 0 where there is no picture.
            maps: float [B, M, 49]; all 0 where there is no picture.
            items: float [B, L, dim], the history's item vectors.
            items_present: bool [B, L].
            tokens: int64 [B, T].
        """
        has_picture = maps.sum(dim=(1, 2)).gt(0).float().unsqueeze(-1)
        has_history = items_present.any(dim=1, keepdim=True).float()
        has_words = tokens.gt(0).any(dim=1, keepdim=True).float()
        history, words = self.history(items, items_present), self.words(tokens)

        interest = self.interest(torch.cat([history, words], dim=-1)).view_as(aspects)
        scores = (interest * aspects).sum(-1) / aspects.shape[-1] ** 0.5 + self.prior
        weights = scores.softmax(dim=-1)
        attention = torch.einsum("bm,bmr->br", weights, maps).unflatten(1, (GRID, GRID))
        picture = self.picture(aspects, weights * aspects.shape[1]) * has_picture

        present = torch.cat([picture, history, words, has_picture, has_history, has_words], dim=-1)
        absent = 1 - present[:, -3:]
        shares = (self.gate(present) - 1e4 * absent).softmax(dim=-1) * (1 - absent)
        blend = (
            shares[:, 0:1] * picture + shares[:, 1:2] * history + shares[:, 2:3] * words + self.mix(present)
        )
        return nn.functional.normalize(blend, dim=-1), attention
