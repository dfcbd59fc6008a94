"""The whole model as it is trained: encoder, attention, and the two towers around one catalogue."""

from __future__ import annotations

import torch
from torch import nn

from visrec_training.attention import Attention
from visrec_training.config import ModelConfig
from visrec_training.encoder import Encoder
from visrec_training.item_tower import ItemTower, PictureVector, WordBag
from visrec_training.query_tower import QueryTower
from visrec_training.scratch import Stored
from visrec_training.text.encoders import text_encoder
from visrec_training.text_space import TextSpace
from visrec_training.vocabulary import Vocabulary

ATTENDED = 512  # pictures at once


class Model(nn.Module):
    """Everything that is learned. It holds one id part an item, so it belongs to one catalogue."""

    def __init__(self, config: ModelConfig, vocabulary: Vocabulary, items: int, encoder: Encoder) -> None:
        """Build it.

        Args:
            config: the shape.
            vocabulary: the words it knows.
            items: N, the catalogue's size.
            encoder: made beforehand, so that its weights may come from anywhere.
        """
        super().__init__()
        self.config = config
        self.encoder = encoder
        self.attention = Attention(config, encoder.dim)
        picture, words = PictureVector(config), WordBag(config, torch.from_numpy(vocabulary.rarity))
        self.item_tower = ItemTower(config, items, picture, words)
        self.query_tower = QueryTower(config, picture, words)
        self.text_space = TextSpace(config, text_encoder(config.text_encoder).width, vocabulary)

    @torch.no_grad()
    def aspects(self, reduced: Stored) -> tuple[Stored, Stored]:
        """Aspects [N, M, d] and maps [N, M, 49] of a whole catalogue, a block at a time."""
        self.eval()
        count, regions, _ = reduced.shape
        aspects = Stored((count, self.config.aspects, self.config.aspect_dim), reduced.device)
        maps = Stored((count, self.config.aspects, regions), reduced.device)
        for start in range(0, len(reduced), ATTENDED):
            chosen = slice(start, start + ATTENDED)
            aspects[chosen], maps[chosen] = self.attention.attend(reduced[chosen])
        return aspects, maps
