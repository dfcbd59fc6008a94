"""Training examples: what a person had in front of them, and what they turned to next."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from visrec_training.config import ModelConfig, TrainConfig
from visrec_training.data import Catalogue
from visrec_training.item_texts import word_tokens
from visrec_training.rows import Ragged, Rows
from visrec_training.split import Split
from visrec_training.vocabulary import Vocabulary

MAX_QUERY_WORDS = 3
TOLD = (0.3, 0.9)  # share of what a person liked that the rest is asked from
HISTORY_LENGTHS = (50, 100, 200, 400)  # each costs a request more
READ_WHOLE = 0.95  # of the histories


@dataclass(frozen=True, slots=True)
class Batch:
    """Requests, as rows of the catalogue and the vocabulary; -1 is an absent picture or history item."""

    pictures: Tensor
    """int64 [B]: the item whose picture is looked at."""
    history: Tensor
    """int64 [B, L]."""
    tokens: Tensor
    """int64 [B, T]."""
    targets: Tensor
    """int64 [B, G], one or more right answers, then -1."""

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device."""
        return Batch(
            *(getattr(self, name).to(device) for name in ("pictures", "history", "tokens", "targets"))
        )


def history_length(sequences: Ragged) -> int:
    """The shortest of `HISTORY_LENGTHS` that reads nearly all sequences of training whole, or the longest."""
    lengths = sequences.sizes[sequences.sizes > 0]
    needed = np.quantile(lengths, READ_WHOLE) if len(lengths) else 0
    return next((length for length in HISTORY_LENGTHS if length >= needed), HISTORY_LENGTHS[-1])


def pad_histories(histories: Sequence[Rows], length: int) -> Rows:
    """The last `length` items of each history, oldest first, then -1: int64 [n, length]."""
    padded = np.full((len(histories), length), -1, dtype=np.int64)
    for row, history in enumerate(histories):
        recent = history[-length:]
        padded[row, : len(recent)] = recent
    return padded


@dataclass(frozen=True, slots=True)
class Searches:
    """What people might have typed: n texts."""

    texts: list[str]
    tokens: Rows
    """int64 [n, T], rows of the vocabulary; all 0 where nothing was typed."""


class QueryWords:
    """Makes up what a person might have typed to find an item: one to three of its own words.

    Interactions don't say what was typed; these words are simulated, in training and wherever they measure.
    """

    def __init__(self, catalogue: Catalogue, vocabulary: Vocabulary, config: ModelConfig) -> None:
        """Prepare each item's words.

        Args:
            catalogue: the items.
            vocabulary: knows the words.
            config: says which text encoder reads them, and how many tokens a search has.
        """
        self._length, self._catalogue = config.words, catalogue
        words = (word for row in range(len(catalogue)) for word in catalogue.text(row).split())
        hashes = word_tokens(words, config.text_encoder)
        self._rows = {word: vocabulary.known(found) for word, found in hashes.items()}

    def draw(self, items: Rows, rng: np.random.Generator) -> Searches:
        """A search for each item; nothing for an item without words."""
        texts, tokens = [], np.zeros((len(items), self._length), dtype=np.int64)
        for index, item in enumerate(items):
            words = self._catalogue.text(item).split()
            known, drawn = [(word, self._rows[word]) for word in words if self._rows[word]], []
            if known:
                count = min(len(known), rng.integers(1, MAX_QUERY_WORDS + 1))
                drawn = [known[place] for place in rng.choice(len(known), size=count, replace=False)]
                rows = [row for _, found in drawn for row in found][: self._length]
                tokens[index, : len(rows)] = rows
            texts.append(" ".join(word for word, _ in drawn))
        return Searches(texts, tokens)


class Examples(ABC):
    """What training asks, a batch at a time."""

    @abstractmethod
    def __len__(self) -> int:
        """How many examples there are."""

    def batches(self, config: TrainConfig, epoch: int, most: int) -> Iterator[Batch]:
        """Examples, each once at most, in an order and with modalities that seed and epoch decide."""
        rng = np.random.default_rng([config.seed, epoch])
        order = rng.permutation(len(self))[:most]
        for start in range(0, len(order), config.batch):
            yield self._batch(order[start : start + config.batch], config, rng)

    @abstractmethod
    def _batch(self, chosen: Rows, config: TrainConfig, rng: np.random.Generator) -> Batch:
        """The examples at `chosen`, int64 [B]."""


class NextItem(Examples):
    """An example for each interaction but a person's first: what came before it asks for it."""

    def __init__(self, sequences: Ragged, query_words: QueryWords, history: int) -> None:
        """Lay the sequences out flat.

        Args:
            sequences: a user each, in time order, at least one of two items or more; -1 is no item, before
                which nothing is known.
            query_words: makes up searches.
            history: L.
        """
        told = sequences.part(np.flatnonzero(sequences.sizes >= 2))
        self._flat = told.values
        self._starts = told.starts.repeat(told.sizes - 1)
        self._positions = np.delete(np.arange(len(told.values)), told.starts)
        self._query_words, self._history = query_words, history

    def __len__(self) -> int:
        return len(self._positions)

    def _batch(self, chosen: Rows, config: TrainConfig, rng: np.random.Generator) -> Batch:
        positions, starts = self._positions[chosen], self._starts[chosen]
        size = len(chosen)
        targets = self._flat[positions]
        has_picture = rng.random(size) < config.keep_picture
        # the viewed item joins the history half the time when its picture is not sent
        left_out = has_picture | (rng.random(size) < 0.5)
        ends = np.where(rng.random(size) < config.keep_history, positions - left_out, starts)
        has_words = rng.random(size) < config.keep_words
        tokens = self._query_words.draw(targets, rng).tokens * has_words[:, None]
        return Batch(
            pictures=torch.from_numpy(np.where(has_picture, self._flat[positions - 1], -1)),
            history=torch.from_numpy(self._window(starts, ends)),
            tokens=torch.from_numpy(tokens),
            targets=torch.from_numpy(targets[:, None]),
        )

    def _window(self, starts: Rows, ends: Rows) -> Rows:
        """The last L items of flat[start:end], one row an example, padded with -1 to the longest."""
        begins = np.maximum(starts, ends - self._history)
        places = begins[:, None] + np.arange(max(1, (ends - begins).max()))
        inside: npt.NDArray[np.bool_] = places < ends[:, None]
        return np.where(inside, self._flat[np.minimum(places, len(self._flat) - 1)], -1)


class AnyItem(Examples):
    """An example for each person: some of what they liked asks for all the rest.

    So learns a denoising autoencoder over sets (Liang et al., Variational Autoencoders for Collaborative
    Filtering, WWW 2018).
    """

    def __init__(self, sequences: Ragged, query_words: QueryWords, history: int) -> None:
        """Arguments as for `NextItem`."""
        self._sequences = sequences.part(np.flatnonzero(sequences.sizes >= 2))
        self._query_words, self._history = query_words, history

    def __len__(self) -> int:
        return len(self._sequences)

    def _batch(self, chosen: Rows, config: TrainConfig, rng: np.random.Generator) -> Batch:
        pictures, histories, targets = [], [], []
        # from new visitors to old friends: half of the batches know little of anybody
        most = int(np.ceil(self._history ** rng.random()))
        searched = np.full(len(chosen), -1, dtype=np.int64)
        for index, person in enumerate(chosen):
            sequence = self._sequences[person]
            told = rng.random(len(sequence)) < min(rng.uniform(*TOLD), most / len(sequence))
            told[rng.integers(len(sequence))] = False  # something is left to ask for
            history, wanted = sequence[told], sequence[~told]
            viewed = -1
            if len(history) and rng.random() < config.keep_picture:
                viewed = int(rng.choice(history))
                history = history[history != viewed]
            if rng.random() >= config.keep_history:
                history = history[:0]
            if rng.random() < config.keep_words:  # a search is for one item
                wanted = rng.choice(wanted, size=1)
                searched[index] = wanted[0]
            pictures.append(viewed)
            histories.append(history)
            targets.append(wanted)
        tokens = self._query_words.draw(searched, rng).tokens * (searched >= 0)[:, None]
        longest = min(self._history, max(1, *map(len, histories)))
        return Batch(
            pictures=torch.tensor(pictures),
            history=torch.from_numpy(pad_histories(histories, longest)),
            tokens=torch.from_numpy(tokens),
            targets=torch.from_numpy(pad_histories(targets, max(map(len, targets)))),
        )


def follows(sequences: Ragged) -> bool:
    """Whether anybody chose one item after another, which behaviour is learned from."""
    return bool((sequences.sizes >= 2).any())


def make_examples(
    split: Split, catalogue: Catalogue, query_words: QueryWords, history: int, config: TrainConfig
) -> Examples:
    """Make examples of what people did, or of content where no item follows another.

    There, each choice that is known is asked for with no picture and no history: so a new visitor is led to
    what is popular.

    Args:
        split: at least one of its items is warm.
        catalogue: the items.
        query_words: makes up searches.
        history: L.
        config: says what is asked for.
    """
    if follows(split.train):
        by_order = "next" if split.has_order else "any"
        wanted = by_order if config.predict == "auto" else config.predict
        kind = NextItem if wanted == "next" else AnyItem
        return kind(split.train, query_words, history)
    pairs = np.concatenate(
        [
            content_pairs(catalogue, split.warm_items, config.seed),
            np.stack([np.full_like(split.train.values, -1), split.train.values], axis=1),
        ]
    )
    return NextItem(Ragged.by_size(pairs.flatten(), np.full(len(pairs), 2)), query_words, history)


def content_pairs(catalogue: Catalogue, rows: Rows, seed: int, each: int = 8) -> Rows:
    """Stand-ins for behaviour where there is none: items of one category follow each other.

    Each item is once in each of `each` pairs; where it has no category, or is alone in it, it follows itself,
    so that a picture at least finds what looks like it.

    Args:
        catalogue: the items.
        rows: int64 [n], which of them take part.
        seed: decides who follows whom.
        each: pairs that start with an item.

    Returns:
        int64 [each · n, 2].
    """
    rng = np.random.default_rng(seed)
    groups: dict[str, list[int]] = {}
    for row in rows.tolist():
        groups.setdefault(catalogue.categories[row] or f"\0{row}", []).append(row)
    pairs = [np.zeros((0, 2), dtype=np.int64)]
    for group in groups.values():
        for row in group:
            pairs.append(np.stack([np.full(each, row), rng.choice(group, size=each)], axis=1))
    return np.concatenate(pairs)
