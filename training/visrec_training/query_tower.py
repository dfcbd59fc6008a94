"""The query tower: picture, history and words of one request → one query vector.

Any of the three may be missing. What the person did and typed decides which aspects of the picture matter
(user-conditioned attention, as in ACF, Chen et al., SIGIR 2017).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from visrec_training.attention import GIST
from visrec_training.config import GRID, ModelConfig
from visrec_training.item_tower import PictureVector, WordBag

MAX_LOG_SCALE = math.log(100)
# What the balance of a query's parts says, as logarithms; the last as log odds that a history is long.
CONTENT, REGRESSION, SPECTRAL, POPULARITY, NEIGHBOURS, LONG = range(6)
KNOWN = 1  # place in what the balance depends on: how much a request tells
# what is fitted in closed form, in the order in which it is weighed
ALL_PARTS = (NEIGHBOURS, REGRESSION, SPECTRAL, POPULARITY, NEIGHBOURS)
CONTENT_SCALE = 0.1  # 1 / τ in the content space, before it has learned anything
EVIDENCE = 0.8
BALANCE_STEPS, LEFT_OUT = (1.0, 2.0, 4.0, -1.0, -2.0), -6.0  # logarithms
COMMON_STEPS = (0.0, -0.5, -1.0, -1.5, -2.0, -2.5, -3.0, -4.0, 0.5, 1.0)
LOGIT_SPREAD = 0.5  # how far a history moves logits in the collaborative space, before training


class History(NamedTuple):
    """Histories, oldest item first."""

    vectors: Tensor
    """float [B, L, dim], the items' content vectors."""
    sources: Tensor
    """float [B, L, collaborative_dim]."""
    present: Tensor
    """bool [B, L]."""

    @classmethod
    def look_up(cls, vectors: Tensor, sources: Tensor, rows: Tensor, config: ModelConfig) -> History:
        """Histories by row, int64 [B, L], -1 for no item, from `Items.vectors` and `Items.sources`."""
        chosen = rows.clamp_min(0)
        return cls(vectors[chosen][..., : config.dim], sources[chosen], rows >= 0)


class HistoryEncoder(nn.Module):
    """`History` → what it says in each space: [B, dim] and [B, collaborative_dim]; 0 where it is empty.

    And by how much each of its items counts in the second, [B, L].

    In the content space each head pools the items its own way: by what they are, and by how long ago they
    were. In the collaborative space their sources are summed, as in an item-to-item model: there every item
    of a history adds its evidence.
    """

    def __init__(self, config: ModelConfig) -> None:
        """Build it."""
        super().__init__()
        heads, dim = config.history_heads, config.dim
        self.value = nn.Sequential(nn.Linear(dim, dim), nn.GELU())
        self.key = nn.Linear(dim, heads)
        self.recency = nn.Parameter(torch.zeros(heads + 1, config.history))
        self.out = nn.Linear(heads * dim, dim)
        self.evidence = nn.Parameter(
            torch.tensor(EVIDENCE)
        )  # a sum counts n ** (1 - evidence) times one item

    def forward(self, history: History) -> tuple[Tensor, Tensor, Tensor]:
        """Pool histories."""
        present = history.present
        hidden = history.vectors + self.value(history.vectors)
        # 0 for the newest item, 1 for the one before it, …
        age = (present.sum(1, keepdim=True) - present.cumsum(1)).clamp_min(0).long()
        recency = self.recency[:, age]  # heads + 1, B, L
        scores = self.key(hidden).transpose(1, 2) + recency[:-1].transpose(0, 1)
        weights = scores.masked_fill(~present.unsqueeze(1), -1e4).softmax(dim=-1)
        pooled = self.out((weights @ hidden).flatten(1)) * present.any(dim=1, keepdim=True)

        weight = 2 * recency[-1].sigmoid() * present
        weight = weight / weight.sum(1, keepdim=True).clamp_min(1) ** self.evidence
        return pooled, (weight.unsqueeze(1) @ history.sources).squeeze(1), weight


class QueryTower(nn.Module):
    """Picture, history and words → query [B, width of an item vector], and where it looked, [B, 7, 7].

    And how much each item of the history has to say for its neighbours, [B, L].

    The first `dim` of a query have length 1 / τ, with a learned and bounded τ as in CLIP (Radford et al.,
    ICML 2021).
    """

    def __init__(self, config: ModelConfig, picture: PictureVector, words: WordBag) -> None:
        """Build it; `picture` and `words` are shared with the item tower."""
        super().__init__()
        dim = config.dim
        self.config = config
        self.picture, self.words = picture, words
        self.history = HistoryEncoder(config)
        learned = config.aspects - 1  # the gist is seen in any case
        self.interest = nn.Linear(2 * dim, learned * config.aspect_dim)
        self.prior = nn.Parameter(torch.zeros(learned))
        self.gate = nn.Sequential(nn.Linear(3 * dim + 3, dim), nn.GELU(), nn.Linear(dim, 3))
        self.mix = nn.Sequential(
            nn.Linear(3 * dim + 3, 2 * dim),
            nn.GELU(),
            nn.Dropout(config.dropout),
            nn.Linear(2 * dim, dim),
        )
        self.balance = nn.Linear(3, 6)
        with torch.no_grad():
            self.balance.weight.zero_()
            self.balance.bias.zero_()
            self.balance.bias[CONTENT] = math.log(CONTENT_SCALE)
            # who tells more of themselves is led less by what all choose, and less by the main tastes
            self.balance.weight[POPULARITY, KNOWN] = -2
            self.balance.weight[LONG, KNOWN] = 4

    @torch.no_grad()
    def expect(self, regression: float, spectral: float, neighbours: float, even_history: float) -> None:
        """Start from how far a history moves logits in each part, and the size where the first two are even.

        A part of spread 0 tells nothing, however much it counts.
        """
        for part, spread in ((REGRESSION, regression), (SPECTRAL, spectral), (NEIGHBOURS, neighbours)):
            scale = math.log(LOGIT_SPREAD / spread) if spread else 0.0
            self.balance.bias[part] = min(scale, MAX_LOG_SCALE)  # beyond it, training couldn't change it
        self.balance.bias[LONG] = -self.balance.weight[LONG, KNOWN] * math.log1p(even_history)

    @torch.no_grad()
    def weigh(self, parts: Sequence[int], score: Callable[[], float]) -> None:
        """Choose how much each of some fitted parts counts, one after another.

        Args:
            parts: of `ALL_PARTS`.
            score: how well the model ranks as it is now.
        """
        bias = self.balance.bias
        best = score()
        for part in parts:
            chosen = start = bias[part].item()
            # popularity is all that a new visitor is led by
            for step in BALANCE_STEPS if part == POPULARITY else (*BALANCE_STEPS, LEFT_OUT):
                bias[part] = min(start + step, MAX_LOG_SCALE)
                if (reached := score()) > best:
                    best, chosen = reached, bias[part].item()
            bias[part] = chosen

    @torch.no_grad()
    def temper(self, excess: Callable[[], float]) -> None:
        """Scale all parts together, which leaves rankings without a text as they are.

        Args:
            excess: how much surer the softmax is now than it is right.
        """
        bias = self.balance.bias
        balanced, off = bias[:LONG].clone(), {}
        for step in COMMON_STEPS:
            bias[:LONG] = balanced + step
            off[step] = abs(excess())
        bias[:LONG] = balanced + min(off, key=lambda step: off[step])

    def forward(
        self, aspects: Tensor, maps: Tensor, history: History, tokens: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Make queries.

        Args:
            aspects: float [B, M, d]; all 0 where there is no picture.
            maps: float [B, M, 49]; all 0 where there is no picture.
            history: of B people.
            tokens: int64 [B, T].
        """
        has_picture = maps.sum(dim=(1, 2)).gt(0).float().unsqueeze(-1)
        has_history = history.present.any(dim=1, keepdim=True).float()
        has_words = tokens.gt(0).any(dim=1, keepdim=True).float()
        pooled, summed, counted_items = self.history(history)
        words = self.words(tokens)

        looks = aspects[:, GIST + 1 :]
        interest = self.interest(torch.cat([pooled, words], dim=-1)).view_as(looks)
        scores = (interest * looks).sum(-1) / looks.shape[-1] ** 0.5 + self.prior
        if not self.config.user_attention:
            scores = torch.zeros_like(scores)
        weights = scores.softmax(dim=-1)
        attention = torch.einsum("bm,bmr->br", weights, maps[:, GIST + 1 :]).unflatten(1, (GRID, GRID))
        counted = torch.cat([torch.ones_like(weights[:, :1]), weights * weights.shape[1]], dim=1)
        picture = self.picture(aspects, counted) * has_picture

        present = torch.cat([picture, pooled, words, has_picture, has_history, has_words], dim=-1)
        absent = 1 - present[:, -3:]
        shares = (self.gate(present) - 1e4 * absent).softmax(dim=-1) * (1 - absent)
        blend = (
            shares[:, 0:1] * picture + shares[:, 1:2] * pooled + shares[:, 2:3] * words + self.mix(present)
        )
        width = self.config.collaborative_dim
        looked_at, typed = self.picture.place(aspects)[:, :width], self.words.place(tokens)[:, :width]
        collaborative = looked_at * has_picture + summed + typed
        told = history.present.sum(1, keepdim=True) + has_picture + has_words
        balance = self.balance(torch.cat([has_picture, told.log1p(), has_words], dim=-1))
        long = balance[:, LONG:]
        even = torch.zeros_like(long)
        kinds = torch.cat([even, F.logsigmoid(long), F.logsigmoid(-long), even, even], dim=-1)
        *weights, neighbours = (balance[:, :LONG] + kinds).clamp(max=MAX_LOG_SCALE).exp().split(1, dim=-1)
        widths = [self.config.regression_dim, self.config.spectral_dim]
        regression, spectral = collaborative.split(widths, dim=-1)
        parts = (F.normalize(blend, dim=-1), regression, spectral, torch.ones_like(long))
        query = torch.cat([w * part for w, part in zip(weights, parts, strict=True)], dim=-1)
        return query, attention, neighbours * counted_items
