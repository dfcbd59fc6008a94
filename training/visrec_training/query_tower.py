"""The query tower: picture, history and words of one request → one query vector.

Any of the three may be missing. What the person did and typed decides which aspects of the picture matter
(user-conditioned attention, as in ACF, Chen et al., SIGIR 2017).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from visrec_training.attention import GIST
from visrec_training.balance import Balance
from visrec_training.config import GRID, ModelConfig
from visrec_training.item_tower import PictureVector, WordBag

EVIDENCE = 0.8
"""How much a history's sum is divided by, as a power of its size: 1 is a mean, 0 lets long histories speak as
loud as they are long. Where training starts from."""


class History(NamedTuple):
    """Histories, oldest item first."""

    hidden: Tensor
    """float [B, L, dim], what is pooled in the content space."""
    scores: Tensor
    """float [B, L, heads], how much each head looks at an item, whatever its age."""
    sources: Tensor
    """float [B, L, collaborative_dim]."""
    present: Tensor
    """bool [B, L]."""


class Said(NamedTuple):
    """What B requests say in each space, before it is weighed."""

    content: Tensor
    """float [B, dim], of length 1."""
    regression: Tensor
    """float [B, regression_dim]."""
    spectral: Tensor
    """float [B, spectral_dim]."""
    counted: Tensor
    """float [B, L], how much each item of a history counts for its neighbours."""
    told: Tensor
    """float [B, 5], how much is told: what the balance depends on."""


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
        self.evidence = nn.Parameter(torch.tensor(EVIDENCE))

    @torch.no_grad()
    def fade(self, power: float) -> None:
        """Have an item of the collaborative space count (1 + its age in items) ** -power."""
        ages = torch.arange(self.recency.shape[1], dtype=self.recency.dtype)
        self.recency[-1] = torch.logit((1 + ages) ** -power / 2)

    def look_up(self, vectors: Tensor, sources: Tensor, rows: Tensor) -> History:
        """Histories by row, int64 [B, L], -1 for no item, from `Items.vectors` and `Items.sources`.

        Where histories have more places than there are items, each item's vector is transformed once and not
        at each place, which makes a step of training up to twice as fast. A served graph, of any batch size,
        must never read all of a catalogue.
        """
        chosen, dim = rows.clamp_min(0), self.key.in_features
        # in this order: a comparison would fix the batch size of an export
        if not torch.compiler.is_exporting() and rows.numel() > len(vectors):
            hidden = self._transformed(vectors[:, :dim])
            hidden, scores = (F.embedding(chosen, each) for each in (hidden, self.key(hidden)))
        else:
            hidden = self._transformed(vectors[chosen][..., :dim])
            scores = self.key(hidden)
        return History(hidden, scores, sources[chosen].float(), rows >= 0)

    def forward(self, history: History) -> tuple[Tensor, Tensor, Tensor]:
        """Pool histories."""
        hidden, present = history.hidden, history.present
        # 0 for the newest item, 1 for the one before it, …
        age = (present.sum(1, keepdim=True) - present.cumsum(1)).clamp_min(0).long()
        recency = self.recency[:, age]  # heads + 1, B, L
        scores = history.scores.transpose(1, 2) + recency[:-1].transpose(0, 1)
        weights = scores.masked_fill(~present.unsqueeze(1), -1e4).softmax(dim=-1)
        pooled = self.out((weights @ hidden).flatten(1)) * present.any(dim=1, keepdim=True)

        weight = 2 * recency[-1].sigmoid() * present
        weight = weight / weight.sum(1, keepdim=True).clamp_min(1) ** self.evidence
        return pooled, (weight.unsqueeze(1) @ history.sources).squeeze(1), weight

    def _transformed(self, vectors: Tensor) -> Tensor:
        vectors = vectors.float()
        transformed: Tensor = vectors + self.value(vectors)
        return transformed


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
        self.balance = Balance()

    def forward(
        self, aspects: Tensor, maps: Tensor, history: History, tokens: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Make queries. Arguments as for `read`."""
        said, attention = self.read(aspects, maps, history, tokens)
        query, counted = self.weigh(said)
        return query, attention, counted

    def read(self, aspects: Tensor, maps: Tensor, history: History, tokens: Tensor) -> tuple[Said, Tensor]:
        """What requests say, and where they looked.

        Args:
            aspects: float [B, M, d]; all 0 where there is no picture.
            maps: float [B, M, 49]; all 0 where there is no picture.
            history: of B people.
            tokens: int64 [B, T].
        """
        has_picture = maps.sum(dim=(1, 2)).gt(0).float().unsqueeze(-1)
        has_history = history.present.any(dim=1, keepdim=True).float()
        has_words = tokens.gt(0).any(dim=1, keepdim=True).float()
        sent = torch.cat([has_picture, has_history, has_words], dim=-1)
        pooled, summed, counted = self.history(history)
        words = self.words(tokens)
        picture, attention = self._picture(aspects, maps, pooled, words)
        content = self._content(picture * has_picture, pooled, words, sent)

        width = self.config.collaborative_dim
        looked_at, typed = self.picture.place(aspects)[:, :width], self.words.place(tokens)[:, :width]
        collaborative = looked_at * has_picture + summed + typed
        widths = [self.config.regression_dim, self.config.spectral_dim]
        regression, spectral = collaborative.split(widths, dim=-1)
        items = history.present.sum(1, keepdim=True).float()
        told = (items + has_picture + has_words).log1p()
        alone = has_history * (1 - has_picture) * (1 - has_words)
        told = torch.cat([has_picture, told, has_words, has_picture * items.log1p(), alone], dim=-1)
        return Said(content, regression, spectral, counted, told), attention

    def weigh(self, said: Said) -> tuple[Tensor, Tensor]:
        """Queries [B, width of an item vector], and how much histories have to say for neighbours, [B, L]."""
        weights = self.balance(said.told)
        parts = (
            weights.content * said.content,
            weights.regression * said.regression,
            weights.spectral * said.spectral,
            weights.popularity,
        )
        return torch.cat(parts, dim=-1), weights.neighbours * said.counted

    def _picture(self, aspects: Tensor, maps: Tensor, pooled: Tensor, words: Tensor) -> tuple[Tensor, Tensor]:
        """The picture as this person sees it, [B, dim], and where it was looked at, [B, 7, 7]."""
        looks = aspects[:, GIST + 1 :]
        interest = self.interest(torch.cat([pooled, words], dim=-1)).view_as(looks)
        scores = (interest * looks).sum(-1) / looks.shape[-1] ** 0.5 + self.prior
        if not self.config.user_attention:
            scores = torch.zeros_like(scores)
        shares = scores.softmax(dim=-1)
        attention = torch.einsum("bm,bmr->br", shares, maps[:, GIST + 1 :]).unflatten(1, (GRID, GRID))
        counted = torch.cat([torch.ones_like(shares[:, :1]), shares * shares.shape[1]], dim=1)
        return self.picture(aspects, counted), attention

    def _content(self, picture: Tensor, pooled: Tensor, words: Tensor, sent: Tensor) -> Tensor:
        """Where the request lies by looks and words, of length 1: [B, dim]; `sent` is 1 for what is there."""
        present = torch.cat([picture, pooled, words, sent], dim=-1)
        shares = (self.gate(present) - 1e4 * (1 - sent)).softmax(dim=-1) * sent
        kinds = torch.stack([picture, pooled, words], dim=1)
        return F.normalize((shares.unsqueeze(-1) * kinds).sum(1) + self.mix(present), dim=-1)
