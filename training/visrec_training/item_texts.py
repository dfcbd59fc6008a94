"""What the text graph makes of a catalogue: hashes of tokens, and where items lie by what they mean."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from visrec_training import scratch
from visrec_training.data import Catalogue
from visrec_training.rows import NOTHING, Ragged, Rows
from visrec_training.text.encoders import text_encoder
from visrec_training.text.graph import TextGraph, text_graph
from visrec_training.text_space import TextSpace
from visrec_training.vocabulary import ItemTokens

FIELDS = 4
"""Texts of an item, of `Catalogue.fields`."""
MOST_TOKENS = 256
"""Of one text: the most of an item's."""
BACKGROUND, COMMONEST = 8_000, 60_000
"""Words that the space of meaning is fitted on, and of how many of the encoder's own they are drawn."""
WORD_WEIGHT = 0.5
"""How much the single words of an item count, and its description, next to 1 for its title."""
BLOCK = 512
READ_AT_ONCE, READ_TOGETHER = 8_192, 65_536
"""Items of a catalogue whose sentences are all read at once, and texts of any that are."""


@dataclass(frozen=True, slots=True)
class ItemTexts:
    """The texts of N items."""

    tokens: ItemTokens
    """Of each of an item's texts, as `Catalogue.fields` has them."""
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
    every = range(len(catalogue))
    texts = (text for row in every for text in (*catalogue.fields(row), *_words(catalogue, row)))
    place = {text: number for number, text in enumerate(dict.fromkeys(texts))}
    tokens, placed = _read(list(place), encoder, space)
    fields = [place[text] for row in every for text in catalogue.fields(row)]
    hashes = tokens.part(np.asarray(fields, dtype=np.int64))
    counts = Counter(word for row in every for word in set(_words(catalogue, row)))
    rarity = {word: math.log(len(catalogue) / count) for word, count in counts.items()}
    meanings = torch.zeros(len(catalogue), placed.shape[1])
    for start in range(0, len(catalogue), READ_TOGETHER):
        rows = every[start : start + READ_TOGETHER]
        titles = [place[next(filter(None, catalogue.fields(row)), "")] for row in rows]
        described = [place[catalogue.descriptions[row]] for row in rows]
        around = _mean_of_words([_words(catalogue, row) for row in rows], rarity, placed, place)
        around += placed[described]
        meanings[rows.start : rows.stop] = F.normalize(placed[titles] + WORD_WEIGHT * around, dim=1)
    return ItemTexts(ItemTokens(hashes, FIELDS), meanings)


def _words(catalogue: Catalogue, row: int) -> list[str]:
    """The single words that an item's meaning rests on."""
    return (catalogue.keywords[row] or catalogue.titles[row]).split()


@torch.no_grad()
def _read(texts: Sequence[str], encoder: str, space: TextSpace) -> tuple[Ragged, Tensor]:
    """Hashes of the tokens of each text, and where they lie, float32 [n, sentence_dim]."""
    values, sizes, placed = [NOTHING], [NOTHING], [torch.zeros(0, space.axes.shape[1])]
    for start in range(0, len(texts), READ_TOGETHER):
        read = load_text_graph(encoder)(texts[start : start + READ_TOGETHER])
        values.append(read.tokens[read.tokens != 0])
        sizes.append((read.tokens != 0).sum(axis=1))
        said = torch.from_numpy(read.sentence).split(BLOCK)
        placed += [space.meaning(block.to(space.mean.device)).cpu() for block in said]
    return Ragged.by_size(np.concatenate(values), np.concatenate(sizes)), torch.cat(placed)


class ItemSentences:
    """What the whole text of each item means, read as one, title first: float32 [N, W], of length 1 or 0.

    Where items are many, few of them are ever compared: texts are read when they are asked for.
    """

    def __init__(self, catalogue: Catalogue, encoder: str, device: torch.device) -> None:
        """Take the texts.

        Args:
            catalogue: the items.
            encoder: the sentence encoder's name.
            device: where the sentences are needed.
        """
        self._catalogue, self._graph, self._device = catalogue, load_text_graph(encoder), device
        self._is_read = np.zeros(len(catalogue), dtype=bool)
        self._sentences = scratch.zeros((len(catalogue), text_encoder(encoder).width), np.float32)

    def __getitem__(self, rows: Tensor) -> Tensor:
        wanted = rows.cpu().numpy()
        asked = np.arange(len(self._is_read)) if len(self._is_read) <= READ_AT_ONCE else wanted
        new = np.unique(asked[~self._is_read[asked]])
        if len(new):
            read = self._graph([self._text(row) for row in new.tolist()]).sentence
            self._sentences[new] = F.normalize(torch.from_numpy(read), dim=1).numpy()
            self._is_read[new] = True
        found = torch.from_numpy(self._sentences[wanted]).to(self._device)
        scratch.let_go(self._sentences)
        return found

    def _text(self, row: int) -> str:
        title, keywords, category, description = self._catalogue.fields(row)
        said = filter(None, (title, category, keywords, description))
        return ". ".join(said).replace("|", " ")


def item_words(space: TextSpace, hashes: Rows, tokens: Tensor) -> Tensor:
    """Where items lie by their words, float [N, lexical_dim].

    Args:
        space: knows where.
        hashes: int64 [V], of the vocabulary.
        tokens: int [N, T], rows of the vocabulary.
    """
    by_row = torch.from_numpy(np.concatenate([[0], hashes])).to(tokens.device)
    return torch.cat([space.words(by_row[block], block) for block in tokens.split(BLOCK)])


def _mean_of_words(
    words: Sequence[Sequence[str]], rarity: Mapping[str, float], placed: Tensor, place: Mapping[str, int]
) -> Tensor:
    """Where the words of each item lie, by how rare they are, float [n, sentence_dim], of length 1 or 0."""
    said = [word for each in words for word in each]
    found = torch.tensor([place[word] for word in said], dtype=torch.int64)
    weights = torch.tensor([rarity[word] for word in said], dtype=torch.float32)
    sizes = torch.tensor([len(each) for each in words])
    starts = sizes.cumsum(0) - sizes
    sums = F.embedding_bag(found, placed, starts, per_sample_weights=weights, mode="sum")
    return F.normalize(sums, dim=1)


def word_tokens(words: Iterable[str], encoder: str) -> dict[str, Rows]:
    """Hashes of the tokens of each distinct word, int64 [n]."""
    distinct = list(dict.fromkeys(words))
    found: dict[str, Rows] = {}
    for start in range(0, len(distinct), READ_TOGETHER):
        some = distinct[start : start + READ_TOGETHER]
        tokens = load_text_graph(encoder)(some).tokens
        found |= {word: row[row != 0] for word, row in zip(some, tokens, strict=True)}
    return found
