"""The item tower: an item is its content, plus what behaviour taught about it.

The id part is a correction to the content, withheld at random in training (DropoutNet, Volkovs et al.,
NeurIPS 2017), so that an item nobody has met yet is placed by its picture and words alone.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from visrec_training.config import ModelConfig
from visrec_training.vocabulary import UNKNOWN


class WordBag(nn.Module):
    """Tokens int64 [B, T] → one vector [B, dim], a mean weighted by how rare each token is; 0 without any."""

    def __init__(self, rarity: Tensor, dim: int) -> None:
        """Build it.

        Args:
            rarity: float [V + 1], the weight each token starts with.
            dim: width of the vector.
        """
        super().__init__()
        self.embedding = nn.Embedding(len(rarity), dim, padding_idx=UNKNOWN)
        nn.init.normal_(self.embedding.weight, std=dim**-0.5)
        self.weight = nn.Parameter(rarity.clone())

    def forward(self, tokens: Tensor) -> Tensor:
        """Pool the tokens."""
        known = (tokens != UNKNOWN).float()
        weight = self.weight[tokens].abs() * known
        if self.training:  # the same sum for a ninth of the time, but ONNX has no such operator
            pooled = F.embedding_bag(tokens, self.embedding.weight, per_sample_weights=weight, mode="sum")
        else:
            pooled = (weight.unsqueeze(1) @ self.embedding(tokens)).squeeze(1)
        return pooled / weight.sum(1, keepdim=True).clamp_min(1e-6)


class PictureVector(nn.Module):
    """ASPECTS [B, M, d], each weighted [B, M], → one vector [B, dim]; weights of 1 count all alike."""

    def __init__(self, config: ModelConfig) -> None:
        """Build it."""
        super().__init__()
        self.project = nn.Linear(config.aspects * config.aspect_dim, config.dim)

    def forward(self, aspects: Tensor, weights: Tensor) -> Tensor:
        """Blend the aspects."""
        return self.project((aspects * weights.unsqueeze(-1)).flatten(1))


class ItemTower(nn.Module):
    """Content and id → item vectors [N, dim] of length 1, and how likely each is for anybody, [N]."""

    def __init__(self, config: ModelConfig, items: int, picture: PictureVector, words: WordBag) -> None:
        """Build it.

        Args:
            config: the model's shape.
            items: N, the catalogue's size.
            picture: shared with the query tower, so that a picture asks for what looks like it.
            words: shared with the query tower.
        """
        super().__init__()
        self.picture, self.words = picture, words
        self.mix = nn.Sequential(
            nn.Linear(2 * config.dim, 2 * config.dim),
            nn.GELU(),
            nn.Dropout(config.dropout),
            nn.Linear(2 * config.dim, config.dim),
        )
        self.id = nn.Embedding(items, config.dim)
        nn.init.zeros_(self.id.weight)
        self.gate = nn.Linear(2 * config.dim, config.dim)
        self.appeal = nn.Linear(config.dim, 1)

    def forward(self, aspects: Tensor, tokens: Tensor, has_id: Tensor) -> tuple[Tensor, Tensor]:
        """Make item vectors.

        Args:
            aspects: float [N, M, d].
            tokens: int64 [N, T], the words of each item.
            has_id: bool [N]; False withholds the id part.
        """
        looks = self.picture(aspects, torch.ones_like(aspects[..., 0]))
        words = self.words(tokens)
        content = looks + words + self.mix(torch.cat([looks, words], dim=-1))
        taught = self.id.weight * has_id.unsqueeze(-1)
        gate = torch.sigmoid(self.gate(torch.cat([content, taught], dim=-1)))
        item = content + 2 * gate * taught
        return F.normalize(item, dim=-1), self.appeal(item).squeeze(-1)
