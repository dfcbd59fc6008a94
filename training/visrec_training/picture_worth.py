"""What pictures are worth: the closed form fitted with the pictures, next to the same with them knocked out.

Gradient training with each knock-out would take as long as training did, several times over. The closed form
is fitted in seconds to a minute, and it is what gradient training starts from.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from tqdm import tqdm

from visrec_training.bootstrap import interval, resampled_means
from visrec_training.checkpoint import Checkpoint
from visrec_training.encoder import Encoder
from visrec_training.knock_outs import KNOCK_OUTS, NO_PICTURES, SHUFFLED_PICTURES
from visrec_training.metrics import Table, Values, query_metrics
from visrec_training.prepare import Prepared
from visrec_training.queries import Section
from visrec_training.regions import Regions
from visrec_training.retrieval import Modalities
from visrec_training.served import Served
from visrec_training.split import Split
from visrec_training.train import Trainer

PICTURES, RANDOM_BACKBONE = "pictures", "random backbone"
ITEMS = {"new items": "cold alone", "known items": "warm"}
"""The section that asks for each."""
HISTORY, PICTURE = Modalities(history=True), Modalities(picture=True)


class Seen(NamedTuple):
    """Pictures as an encoder sees them."""

    encoder: Encoder
    regions: Regions


class Asked(NamedTuple):
    """Questions, and what is sent with them."""

    section: Section
    sent: Modalities


def picture_worth(
    prepared: Prepared,
    encoder: Encoder,
    checkpoint: Checkpoint,
    device: torch.device,
    intact: Served | None = None,
    random: Seen | None = None,
) -> Table:
    """Fit the closed form with pictures and without, and ask each the same questions.

    Args:
        prepared: the data; some of its people are held out to validate on.
        encoder: what its pictures were encoded with.
        checkpoint: has the settings of the model.
        device: where to compute.
        intact: the closed form fitted with the pictures, if there is one already.
        random: the pictures as a backbone of random weights sees them.

    Returns:
        Row `new items, history: no pictures` → `ndcg@10`; `lost`, how much less that is than with pictures,
        query by query; and `low` and `high`, the 95% bootstrap interval of `lost` over people. In place of
        `new items`, `known items`; of `history`, `picture` where people look at one.
    """

    def fit(data: Prepared, backbone: Encoder) -> Served:
        return fit_closed_form(data, backbone, checkpoint, device)

    fits: dict[str, Callable[[], Served]] = {PICTURES: lambda: intact or fit(prepared, encoder)}
    for name in (SHUFFLED_PICTURES, NO_PICTURES):
        fits[name] = partial(lambda knock_out: fit(knock_out(prepared), encoder), KNOCK_OUTS[name])
    if random:
        seen = dataclasses.replace(prepared, regions=random.regions)
        fits[RANDOM_BACKBONE] = partial(fit, seen, random.encoder)
    asked = _asked(prepared.split)
    reached: dict[str, dict[str, Values]] = {}
    with tqdm(fits.items(), desc="knocking out pictures", unit="model") as progress:
        for name, fitted in progress:
            model = fitted()
            reached[name] = {question: _ndcg(model, each) for question, each in asked.items()}
    return {
        f"{question}: {name}": _row(reached[PICTURES][question], reached[name][question], each.section)
        for question, each in asked.items()
        for name in fits
    }


def fit_closed_form(
    prepared: Prepared, encoder: Encoder, checkpoint: Checkpoint, device: torch.device
) -> Served:
    """Fit all that needs no gradient, with a checkpoint's settings. Arguments as for `picture_worth`."""
    config = dataclasses.replace(checkpoint.train_config, epochs=0)
    with tempfile.TemporaryDirectory(prefix="visrec-") as folder:
        Trainer(prepared, encoder, checkpoint.model_config, config, Path(folder), device).run()
        fitted = Checkpoint.load(Path(folder) / "best.pt")
    return Served.load(fitted, fitted.model(), prepared, device)


def sentences(table: Table) -> list[str]:
    """What a table of `picture_worth` says of new and of known items, asked by history: a sentence each."""
    rows = {items: table.get(f"{items}, {HISTORY}: {NO_PICTURES}") for items in ITEMS}
    return [_sentence(items, row) for items, row in rows.items() if row]


def _sentence(items: str, row: dict[str, float]) -> str:
    without, gained = row["ndcg@10"], row["lost"]
    if not without:
        return f"Without pictures, no {items} are found" if gained else f"Pictures do not help {items}"
    if not (row["low"] or row["high"]):
        return f"Pictures make no difference to {items}"
    low, high = row["low"] / without, row["high"] / without
    sure = f"({low:+.1%} to {high:+.1%})"
    if gained <= 0:
        return f"Pictures do not help {items}: NDCG@10 {gained / without:+.1%} {sure}"
    chance = ", which may be chance" if low <= 0 else ""
    return f"Pictures lift {items}' NDCG@10 by {gained / without:.1%} {sure}{chance}"


def _asked(split: Split) -> dict[str, Asked]:
    """The questions, by items and what is sent."""
    sections, sent = split.sections(), (HISTORY,) if split.is_fixed else (HISTORY, PICTURE)
    return {
        f"{items}, {each}": Asked(sections[name], each)
        for items, name in ITEMS.items()
        for each in sent
        if name in sections
    }


def _ndcg(model: Served, asked: Asked) -> Values:
    """NDCG@10 of each query, float64 [n]."""
    ranked = model.rank(asked.section, asked.sent).rows
    return query_metrics(ranked, asked.section.queries.targets)["ndcg@10"]


def _row(with_pictures: Values, reached: Values, section: Section) -> dict[str, float]:
    lost = with_pictures - reached
    low, high = interval(resampled_means(lost, section.queries.users)).tolist()
    return {"ndcg@10": float(reached.mean()), "lost": float(lost.mean()), "low": low, "high": high}
