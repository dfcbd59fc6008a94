"""Evaluation: the catalogue ranked for each query, next to popularity and chance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from visrec_training.beyond_accuracy import (
    beyond_accuracy,
    calibration,
    category_vectors,
    new_among_known,
)
from visrec_training.checkpoint import Checkpoint
from visrec_training.config import ModelConfig
from visrec_training.data import Catalogue
from visrec_training.examples import QueryWords
from visrec_training.fingerprint import fingerprint
from visrec_training.fusion_scorer import FusionScorer
from visrec_training.grounds import attention_on_object
from visrec_training.interactions import Rows
from visrec_training.metrics import random_metrics, ranking_metrics
from visrec_training.model import Model
from visrec_training.prepare import Prepared, reduce_regions
from visrec_training.regions import load_pictures
from visrec_training.retrieval import Modalities, Ranking, Typed, rank_catalogue, rank_scores
from visrec_training.split import NOTHING, Queries, Section, Split
from visrec_training.validation import nothing_held_out
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
ATTENTION_PICTURES = 200
Table = dict[str, dict[str, float]]


@dataclass(frozen=True, slots=True)
class Served:
    """A checkpoint as it answers: the scorer, and what the attention sees in each item's picture."""

    scorer: FusionScorer
    aspects: Tensor
    maps: Tensor
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


def evaluate(
    checkpoint: Checkpoint, model: Model, prepared: Prepared, device: torch.device
) -> dict[str, object]:
    """Measure a checkpoint on the queries that its training held out.

    Args:
        checkpoint: what to measure.
        model: its model, with the weights that `prepared` was encoded with.
        prepared: the data it was trained on.
        device: where to compute.

    Returns:
        Tables by section (`Split.sections`), each row → metric → value; for warm items also `beyond accuracy`
        and `calibration`; for mixed ones `new among known`, of whole histories; `picture alone`, how often an
        answer stays in the picture's category; and `attention`, how much of it lies on the object. Pictures
        that couldn't be read are listed. What the data can't tell is left out, and named with the reason in
        `not measured`.

    Raises:
        CheckpointError: the data is not what the checkpoint was trained on.
    """
    served = Served.load(checkpoint, model, prepared, device)
    catalogue, split = prepared.dataset.catalogue, prepared.split
    report: dict[str, object] = {"items": len(catalogue), "cold items": int(split.is_cold.sum())}
    if prepared.dataset.broken:
        report["broken pictures"] = list(prepared.dataset.broken)
    if sections := split.sections():
        report["queries"] = {name: len(section.queries) for name, section in sections.items()}
    for name, section in sections.items():
        rankings = ask(served, split, section)
        report[name] = _accuracy(rankings, split, section)
        if name == "warm":
            report["beyond accuracy"] = _beyond_accuracy(rankings, split, section, catalogue)
            report["calibration"] = {
                row: calibration(ranking.rows, ranking.scores, section.queries.targets)
                for row, ranking in rankings.items()
            }
        if name == "mixed":
            ranked = rankings[str(Modalities(history=True))].rows
            report["new among known"] = new_among_known(ranked, section.queries.targets, split.is_cold)
    if share := _category_share(served, catalogue.categories):
        report["picture alone"] = share
    if attention := _attention(served, catalogue, checkpoint):
        report["attention"] = attention
    if reasons := _not_measured(report, prepared):
        report["not measured"] = reasons
    return report


def _not_measured(report: dict[str, object], prepared: Prepared) -> list[str]:
    """Why parts of a report are missing: a line each."""
    split = prepared.split
    if prepared.dataset.interactions is None:
        asked = {"warm": "nothing is known about people"}
    else:
        asked = {"warm": nothing_held_out(split, "test"), "cold": _no_cold(split)}
    reasons = {
        **asked,
        "picture alone": "no two items share a category",
        "attention": "most pictures have no plain ground",
    }
    return [f"{name}, because {reason}" for name, reason in reasons.items() if name not in report]


def _no_cold(split: Split) -> str:
    """Why there are no queries for cold items."""
    if not split.is_cold.any():
        return "no items were held out"
    if split.is_fixed:
        return "nobody liked a cold item and something in train as well"
    return "nobody liked two items that were learned from, and then one that was held out"


def ask(served: Served, split: Split, section: Section) -> dict[str, Ranking]:
    """All that is asked of a model in a section, by the name of its row.

    Where people look at pictures: each combination of modalities, with words drawn from the targets. Else:
    the whole history, its last 1, 3 and 5 items (drawn at random, where no order is known), and nothing, as
    of a new visitor.
    """
    if not split.is_fixed:
        typed = served.search(np.concatenate(section.queries.targets))
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


def popularity_of(split: Split) -> Rows:
    """How many people liked each item in training, int64 [N]."""
    return np.bincount(np.concatenate([*split.train, NOTHING]), minlength=len(split.is_cold))


def rank_popular(popularity: Rows, section: Section) -> Rows:
    """The most popular items for each query, int64 [n, 20]."""
    scores = without_ties(popularity)
    return rank_scores(np.broadcast_to(scores, (len(section.queries), len(scores))), section)


def without_ties(popularity: Rows) -> npt.NDArray[np.float64]:
    """Popularity with equals in an order drawn once, float64 [N].

    The order of a catalogue may say how old or popular items are.
    """
    return popularity + np.random.default_rng(0).permutation(len(popularity)) / len(popularity)


def _accuracy(rankings: dict[str, Ranking], split: Split, section: Section) -> Table:
    targets = section.queries.targets
    table = {row: ranking_metrics(ranking.rows, targets) for row, ranking in rankings.items()}
    table["popularity"] = ranking_metrics(rank_popular(popularity_of(split), section), targets)
    table["random"] = _chance(section)
    return table


def _beyond_accuracy(
    rankings: dict[str, Ranking], split: Split, section: Section, catalogue: Catalogue
) -> Table:
    popularity, vectors = popularity_of(split), category_vectors(catalogue.categories)
    ranked = {row: ranking.rows for row, ranking in rankings.items()}
    ranked["popularity"] = rank_popular(popularity, section)
    return {row: beyond_accuracy(rows, popularity, section.ranked, vectors) for row, rows in ranked.items()}


def _chance(section: Section) -> dict[str, float]:
    queries = section.queries
    barred = np.asarray([section.ranked[seen].sum() for seen in queries.seen], dtype=np.int64)
    counts = np.asarray([len(targets) for targets in queries.targets], dtype=np.int64)
    return random_metrics(int(section.ranked.sum()) - barred, counts)


def _category_share(served: Served, categories: tuple[str, ...]) -> dict[str, float]:
    """How much of a top 10 is of the category of the picture that asked, next to chance.

    Asked for each item that shares its category with another; empty where there is none.
    """
    labels = np.unique(np.asarray(categories), return_inverse=True)[1]
    sizes = np.bincount(labels)
    asked = np.flatnonzero((sizes[labels] > 1) & (np.asarray(categories) != ""))
    if not len(asked):
        return {}
    itself = list(asked[:, None])
    section = Section(
        Queries(np.arange(len(asked)), [NOTHING] * len(asked), asked, itself, itself),
        np.ones(len(labels), dtype=bool),
    )
    ranked = served.rank(section, Modalities(picture=True)).rows[:, :10]
    share = float((labels[ranked] == labels[asked, None])[ranked >= 0].mean())
    chance = float(((sizes[labels[asked]] - 1) / (len(labels) - 1)).mean())
    return {"own category in the top 10": share, "by chance": chance, "ratio": share / chance}


@torch.no_grad()
def _attention(served: Served, catalogue: Catalogue, checkpoint: Checkpoint) -> dict[str, float]:
    """Where attention lies in a sample of pictures, sent alone."""
    rng = np.random.default_rng(checkpoint.train_config.seed)
    count = min(ATTENTION_PICTURES, len(catalogue))
    rows = np.sort(rng.choice(len(catalogue), size=count, replace=False))
    pictures, _ = load_pictures([catalogue.images[row] for row in rows], checkpoint.model_config.picture_size)
    nothing = torch.full((count, 1), -1, device=served.aspects.device)
    chosen = torch.from_numpy(rows).to(nothing.device)
    nothing_typed = Typed.nothing(count, served.scorer.space.width).tensors()
    _, attention = served.scorer.logits(
        served.aspects[chosen],
        served.maps[chosen],
        nothing,
        *(tensor.to(nothing.device) for tensor in nothing_typed),
    )
    return attention_on_object(attention.cpu().double().numpy(), pictures)


def format_report(report: dict[str, object]) -> str:
    """The report as aligned text tables."""
    lines = []
    for section, table in report.items():
        if not isinstance(table, dict) or not all(isinstance(row, dict) for row in table.values()):
            lines.append(f"{section}: {_plain(table)}")
            continue
        columns = {column: max(11, len(column) + 2) for column in next(iter(table.values()))}
        width = max(len(name) for name in (section, *table))
        lines += ["", f"{section:<{width}}" + "".join(f"{name:>{wide}}" for name, wide in columns.items())]
        for name, metrics in table.items():
            values = "".join(f"{metrics[column]:>{wide}.4f}" for column, wide in columns.items())
            lines.append(f"{name:<{width}}{values}")
        lines.append("")
    return "\n".join(lines).strip()


def _plain(value: object) -> str:
    if isinstance(value, list):
        return "; ".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(f"{name} {_plain(each)}" for name, each in value.items())
    return f"{value:.3f}" if isinstance(value, float) else str(value)
