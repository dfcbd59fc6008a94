"""Asking a model the queries of a split, with some of the modalities, and ranking the catalogue."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from visrec_training.config import ModelConfig
from visrec_training.examples import pad_histories
from visrec_training.fusion_scorer import FusionScorer
from visrec_training.item_texts import load_text_graph
from visrec_training.queries import Section
from visrec_training.query_tower import Said
from visrec_training.rows import Ragged, Rows
from visrec_training.scratch import Stored
from visrec_training.vocabulary import Vocabulary

DEPTH = 20
BATCH, LOGITS = 512, 1 << 26
"""Questions at once, and how many logits they may make: fewer where items are very many."""


@dataclass(frozen=True, slots=True)
class Modalities:
    """What a query sends."""

    picture: bool = False
    history: bool = False
    words: bool = False
    viewed_in_history: bool = False
    """The viewed item joins the history, as it does for a caller who sends no picture."""

    def __str__(self) -> str:
        history = "history with the viewed item" if self.viewed_in_history else "history"
        named = (("picture", self.picture), (history, self.history), ("words", self.words))
        return " + ".join(name for name, sent in named if sent) or "nothing"


@dataclass(frozen=True, slots=True)
class Typed:
    """n texts, as the model reads them."""

    tokens: Rows
    """int64 [n, T], rows of the vocabulary."""
    hashes: Rows
    """int64 [n, T]."""
    sentences: npt.NDArray[np.float32]
    """float32 [n, W]."""

    @classmethod
    def nothing(cls, count: int, width: int) -> Typed:
        """Of people who type nothing."""
        none = np.zeros((count, 1), dtype=np.int64)
        return cls(none, none, np.zeros((count, width), dtype=np.float32))

    @classmethod
    def read(cls, texts: Sequence[str], vocabulary: Vocabulary, config: ModelConfig) -> Typed:
        """Texts as they are served: by the text graph and the vocabulary."""
        read = load_text_graph(config.text_encoder)(texts)
        hashes = read.tokens[:, : config.words]
        return cls(vocabulary.rows(hashes), hashes, read.sentence)

    def tensors(self, chosen: slice = slice(None)) -> tuple[Tensor, Tensor, Tensor]:
        """What a scorer takes, of some of the texts."""
        return (
            torch.from_numpy(self.tokens[chosen]),
            torch.from_numpy(self.hashes[chosen]),
            torch.from_numpy(self.sentences[chosen]),
        )


@dataclass(frozen=True, slots=True)
class Ranking:
    """The best 20 items for each query of a section."""

    rows: Rows
    """int64 [n, 20], best first; -1 where fewer items are ranked."""
    scores: npt.NDArray[np.float32]
    """float32 [n, 20]: SCORE, the softmax over the whole catalogue; 0 beside -1."""


class Read(NamedTuple):
    """Some queries of a section, as the model has read them."""

    said: Said
    history: Tensor
    """int64 [B, L], rows; -1 pads."""
    text: tuple[Tensor, Tensor, Tensor]
    """Tokens, hashes and sentences."""


@torch.inference_mode()
def rank_catalogue(
    scorer: FusionScorer,
    aspects: Tensor | Stored,
    maps: Tensor | Stored,
    section: Section,
    modalities: Modalities,
    typed: Typed | None = None,
) -> Ranking:
    """Ask the queries of a section.

    Args:
        scorer: holds the catalogue.
        aspects: float [N, M, d], of the catalogue's pictures.
        maps: float [N, M, 49].
        section: n queries, and the items that are ranked for them.
        modalities: what is sent.
        typed: n texts; used only if `modalities.words`.
    """
    rows = [np.zeros((0, DEPTH), dtype=np.int64)]
    scores = [np.zeros((0, DEPTH), dtype=np.float32)]
    start = 0
    for each in read_queries(scorer, aspects, maps, section, modalities, typed):
        logits = scorer.compare(each.said, each.history, *each.text)
        best = best_items(logits, section, start)
        rows.append(best.cpu().numpy())
        scores.append(probabilities(logits, best).cpu().numpy())
        start += len(logits)
    return Ranking(np.concatenate(rows), np.concatenate(scores))


@torch.inference_mode()
def read_queries(
    scorer: FusionScorer,
    aspects: Tensor | Stored,
    maps: Tensor | Stored,
    section: Section,
    modalities: Modalities,
    typed: Typed | None = None,
) -> Iterator[Read]:
    """Have the model read the queries of a section, a batch at a time. Arguments as for `rank_catalogue`."""
    queries = section.queries.with_viewed() if modalities.viewed_in_history else section.queries
    device = scorer.item_vectors.device
    if typed is None or not modalities.words:
        typed = Typed.nothing(len(queries), scorer.space.width)
    batch = max(1, min(BATCH, LOGITS // scorer.items))
    for start in range(0, len(queries), batch):
        chosen = slice(start, start + batch)
        viewed = queries.viewed[chosen]
        told = queries.histories[chosen] if modalities.history else Ragged.empty(len(viewed))
        longest = int(told.sizes.max(initial=1))
        padded = pad_histories(told, min(longest, scorer.tower.history.recency.shape[1]))
        history = torch.from_numpy(padded).to(device)
        pictures = torch.from_numpy(viewed.clip(min=0)).to(device)
        has_picture = torch.from_numpy((viewed >= 0) & modalities.picture).to(device).view(-1, 1, 1)
        tokens, hashes, sentences = (each.to(device) for each in typed.tensors(chosen))
        said, _ = scorer.read(
            aspects[pictures] * has_picture, maps[pictures] * has_picture, history, tokens, hashes
        )
        yield Read(said, history, (tokens, hashes, sentences))


def probabilities(logits: Tensor, best: Tensor) -> Tensor:
    """The softmax over the catalogue of the best items, int64 [B, k]; 0 beside -1."""
    chosen = (logits.gather(1, best.clamp_min(0)) - logits.logsumexp(1, keepdim=True)).exp()
    return chosen * (best >= 0)


def rank_scores(scores: npt.NDArray[np.floating[Any]], section: Section) -> Rows:
    """The best 20 items for each query of a section, int64 [n, 20], by scores of any origin, [n, N]."""
    blocks = [
        best_items(torch.from_numpy(np.array(scores[start : start + BATCH])), section, start)
        for start in range(0, len(scores), BATCH)
    ]
    return torch.cat(blocks).numpy() if blocks else np.zeros((0, DEPTH), dtype=np.int64)


def best_items(values: Tensor, section: Section, start: int = 0) -> Tensor:
    """The best 20 of what a section ranks.

    Args:
        values: float [n, N], for the section's queries `start`, `start` + 1, ….
        section: says what is ranked, and what each query has seen.
        start: the first query that `values` answers.

    Returns:
        int64 [n, 20], item rows, best first; -1 where fewer are ranked.
    """
    return best_of(values.masked_fill(barred(section, start, len(values), values.device), -torch.inf))


def barred(section: Section, start: int, count: int, device: torch.device) -> Tensor:
    """What is not ranked for `count` queries of a section from `start` on: bool [count, N]."""
    seen = section.queries.seen[start : start + count]
    found = torch.from_numpy(~section.ranked).to(device).repeat(len(seen), 1)
    found[torch.from_numpy(seen.owners), torch.from_numpy(seen.values)] = True
    return found


def best_of(values: Tensor) -> Tensor:
    """Columns of the 20 largest of each row, int64 [n, 20], largest first; -1 in place of -inf."""
    best, rows = values.topk(min(DEPTH, values.shape[1]), dim=-1)
    rows = rows.masked_fill(best == -torch.inf, -1)
    return torch.nn.functional.pad(rows, (0, DEPTH - rows.shape[1]), value=-1)
