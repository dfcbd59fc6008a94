"""Evaluation: the catalogue ranked for each query, next to baselines and chance."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from visrec_training.baselines import popularity_of
from visrec_training.beyond_accuracy import (
    beyond_accuracy,
    calibration,
    category_vectors,
    new_among_known,
)
from visrec_training.bootstrap import FEWEST_PEOPLE, interval, resampled_means
from visrec_training.checkpoint import Checkpoint
from visrec_training.data import Catalogue
from visrec_training.grounds import attention_on_object
from visrec_training.intervals import HISTORY, how_sure
from visrec_training.metrics import Table, Values, means, query_metrics, random_metrics
from visrec_training.model import Model
from visrec_training.picture_worth import PICTURES, RANDOM_BACKBONE, Seen, picture_worth, sentences
from visrec_training.prepare import Prepared
from visrec_training.queries import Queries, Section
from visrec_training.query_results import SectionResults
from visrec_training.references import CLOSED_FORM, MOST_ITEMS, POPULARITY, RANDOM, references
from visrec_training.regions import load_pictures
from visrec_training.retrieval import Modalities, Typed
from visrec_training.rows import Ragged, Rows
from visrec_training.served import SHORT_HISTORIES, Served, ask, shortened
from visrec_training.split import Split
from visrec_training.validation import nothing_held_out

EVALUATION = "evaluation.json"
"""The file that keeps the report, beside the checkpoint that it tells of."""
ATTENTION_PICTURES = 200
WORTH = "worth of pictures"
NEW_ITEMS = ("cold alone", "cold")
"""Sections whose right answers are new items alone."""


class Evaluation(NamedTuple):
    """What was measured."""

    report: dict[str, object]
    results: dict[str, SectionResults]
    """By section, query by query."""


def evaluate(
    checkpoint: Checkpoint,
    model: Model,
    prepared: Prepared,
    device: torch.device,
    closed_form: Checkpoint | None = None,
    random: Seen | None = None,
) -> Evaluation:
    """Measure a checkpoint on the queries that its training held out.

    Args:
        checkpoint: what to measure.
        model: its model, with the weights that `prepared` was encoded with.
        prepared: the data it was trained on.
        device: where to compute.
        closed_form: what the checkpoint was before it was trained by gradient, to compare with.
        random: the pictures as a backbone of random weights sees them, to compare with.

    Returns:
        A report, and what it was made from. The report has `checkpoint`, its digest; tables by section
        (`Split.sections`), each row → metric → value, the model's rows before those of what it is compared
        with (`references`); in each row also `METRIC interval`, the two ends of a 95% interval over people
        (`intervals`), and beside the tables `ratios` of rows, both left out where too few people ask; `short
        histories`, NDCG@10 on warm items by how much is known of a person; for warm items also `beyond
        accuracy` and `calibration`; for mixed ones `new among known`, of whole histories; `picture alone`,
        how often an answer stays in the picture's category; `attention`, how much of it lies on the object;
        and `pictures`, what they are worth (`picture_worth`), which `worth of pictures` puts in words.
        Pictures that couldn't be read are listed. What the data can't tell is left out, and named with the
        reason in `not measured`.

    Raises:
        CheckpointError: the data is not what a checkpoint was trained on.
    """
    served = Served.load(checkpoint, model, prepared, device)
    epochs, untrained = checkpoint.progress["epoch"], None
    if closed_form:
        untrained = Served.load(closed_form, closed_form.model(), prepared, device)
    elif not epochs:
        untrained = served
    catalogue, split = prepared.dataset.catalogue, prepared.split
    report: dict[str, object] = {
        "checkpoint": checkpoint.digest(),
        "model": f"trained, epoch {epochs}" if epochs else CLOSED_FORM,
        "items": len(catalogue),
        "cold items": int(split.is_cold.sum()),
    }
    if prepared.dataset.broken:
        report["broken pictures"] = list(prepared.dataset.broken)
    results: dict[str, SectionResults] = {}
    if sections := split.sections():
        report["queries"] = {name: len(section.queries) for name, section in sections.items()}
        people, results = _people(served, untrained if epochs else None, prepared, sections)
        report |= people
    if share := _category_share(served, catalogue.categories):
        report["picture alone"] = share
    if attention := _attention(served, catalogue, checkpoint):
        report["attention"] = attention
    if sections and len(split.valid):
        # one that was fitted before fine-tuning knows the pictures as an earlier backbone saw them
        intact = None if checkpoint.train_config.finetune_blocks else untrained
        worth = picture_worth(prepared, model.encoder, checkpoint, device, intact, random)
        report |= {PICTURES: worth, WORTH: sentences(worth)}
    if reasons := _not_measured(report, prepared, compared=untrained is not None, random=random is not None):
        report["not measured"] = reasons
    return Evaluation(report, results)


def _people(
    served: Served, closed_form: Served | None, prepared: Prepared, sections: dict[str, Section]
) -> Evaluation:
    """What a report tells of people's queries, and what they reached one by one."""
    split, catalogue = prepared.split, prepared.dataset.catalogue
    rankings = {name: ask(served, split, section) for name, section in sections.items()}
    ranked = {name: {row: each.rows for row, each in table.items()} for name, table in rankings.items()}
    short = _short(split, sections, served.seed)
    ranked |= {name: {"model": ranked["warm"][name]} for name in short}
    for reference in references(prepared, closed_form):
        for name, section in (sections | short).items():
            if reference.knows_new or name not in NEW_ITEMS:
                ranked[name][reference.name] = reference.rank(section)
    report: dict[str, object] = {}
    results: dict[str, SectionResults] = {}
    ratios: Table = {}
    for name, section in sections.items():
        targets = section.queries.targets
        measured = _each_query(ranked[name], targets) | {RANDOM: _chance(section)}
        results[name] = SectionResults.of(section, measured)
        intervals, compared = how_sure(name, results[name])
        report[name] = {row: means(metrics) | intervals.get(row, {}) for row, metrics in measured.items()}
        ratios |= compared
        if name == "warm":
            told = {row: ranked[name][row] for row in (*rankings[name], POPULARITY)}
            report["beyond accuracy"] = _beyond_accuracy(told, split, section, catalogue)
            report["calibration"] = {
                row: calibration(ranking.rows, ranking.scores, targets)
                for row, ranking in rankings[name].items()
            }
        if name == "mixed":
            report["new among known"] = new_among_known(ranked[name][HISTORY], targets, split.is_cold)
    if ratios:
        report["ratios"] = ratios
    if short:
        reached = {name: _each_query(ranked[name], each.queries.targets) for name, each in short.items()}
        report["short histories"] = {
            row: {name: means(table[row])["ndcg@10"] for name, table in reached.items()}
            for row in ranked[next(iter(short))]
        }
    return Evaluation(report, results)


def _short(split: Split, sections: dict[str, Section], seed: int) -> dict[str, Section]:
    """What people ask for warm items of whom little is known; nothing where they look at pictures."""
    if not split.is_fixed or "warm" not in sections:
        return {}
    return {f"history-{count}": shortened(split, sections["warm"], count, seed) for count in SHORT_HISTORIES}


def _not_measured(
    report: dict[str, object], prepared: Prepared, *, compared: bool, random: bool
) -> list[str]:
    """Why parts of a report are missing: a line each.

    Args:
        report: what there is.
        prepared: the data.
        compared: whether the model stands beside its closed form, or is one.
        random: whether a backbone of random weights was asked for.
    """
    split, items = prepared.split, len(prepared.dataset.catalogue)
    asked = {"warm": nothing_held_out(split, "test"), "cold": _no_cold(split)}
    if prepared.dataset.interactions is None:
        asked = {"warm": "nothing is known about people"}
    reasons = {
        **asked,
        "picture alone": "no two items share a category",
        "attention": "most pictures have no plain ground",
    }
    lines = {name: reason for name, reason in reasons.items() if name not in report}
    if split.sections() and items > MOST_ITEMS:
        lines["baselines"] = (
            f"their matrices of {items:,} by {items:,} items are too large: at most {MOST_ITEMS:,}"
        )
    if split.sections() and not compared:
        lines[CLOSED_FORM] = "none of this data is beside the checkpoint"
    if split.sections() and PICTURES not in report:
        lines[PICTURES] = nothing_held_out(split, "valid")
    elif PICTURES in report and not random:
        lines[RANDOM_BACKBONE] = "pictures must be encoded anew for it: ask for it with --random-backbone"
    return [f"{name}, because {reason}" for name, reason in lines.items()]


def _no_cold(split: Split) -> str:
    """Why there are no queries for cold items."""
    if not split.is_cold.any():
        return "no items were held out"
    if split.is_fixed:
        return "nobody liked a cold item and something in train as well"
    return "nobody liked two items that were learned from, and then one that was held out"


def _each_query(ranked: dict[str, Rows], targets: Ragged) -> dict[str, dict[str, Values]]:
    return {row: query_metrics(rows, targets) for row, rows in ranked.items()}


def _beyond_accuracy(ranked: dict[str, Rows], split: Split, section: Section, catalogue: Catalogue) -> Table:
    popularity, vectors = popularity_of(split), category_vectors(catalogue.categories)
    return {row: beyond_accuracy(rows, popularity, section.ranked, vectors) for row, rows in ranked.items()}


def _chance(section: Section) -> dict[str, Values]:
    queries = section.queries
    barred = queries.seen.where(section.ranked[queries.seen.values]).sizes
    return random_metrics(int(section.ranked.sum()) - barred, queries.targets.sizes)


def _category_share(served: Served, categories: tuple[str, ...]) -> dict[str, float | list[float]]:
    """How much of a top 10 is of the category of the picture that asked, next to chance.

    Asked for each item that shares its category with another; empty where there is none. The interval of the
    ratio is one over pictures.
    """
    labels = np.unique(np.asarray(categories), return_inverse=True)[1]
    sizes = np.bincount(labels)
    asked = np.flatnonzero((sizes[labels] > 1) & (np.asarray(categories) != ""))
    if not len(asked):
        return {}
    nothing, itself = Ragged.empty(len(asked)), Ragged.single(asked)
    queries = Queries(np.arange(len(asked)), nothing, asked, itself, itself)
    section = Section(queries, np.ones(len(labels), dtype=bool))
    ranked = served.rank(section, Modalities(picture=True)).rows[:, :10]
    answered = ranked >= 0
    same = (labels[ranked] == labels[asked, None])[answered].astype(np.float64)
    share, chance = float(same.mean()), float(((sizes[labels[asked]] - 1) / (len(labels) - 1)).mean())
    told: dict[str, float | list[float]] = {
        "own category in the top 10": share,
        "by chance": chance,
        "ratio": share / chance,
    }
    if len(asked) >= FEWEST_PEOPLE:
        ends = interval(resampled_means(same, np.nonzero(answered)[0]))
        told["ratio interval"] = (ends / chance).tolist()
    return told


@torch.no_grad()
def _attention(
    served: Served, catalogue: Catalogue, checkpoint: Checkpoint
) -> dict[str, float | list[float]]:
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
