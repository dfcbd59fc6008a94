"""What the text graph makes of a catalogue: hashes of tokens, and where items lie by what they mean."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from visrec_training.data import Catalogue
from visrec_training.interactions import Rows
from visrec_training.text.encoders import text_encoder
from visrec_training.text.graph import TextGraph, text_graph
from visrec_training.text_space import TextSpace

MOST_TOKENS = 256
"""Of one text: the most of an item's."""
BACKGROUND, COMMONEST = 8_000, 60_000
"""Words that the space of meaning is fitted on, and of how many of the encoder's own they are drawn."""
WORD_WEIGHT = 0.5
"""How much the single words of an item count, and its description, next to 1 for its title."""
BLOCK = 512


@dataclass(frozen=True, slots=True)
class ItemTexts:
    """The texts of N items."""

    tokens: list[tuple[Rows, ...]]
    """For each item and each of its texts the hashes of its tokens, int64 [n], words before their pieces."""
    meanings: Tensor
    """float32 [N, sentence_dim], of length 1; 0 without texts."""


@lru_cache(maxsize=2)
def load_text_graph(encoder: str) -> TextGraph:
    """The text graph of an encoder, ready to run; it takes seconds to make, and is kept.

    Raises:
        WeightsError: there is no such encoder.
    """
    return TextGraph(text_graph(MOST_TOKENS, encoder))


@lru_cache(maxsize=2)
def background(encoder: str) -> npt.NDArray[np.float32]:
    """Sentence vectors, float32 [n, W], of words of all languages that an encoder knows, always the same."""
    whole = text_encoder(encoder).words()[:COMMONEST]
    drawn = np.random.default_rng(0).choice(len(whole), min(BACKGROUND, len(whole)), replace=False)
    return load_text_graph(encoder)([whole[place] for place in sorted(drawn)]).sentence


def read_item_texts(catalogue: Catalogue, encoder: str, space: TextSpace) -> ItemTexts:
    """Run the text graph over the texts of a catalogue, each distinct text once.

    An item lies where its title does, moved half as far towards its keywords, or towards the words of its
    title where there are none, rare words more than common ones, and half as far towards its description.

    Args:
        catalogue: the items.
        encoder: the sentence encoder's name.
        space: knows where sentence vectors lie.
    """
    fields = [catalogue.fields(row) for row in range(len(catalogue))]
    words = [(keywords or title).split() for title, keywords, *_ in fields]
    texts = dict.fromkeys(text for each in (*fields, *words) for text in each)
    place = {text: number for number, text in enumerate(texts)}
    read = load_text_graph(encoder)(list(texts))
    tokens = [row[row != 0] for row in read.tokens]
    with torch.no_grad():
        device = space.mean.device
        said = torch.from_numpy(read.sentence)
        placed = torch.cat([space.meaning(block.to(device)).cpu() for block in said.split(BLOCK)])
        titles = placed[[place[next((text for text in each if text), "")] for each in fields]]
        described = placed[[place[text] for text in catalogue.descriptions]]
        around = _mean_of_words(words, placed, place) + described
        meanings = F.normalize(titles + WORD_WEIGHT * around, dim=1)
    return ItemTexts([tuple(tokens[place[text]] for text in each) for each in fields], meanings)


def read_sentences(catalogue: Catalogue, encoder: str) -> Tensor:
    """What the whole text of each item means, read as one, title first: float32 [N, W], of length 1 or 0."""
    ordered = zip(
        catalogue.titles, catalogue.categories, catalogue.keywords, catalogue.descriptions, strict=True
    )
    texts = [". ".join(filter(None, each)).replace("|", " ") for each in ordered]
    return F.normalize(torch.from_numpy(load_text_graph(encoder)(texts).sentence), dim=1)


def item_words(space: TextSpace, hashes: Rows, tokens: Tensor) -> Tensor:
    """Where items lie by their words, float [N, lexical_dim].

    Args:
        space: knows where.
        hashes: int64 [V], of the vocabulary.
        tokens: int64 [N, T], rows of the vocabulary.
    """
    by_row = torch.from_numpy(np.concatenate([[0], hashes])).to(tokens.device)
    return torch.cat([space.words(by_row[block], block) for block in tokens.split(BLOCK)])


def _mean_of_words(words: Sequence[Sequence[str]], placed: Tensor, place: Mapping[str, int]) -> Tensor:
    """Where the words of each item lie, by how rare they are, float [N, sentence_dim], of length 1 or 0."""
    counts = Counter(word for each in words for word in set(each))
    means = torch.zeros(len(words), placed.shape[1])
    for row, each in enumerate(words):
        if each:
            rarity = torch.tensor([np.log(len(words) / counts[word]) for word in each], dtype=torch.float32)
            means[row] = rarity @ placed[[place[word] for word in each]]
    return F.normalize(means, dim=1)


def word_tokens(words: Sequence[str], encoder: str) -> dict[str, Rows]:
    """Hashes of the tokens of each distinct word, int64 [n]."""
    distinct = list(dict.fromkeys(words))
    tokens = load_text_graph(encoder)(distinct).tokens
    return {word: row[row != 0] for word, row in zip(distinct, tokens, strict=True)}
