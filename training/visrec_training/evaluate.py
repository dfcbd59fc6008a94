"""Evaluation: the full catalogue ranked for each query, next to popularity and chance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from visrec_training.checkpoint import Checkpoint
from visrec_training.data import Catalogue, Rows
from visrec_training.errors import CheckpointError
from visrec_training.examples import QueryWords
from visrec_training.fusion_scorer import FusionScorer
from visrec_training.grounds import attention_on_object
from visrec_training.metrics import random_metrics, ranking_metrics
from visrec_training.model import Model
from visrec_training.prepare import Prepared, reduce_regions
from visrec_training.regions import load_pictures
from visrec_training.retrieval import DEPTH, Modalities, rank_catalogue
from visrec_training.split import Queries

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
ATTENTION_PICTURES = 200
Table = dict[str, dict[str, float]]


@dataclass(frozen=True, slots=True)
class _Served:
    """A checkpoint as it answers: the scorer, and what the attention sees in each item's picture."""

    scorer: FusionScorer
    aspects: Tensor
    maps: Tensor


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
        Tables by section: `warm` (test queries), `cold` (targets never seen in training, ranked among all
        items), `cold alone` (ranked among cold items only), each row → metric → value; `picture alone`, how
        often an answer stays in the picture's category; and `attention`, how much of it lies on the object.
        Pictures that couldn't be read are listed. What the data can't tell is left out.

    Raises:
        CheckpointError: the data holds other items than the checkpoint.
    """
    catalogue, split = prepared.dataset.catalogue, prepared.split
    if catalogue.item_ids != checkpoint.item_ids:
        raise CheckpointError(
            f"the checkpoint knows {len(checkpoint.item_ids)} items and the data holds {len(catalogue)},"
            " not the same ones: give the data it was trained on"
        )
    model.to(device)
    reduced = reduce_regions(model.attention.reduce, prepared.regions, device)
    served = _Served(checkpoint.fusion_scorer(model).to(device), *model.aspects(reduced))
    words = QueryWords(catalogue, checkpoint.vocabulary, checkpoint.model_config.words)
    popularity = np.bincount(np.concatenate(split.train), minlength=len(catalogue)) if split.train else None
    report: dict[str, object] = {"items": len(catalogue), "cold items": int(split.is_cold.sum())}
    if prepared.dataset.broken:
        report["broken pictures"] = list(prepared.dataset.broken)
    if popularity is not None:
        report["queries"] = {"warm": len(split.test), "cold": len(split.cold)}
        sections = (
            ("warm", split.test, None),
            ("cold", split.cold, None),
            ("cold alone", split.cold, split.is_cold),
        )
        for name, queries, only in sections:
            if len(queries):
                report[name] = _table(served, queries, words, popularity, only, checkpoint.train_config.seed)
    if share := _category_share(served, catalogue.categories):
        report["picture alone"] = share
    if attention := _attention(served, catalogue, checkpoint):
        report["attention"] = attention
    return report


def _table(
    served: _Served,
    queries: Queries,
    words: QueryWords,
    popularity: Rows,
    only: npt.NDArray[np.bool_] | None,
    seed: int,
) -> Table:
    """Metrics of each combination of modalities, popularity and chance; `only` limits what is ranked."""
    tokens = words.draw(queries.targets, np.random.default_rng(seed))
    scorer = served.scorer
    if only is not None:
        barred = torch.from_numpy(np.where(only, 0.0, -1e9)).float()
        appeal = scorer.appeal[: scorer.items] + barred.to(scorer.appeal.device)
        scorer = FusionScorer(
            scorer.tower, scorer.item_vectors[: scorer.items], appeal, scorer.scale, scorer.k
        )
    table: Table = {}
    for sent in COMBINATIONS:
        ranked = rank_catalogue(scorer, served.aspects, served.maps, queries, sent, tokens)
        table[str(sent)] = ranking_metrics(ranked, queries.targets)
    table["popularity"] = ranking_metrics(_by_popularity(popularity, queries, only), queries.targets)
    total = len(popularity) if only is None else int(only.sum())
    seen = [0 if only is not None else len(history) + 1 for history in queries.histories]
    table["random"] = random_metrics(total - np.asarray(seen))
    return table


def _by_popularity(popularity: Rows, queries: Queries, only: npt.NDArray[np.bool_] | None) -> Rows:
    counts = popularity.astype(np.float64)
    if only is not None:
        counts = np.where(only, counts, -1)
    ranked = []
    for history, viewed in zip(queries.histories, queries.viewed, strict=True):
        scores = counts.copy()
        scores[history], scores[viewed] = -1, -1
        ranked.append(np.argsort(-scores, kind="stable")[:DEPTH])
    return np.stack(ranked)


def _category_share(served: _Served, categories: tuple[str, ...]) -> dict[str, float]:
    """How much of a top 10 is of the category of the picture that asked, next to chance.

    Asked for each item that shares its category with another; empty where there is none.
    """
    labels = np.unique(np.asarray(categories), return_inverse=True)[1]
    sizes = np.bincount(labels)
    asked = np.flatnonzero((sizes[labels] > 1) & (np.asarray(categories) != ""))
    if not len(asked):
        return {}
    queries = Queries([np.zeros(0, dtype=np.int64)] * len(asked), asked, asked)
    no_words = np.zeros((len(asked), 1), dtype=np.int64)
    ranked = rank_catalogue(
        served.scorer, served.aspects, served.maps, queries, Modalities(picture=True), no_words
    )[:, :10]
    share = float((labels[ranked] == labels[asked, None]).mean())
    chance = float(((sizes[labels[asked]] - 1) / (len(labels) - 1)).mean())
    return {"own category in the top 10": share, "by chance": chance, "ratio": share / chance}


@torch.no_grad()
def _attention(served: _Served, catalogue: Catalogue, checkpoint: Checkpoint) -> dict[str, float]:
    """Where attention lies in a sample of pictures, sent alone."""
    rng = np.random.default_rng(checkpoint.train_config.seed)
    count = min(ATTENTION_PICTURES, len(catalogue))
    rows = np.sort(rng.choice(len(catalogue), size=count, replace=False))
    pictures, _ = load_pictures([catalogue.images[row] for row in rows], checkpoint.model_config.picture_size)
    nothing = torch.full((count, 1), -1, device=served.aspects.device)
    chosen = torch.from_numpy(rows).to(nothing.device)
    _, attention = served.scorer.logits(
        served.aspects[chosen], served.maps[chosen], nothing, torch.zeros_like(nothing)
    )
    return attention_on_object(attention.cpu().double().numpy(), pictures)


def format_report(report: dict[str, object]) -> str:
    """The report as aligned text tables."""
    lines = []
    for section, table in report.items():
        if not isinstance(table, dict) or not all(isinstance(row, dict) for row in table.values()):
            lines.append(f"{section}: {_plain(table)}")
            continue
        columns = list(next(iter(table.values())))
        width = max(len(name) for name in table)
        lines += ["", f"{section:<{width}}" + "".join(f"{column:>11}" for column in columns)]
        for name, metrics in table.items():
            lines.append(f"{name:<{width}}" + "".join(f"{metrics[column]:>11.4f}" for column in columns))
        lines.append("")
    return "\n".join(lines).strip()


def _plain(value: object) -> str:
    if isinstance(value, list):
        return "; ".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(f"{name} {_plain(each)}" for name, each in value.items())
    return f"{value:.3f}" if isinstance(value, float) else str(value)
