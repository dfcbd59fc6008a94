"""The text space, in which items and searches lie by what they mean and by the words they hold.

Meaning comes from a pretrained multilingual sentence encoder, frozen: a text lies next to its translation.
Its
vectors share large common directions, which say little. Their spread is damped (half of a whitening; all of
it would blow up noise), as fitted once on words of the encoder's own vocabulary, so a shop of any size gets
the same space.

Words come from a TF-IDF over whole words and their pieces of three characters, which finds names, codes and
misspelt words, through a random projection (Achlioptas, Database-friendly Random Projections, JCSS 2003). Its
signs are computed from the hashes, so no table of words is needed. Tokens that no item has count for the
length of a search: the few that are known by chance then say little.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from visrec_training.config import ModelConfig
from visrec_training.vocabulary import UNKNOWN, Vocabulary

SEARCH_SCALE, KNOWN_SCALE = 30.0, 14.0
"""By how much a search moves the logits of what it says, next to those of what it does not; and where the
catalogue has its words, so that the trained part reads it as well."""
LEXICAL_WEIGHT = 0.7
"""How much the words count, next to 1 for the meaning."""
LEAST_KNOWN = 0.9
"""Share of a text's length, as TF-IDF has it, from which the trained part of a query reads its words."""
PICTURE_WEIGHT = 0.5
"""How much what an item's picture looks like counts, next to 1 for its texts."""
PICTURE_RIDGE = 1.0
"""How strongly the prediction from pictures, of unit spread, is held small."""
FLOOR = 1e-6
"""Axes whose spread is smaller, next to the largest, are rounding."""


class TextSpace(nn.Module):
    """A text → the part of a query that items' texts are compared with, [B, text_dim]; 0 without a text."""

    mean: Tensor
    axes: Tensor
    looks: Tensor
    looks_offset: Tensor
    factors: Tensor
    rarity: Tensor

    def __init__(self, config: ModelConfig, width: int, vocabulary: Vocabulary) -> None:
        """Build it; the fits fill what is not random.

        Args:
            config: the model's shape.
            width: W, the sentence encoder's.
            vocabulary: weighs the tokens.
        """
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("axes", torch.zeros(width, config.sentence_dim))
        self.register_buffer("looks", torch.zeros(config.aspect_dim, config.sentence_dim))
        self.register_buffer("looks_offset", torch.zeros(config.sentence_dim))
        odd = np.random.default_rng(0).integers(-(2**62), 2**62, config.lexical_dim) * 2 + 1
        self.register_buffer("factors", torch.from_numpy(odd))
        self.register_buffer("rarity", torch.from_numpy(vocabulary.rarity))
        self.unknown = float(vocabulary.rarity.max())  # as rare as what one item has

    @property
    def width(self) -> int:
        """W, the sentence encoder's."""
        return len(self.mean)

    @torch.no_grad()
    def fit_meaning(self, sentences: Tensor) -> None:
        """Find the mean and the damped main axes of many texts' vectors, float [n, W]."""
        if not sentences.numel():
            return
        mean = sentences.double().mean(0)
        centred = sentences.double() - mean
        variance, axes = torch.linalg.eigh(centred.T @ centred / len(centred))
        variance, axes = variance.flip(0), axes.flip(1)
        kept = min(self.axes.shape[1], int((variance > FLOOR * variance[0]).sum()))
        axes = axes[:, :kept]
        # an eigenvector's sign is arbitrary: fix it, so that every machine fits the same
        axes = axes * axes.gather(0, axes.abs().argmax(0, keepdim=True)).sign()
        self.mean.copy_(mean)
        self.axes.zero_()
        self.axes[:, :kept] = axes * (variance[0] / variance[:kept]) ** 0.25

    @torch.no_grad()
    def fit_looks(self, gists: Tensor, meanings: Tensor) -> None:
        """Predict what items mean from their pictures: a ridge regression, so searches find by looks too.

        Args:
            gists: float [n, d], of the items' pictures.
            meanings: float [n, sentence_dim], by the items' texts.
        """
        has_text = meanings.any(dim=1)
        if not bool(has_text.any()):
            return
        seen, wanted = gists[has_text].double(), meanings[has_text].double()
        mean, spread = seen.mean(0), seen.std(0, correction=0)
        spread = torch.where(spread > 1e-6, spread, torch.inf)  # what is the same in all tells nothing
        standard = (seen - mean) / spread
        gram = standard.T @ standard / seen.shape[1]
        gram.diagonal().add_(PICTURE_RIDGE)
        weights = torch.linalg.solve(gram, standard.T @ wanted / seen.shape[1]) / spread.unsqueeze(1)
        self.looks.copy_(weights)
        self.looks_offset.copy_(-mean @ weights)

    def meaning(self, sentences: Tensor) -> Tensor:
        """Where texts lie by their sentence vectors, [n, sentence_dim], of length 1; 0 without a text."""
        said = sentences.square().sum(dim=1, keepdim=True) > 0
        return F.normalize((sentences - self.mean) @ self.axes, dim=-1) * said

    def words(self, hashes: Tensor, rows: Tensor) -> Tensor:
        """Where texts lie by their words, [n, lexical_dim].

        Args:
            hashes: int64 [n, T], tokens of the text graph; 0 pads.
            rows: int64 [n, T], their rows in the vocabulary.
        """
        known, length = self._weights(hashes, rows)
        # an int64 product wraps, so its sign is as good as random
        signs = torch.where(hashes.unsqueeze(-1) * self.factors < 0, -1.0, 1.0)
        return ((known / length).unsqueeze(1) @ signs).squeeze(1) / signs.shape[-1] ** 0.5

    def known_words(self, hashes: Tensor, rows: Tensor) -> Tensor:
        """Rows of a text's tokens, int64 [n, T], where the catalogue has most of it; else none of them.

        Of a text in another language some pieces are known by chance: they must not speak for it.
        """
        return rows * self._is_known(hashes, rows)

    def _is_known(self, hashes: Tensor, rows: Tensor) -> Tensor:
        known, length = self._weights(hashes, rows)
        return known.square().sum(1, keepdim=True).sqrt() / length >= LEAST_KNOWN

    def _weights(self, hashes: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """How rare known tokens are, float [n, T], and the length of all, with unknown ones, float [n, 1]."""
        known = self.rarity[rows] * (rows != UNKNOWN)
        unknown = self.unknown * ((hashes != 0) & (rows == UNKNOWN))
        return known, (known.square() + unknown.square()).sum(1, keepdim=True).sqrt().clamp_min(1e-9)

    def items(self, meanings: Tensor, gists: Tensor, words: Tensor) -> Tensor:
        """Items as searches find them, float [n, text_dim].

        Args:
            meanings: float [n, sentence_dim], by their texts.
            gists: float [n, d], of their pictures.
            words: float [n, lexical_dim].
        """
        seen = gists @ self.looks + self.looks_offset
        return torch.cat([F.normalize(meanings + PICTURE_WEIGHT * seen, dim=-1), words], dim=1)

    def forward(self, sentences: Tensor, hashes: Tensor, rows: Tensor) -> Tensor:
        """Make the text's part of queries; arguments as for `meaning` and `words`."""
        parts = (self.meaning(sentences), LEXICAL_WEIGHT * self.words(hashes, rows))
        scale = torch.where(self._is_known(hashes, rows), KNOWN_SCALE, SEARCH_SCALE)
        return scale * torch.cat(parts, dim=1)
