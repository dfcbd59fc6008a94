"""A checkpoint as it answers, and all that it is asked of people."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from visrec_training.checkpoint import Checkpoint
from visrec_training.config import ModelConfig
from visrec_training.examples import QueryWords
from visrec_training.fingerprint import fingerprint
from visrec_training.fusion_scorer import FusionScorer
from visrec_training.model import Model
from visrec_training.prepare import Prepared, reduce_regions
from visrec_training.queries import Section
from visrec_training.retrieval import Modalities, Ranking, Typed, rank_catalogue
from visrec_training.rows import Rows
from visrec_training.scratch import Stored
from visrec_training.split import Split
from visrec_training.vocabulary import Vocabulary

COMBINATIONS = (
    Modalities(),
    Modalities(history=True),
    Modalities(history=True, viewed_in_history=True),
    Modalities(picture=True),
    Modalities(picture=True, history=True),
    Modalities(words=True),
    Modalities(picture=True, words=True),
    Modalities(picture=True, history=True, words=True),
)
SHORT_HISTORIES = (1, 3, 5)


@dataclass(frozen=True, slots=True)
class Served:
    """A checkpoint as it answers: the scorer, and what the attention sees in each item's picture."""

    scorer: FusionScorer
    aspects: Stored
    maps: Stored
    words: QueryWords
    vocabulary: Vocabulary
    config: ModelConfig
    seed: int

    @classmethod
    def load(cls, checkpoint: Checkpoint, model: Model, prepared: Prepared, device: torch.device) -> Served:
        """Bring a checkpoint and its catalogue to `device`. Arguments and errors as for `evaluate`."""
        catalogue = prepared.dataset.catalogue
        checkpoint.check_data(fingerprint(prepared.dataset, prepared.regions, prepared.split))
        model.to(device)
        reduced = reduce_regions(model.attention.reduce, prepared.regions, device)
        return cls(
            checkpoint.fusion_scorer(model).to(device),
            *model.aspects(reduced),
            QueryWords(catalogue, checkpoint.vocabulary, checkpoint.model_config),
            checkpoint.vocabulary,
            checkpoint.model_config,
            checkpoint.train_config.seed,
        )

    def rank(self, section: Section, sent: Modalities, typed: Typed | None = None) -> Ranking:
        """Ask the queries of a section; without `typed`, no words are sent."""
        return rank_catalogue(self.scorer, self.aspects, self.maps, section, sent, typed)

    def search(self, items: Rows) -> Typed:
        """Draw a search for each item, int64 [n], the same each time."""
        drawn = self.words.draw(items, np.random.default_rng(self.seed))
        return Typed.read(drawn.texts, self.vocabulary, self.config)


def ask(served: Served, split: Split, section: Section) -> dict[str, Ranking]:
    """All that is asked of a model in a section, by the name of its row.

    Where people look at pictures: each combination of modalities, with words drawn from the targets. Else:
    the whole history, its last 1, 3 and 5 items (drawn at random, where no order is known), and nothing, as
    of a new visitor.
    """
    if not split.is_fixed:
        typed = served.search(section.queries.targets.values)
        return {str(sent): served.rank(section, sent, typed) for sent in COMBINATIONS}
    history = Modalities(history=True)
    rankings = {str(sent): served.rank(section, sent) for sent in (Modalities(), history)}
    for count in SHORT_HISTORIES:
        rankings[f"history-{count}"] = served.rank(shortened(split, section, count, served.seed), history)
    return rankings


def shortened(split: Split, section: Section, count: int, seed: int) -> Section:
    """A section asked by people of whom `count` items are known."""
    rng = None if split.has_order else np.random.default_rng([seed, count])
    return Section(section.queries.with_recent(count, rng), section.ranked)
