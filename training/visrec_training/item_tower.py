"""The item tower: an item is its content, plus what behaviour taught about it.

An item has a place in two spaces. In the content space it lies by its looks and words, and so do queries. In
the collaborative space it has two vectors, as in HOPE (Ou et al., KDD 2016): `source`, as it is read in a
history, and `target`, as it is recommended after one: what follows a book is not what the book follows. The
first is trained; the second is fitted in closed form (see `collaborative`) and its parameters stay as fitted.

In both, the id part is a correction to what the content alone says, so that an item nobody has met yet is
placed by its picture and words. Where it is trained it is withheld at random (DropoutNet, Volkovs et al.,
NeurIPS 2017).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from visrec_training.attention import GIST
from visrec_training.config import ModelConfig
from visrec_training.vocabulary import UNKNOWN


class Items(NamedTuple):
    """A catalogue as the scorer needs it."""

    vectors: Tensor
    """float [N, dim + collaborative_dim + 1]: what a query is compared with.

    The first `dim` have length 1; then comes `target`; the last is how likely the item is for anybody.
    """
    sources: Tensor
    """float [N, collaborative_dim]: how an item reads in a history."""
    texts: Tensor
    """float [N, text_dim]: what a search is compared with; [N, 0] where nobody searches."""
    neighbours: Tensor
    """int32 [N, m]: rows of the items that an item of a history speaks for."""
    votes: Tensor
    """float [N, m]: how much; 0 fills up. Both are [N, 0] where there is no table."""

    @classmethod
    def join(cls, content: Tensor, places: Tensor) -> Items:
        """Content vectors [N, dim] and places [N, place_width]; without texts and neighbours."""
        width = places.shape[1] // 2
        vectors = torch.cat([content, places[:, width:]], dim=-1)
        nothing = vectors[:, :0]
        return cls(vectors, places[:, :width], nothing, nothing.int(), nothing)


def place_width(config: ModelConfig) -> int:
    """Width of a place in the collaborative space: source, target and appeal, joined."""
    return 2 * config.collaborative_dim + 1


class WordBag(nn.Module):
    """Tokens int64 [B, T] → one vector [B, dim], a sum weighted by how rare each token is; 0 without any.

    The weights of a text have length 1, as in TF-IDF.
    """

    rarity: Tensor

    def __init__(self, config: ModelConfig, rarity: Tensor) -> None:
        """Build it.

        Args:
            config: the model's shape.
            rarity: float [V + 1], the weight each token starts with.
        """
        super().__init__()
        self.embedding = nn.Embedding(len(rarity), config.dim, padding_idx=UNKNOWN)
        nn.init.normal_(self.embedding.weight, std=config.dim**-0.5)
        self.weight = nn.Parameter(rarity.clone())
        self.register_buffer("rarity", rarity)
        self.places = nn.Embedding(len(rarity), place_width(config)).requires_grad_(False)
        nn.init.zeros_(self.places.weight)

    def forward(self, tokens: Tensor) -> Tensor:
        """Pool the tokens."""
        shares = self._shares(self.weight.abs(), tokens)
        if self.training:  # the same sum for a fraction of the time, but ONNX has no such operator
            known = tokens != UNKNOWN
            sizes = known.sum(1)
            starts = sizes.cumsum(0) - sizes
            return F.embedding_bag(
                tokens[known], self.embedding.weight, starts, per_sample_weights=shares[known], mode="sum"
            )
        return (shares.unsqueeze(1) @ self.embedding(tokens)).squeeze(1)

    def place(self, tokens: Tensor) -> Tensor:
        """Where words lie in the collaborative space, [B, place_width]."""
        return (self.tf_idf(tokens).unsqueeze(1) @ self.places(tokens)).squeeze(1)

    def tf_idf(self, tokens: Tensor) -> Tensor:
        """How much each token counts for `place`, float [B, T]."""
        return self._shares(self.rarity, tokens)

    @staticmethod
    def _shares(weight: Tensor, tokens: Tensor) -> Tensor:
        return F.normalize(weight[tokens] * (tokens != UNKNOWN), dim=1)


class PictureVector(nn.Module):
    """ASPECTS [B, M, d], each weighted [B, M], → one vector [B, dim]; weights of 1 count all alike."""

    def __init__(self, config: ModelConfig) -> None:
        """Build it."""
        super().__init__()
        width = config.aspects * config.aspect_dim
        self.project = nn.Linear(width, config.dim)
        self.places = nn.Linear(config.aspect_dim, place_width(config)).requires_grad_(False)
        nn.init.zeros_(self.places.weight)
        nn.init.zeros_(self.places.bias)

    def forward(self, aspects: Tensor, weights: Tensor) -> Tensor:
        """Blend the aspects."""
        return self.project((aspects * weights.unsqueeze(-1)).flatten(1))

    def place(self, aspects: Tensor) -> Tensor:
        """Where pictures lie in the collaborative space by their gist, [B, place_width]."""
        return self.places(aspects[:, GIST])


class ItemTower(nn.Module):
    """Content and id → `Items`."""

    def __init__(self, config: ModelConfig, items: int, picture: PictureVector, words: WordBag) -> None:
        """Build it.

        Args:
            config: the model's shape.
            items: N, the catalogue's size.
            picture: shared with the query tower, so that a picture asks for what looks like it.
            words: shared with the query tower.
        """
        super().__init__()
        self.config = config
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
        self.id_places = nn.Embedding(items, place_width(config)).requires_grad_(False)
        nn.init.zeros_(self.id_places.weight)
        self.unmet = nn.Parameter(torch.zeros(()))  # appeal of what is not known by id, next to what is

    def forward(self, aspects: Tensor, tokens: Tensor, has_id: Tensor) -> Items:
        """Make the catalogue.

        Args:
            aspects: float [N, M, d].
            tokens: int64 [N, T], the words of each item.
            has_id: bool [N]; False withholds the id part.
        """
        places = self.as_met(self.places(aspects, tokens, has_id), has_id)
        return Items.join(self.content(aspects, tokens, has_id), places)

    def new_items(self, aspects: Tensor, tokens: Tensor) -> Items:
        """Make items that the tower has no ids for: each by its content alone, wherever it comes from.

        Args:
            aspects: float [n, M, d].
            tokens: int64 [n, T], the words of each item.
        """
        nobody = torch.zeros(len(tokens), dtype=torch.bool, device=tokens.device)
        content = F.normalize(self._by_content(aspects, tokens), dim=-1)
        return Items.join(content, self.as_met(self._placed_by_content(aspects, tokens), nobody))

    def content(self, aspects: Tensor, tokens: Tensor, has_id: Tensor) -> Tensor:
        """The trained part: vectors of length 1, [N, dim]. Arguments as for `forward`."""
        return self._taught(aspects, tokens, self.id.weight, has_id)

    def content_of(self, rows: Tensor, aspects: Tensor, tokens: Tensor, has_id: Tensor) -> Tensor:
        """The trained part of some items, int64 [k]; the gradient of ids is sparse.

        Other arguments as for `forward`, of these alone.
        """
        return self._taught(aspects, tokens, F.embedding(rows, self.id.weight, sparse=True), has_id)

    def _taught(self, aspects: Tensor, tokens: Tensor, ids: Tensor, has_id: Tensor) -> Tensor:
        content = self._by_content(aspects, tokens)
        taught = ids * has_id.unsqueeze(-1)
        gate = torch.sigmoid(self.gate(torch.cat([content, taught], dim=-1)))
        return F.normalize(content + 2 * gate * taught, dim=-1)

    def places(self, aspects: Tensor, tokens: Tensor, has_id: Tensor) -> Tensor:
        """The fitted part, [N, place_width]. Arguments as for `forward`."""
        taught = self.id_places.weight * has_id.unsqueeze(-1)
        return self._placed_by_content(aspects, tokens) + taught

    def places_of(self, rows: Tensor, aspects: Tensor, tokens: Tensor, has_id: Tensor) -> Tensor:
        """The fitted part of some items, int64 [k]. Other arguments as for `forward`, of these alone."""
        taught = self.id_places(rows) * has_id.unsqueeze(-1)
        return self._placed_by_content(aspects, tokens) + taught

    def as_met(self, places: Tensor, has_id: Tensor) -> Tensor:
        """Places [N, place_width] with the appeal of what is not known by id, bool [N], set right."""
        return torch.cat([places[:, :-1], places[:, -1:] + self.unmet * ~has_id.unsqueeze(1)], dim=-1)

    def _by_content(self, aspects: Tensor, tokens: Tensor) -> Tensor:
        """The trained part of content alone, of any length, [n, dim]."""
        looks = self.picture(aspects, torch.ones_like(aspects[..., 0]))
        words = self.words(tokens)
        return looks + words + self.mix(torch.cat([looks, words], dim=-1))

    def _placed_by_content(self, aspects: Tensor, tokens: Tensor) -> Tensor:
        """The fitted part of content alone, [n, place_width]."""
        return self.picture.place(aspects) + self.words.place(tokens)
