"""What is known of items without any behaviour, and how alike that makes two of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Self

import numpy as np
import torch
import torch.nn.functional as F
from scipy import sparse
from torch import Tensor

from visrec_training.attention import LEAST_GIST
from visrec_training.beyond_accuracy import category_vectors
from visrec_training.item_texts import ItemSentences


class Recipe(NamedTuple):
    """What counts in a comparison of items, next to 1 for the words that they share."""

    meanings: float
    looks: float
    category: float
    """How much more all of it counts within a category: a red dress tells more of a dress than of a car."""
    sentences: float = 0.0
    """What their whole texts mean, each read as one sentence."""


RECIPES = (
    Recipe(0.5, 0.5, 0.0),
    Recipe(1.0, 0.0, 0.0),
    Recipe(0.3, 0.3, 1.0),
    Recipe(1.0, 0.0, 1.0),
    Recipe(1.0, 0.5, 1.0),
    Recipe(0.0, 0.5, 0.0, sentences=1.0),
    Recipe(0.0, 0.0, 0.0, sentences=1.0),
    Recipe(0.5, 0.5, 0.0, sentences=1.0),
    Recipe(0.0, 0.5, 1.0, sentences=1.0),
    Recipe(0.5, 0.5, 0.0, sentences=4.0),
    Recipe(0.5, 0.5, 1.0, sentences=4.0),
)
"""Those that are tried; the first where nothing can be chosen by."""
SENTENCE_WIDTH = 0.3
"""A sentence whose cosine is lower than another's by this much counts 1 / e as much."""


@dataclass(frozen=True)
class Content:
    """The content of N items."""

    words: sparse.csr_array
    """float32 [N, V + 1], TF-IDF."""
    meanings: Tensor
    """float [N, sentence_dim], of length 1 or 0."""
    sentences: Tensor | ItemSentences
    """float [N, W], of each item's whole text, of length 1 or 0."""
    looks: Tensor
    """float [N, d], of their pictures: of length 1, or shorter where one is hardly unlike the average."""
    categories: Tensor
    """float [N, number of categories], rare ones weighing more, of length 1 or 0."""

    @classmethod
    def of(
        cls,
        words: sparse.csr_array,
        meanings: Tensor,
        sentences: Tensor | ItemSentences,
        gists: Tensor,
        categories: tuple[str, ...],
    ) -> Self:
        """Content of which the pictures are known by their gists, float [N, d]."""
        named = torch.from_numpy(category_vectors(categories)).to(meanings.device)
        rarity = (len(named) / (named > 0).sum(0).clamp_min(1)).log()
        looks = F.normalize(gists - gists.mean(0), dim=1, eps=LEAST_GIST)
        return cls(words, meanings, sentences, looks, F.normalize(named * rarity, dim=1))

    def compare(self, rows: Tensor, columns: Tensor) -> Comparison:
        """Compare items, int64 [n], with others, int64 [k]."""
        return Comparison(self, rows, columns)

    def kernel(self, rows: Tensor, columns: Tensor, recipe: Recipe) -> Tensor:
        """How alike the content of items is, float64 [rows, columns]: positive definite over all of them."""
        return self.compare(rows, columns).kernel(recipe)

    def shared_words(self, rows: Tensor, columns: Tensor) -> Tensor:
        """How alike their words are, float64 [rows, columns]; the work does not grow with N."""
        one, other = (self.words[chosen.cpu().numpy()].astype(np.float64) for chosen in (rows, columns))
        return torch.from_numpy((one @ other.T).toarray()).to(self.meanings.device)


class Comparison:
    """How alike items are by each kind of content, float64 [n, k]; each is computed once, when needed."""

    def __init__(self, content: Content, rows: Tensor, columns: Tensor) -> None:
        """Take what is compared."""
        self._content, self._rows, self._columns = content, rows, columns

    @cached_property
    def _words(self) -> Tensor:
        return self._content.shared_words(self._rows, self._columns)

    @cached_property
    def _meanings(self) -> Tensor:
        return self._products(self._content.meanings)

    @cached_property
    def _looks(self) -> Tensor:
        return self._products(self._content.looks)

    @cached_property
    def _sentences(self) -> Tensor:
        return torch.exp((self._products(self._content.sentences) - 1) / SENTENCE_WIDTH)

    @cached_property
    def _categories(self) -> Tensor:
        return self._products(self._content.categories)

    def kernel(self, recipe: Recipe) -> Tensor:
        """As `Content.kernel`."""
        alike = self._words.clone()
        if recipe.meanings:
            alike += recipe.meanings * self._meanings
        if recipe.looks:
            alike += recipe.looks * self._looks
        if recipe.sentences:
            alike += recipe.sentences * self._sentences
        if recipe.category:  # the product of two kernels is one, too
            alike *= 1 + recipe.category * self._categories
        return alike

    def _products(self, vectors: Tensor | ItemSentences) -> Tensor:
        return vectors[self._rows].double() @ vectors[self._columns].double().T
