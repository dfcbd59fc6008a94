"""Items that come and go without training: each change of the catalogue is a release of its own.

Its encoder and its attention are those that are served, as hard links where the file system has them; its
fusion scorer holds the catalogue that is served with the change made. A new item lies where training puts
items that nobody met: its picture, as the served embedder sees it, and its words decide.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from tqdm import tqdm

from visrec_export.canary import answered, asked_again
from visrec_export.check import Requests, check_fused, check_scorer, draw_requests
from visrec_export.errors import RepositoryError
from visrec_export.fused import fuse
from visrec_export.graphs import write_scorer
from visrec_export.release import building, publish_built, release_shapes
from visrec_export.stock import Stock
from visrec_serving import pins, releases, switch
from visrec_serving.canary_requests import CanaryRequests
from visrec_serving.model_control import ModelControl
from visrec_serving.pins import MODELS
from visrec_serving.switch import Say
from visrec_training.account import offenders
from visrec_training.attention import GIST
from visrec_training.checkpoint import Checkpoint
from visrec_training.data import Catalogue, Dataset
from visrec_training.item_texts import item_words, read_item_texts
from visrec_training.model import Model
from visrec_training.prepare import warn
from visrec_training.regions import load_pictures
from visrec_training.vocabulary import cut_texts

BATCH = 16
CHECKED = 32
"""Requests compared with PyTorch."""
LASTING = ("backbone", "precision", "checkpoint", "data", "quality", "against FP32")
"""What a report tells of the parts that stay."""
Change: TypeAlias = Callable[[Model, Stock], Stock]


def add(
    checkpoint: Checkpoint,
    dataset: Dataset,
    repository: Path,
    control: ModelControl,
    *,
    keep: int,
    say: Say,
) -> None:
    """Have a server recommend further items; those that it recommends already stay as they are.

    Args:
        checkpoint: the one that the served release was made from.
        dataset: the items, with their pictures and words; its interactions are not used.
        repository: what the server serves.
        control: of the server.
        keep: releases to keep, as for an export.
        say: is told of each step.

    Raises:
        DataError: too many of the pictures are broken.
        CheckpointError: the served release was made from another checkpoint.
        RepositoryError: there is nothing new, nothing is served, or the repository can't be written.
        RepositoryBusy: another release is being made.
        ExportRefused, ReleaseRefused: as from an export and a release; the server answers as before.
        VisrecError: the server does not answer.
    """

    def change(model: Model, stock: Stock) -> Stock:
        known, catalogue = set(stock.item_ids), dataset.catalogue
        new = catalogue.take(row for row, name in enumerate(catalogue.item_ids) if name not in known)
        if there := [name for name in catalogue.item_ids if name in known]:
            line = f"{offenders('items that the catalogue has already', there)}: left as they are"
            if not len(new):
                raise RepositoryError(f"nothing to add; {line}")
            warn([line])
        added = Dataset(new, None, limits=dataset.limits)
        aspects, whole = _embed(added, control, checkpoint.model_config.picture_size)
        config = checkpoint.model_config
        space, most = model.text_space, config.item_words
        texts = read_item_texts(whole, config.text_encoder, space)
        tokens, cut = checkpoint.vocabulary.encode(texts.tokens, most)
        warn(cut_texts(cut, most))
        with torch.inference_mode():
            seen = torch.from_numpy(aspects)
            items = model.item_tower.new_items(seen, torch.from_numpy(tokens))
            words = item_words(space, checkpoint.vocabulary.hashes, torch.from_numpy(tokens))
            items = items._replace(texts=space.items(texts.meanings, seen[:, GIST], words))
        say(f"{len(whole):,} items are new")
        return stock.extended(whole.item_ids, items)

    _publish(checkpoint, change, repository, control, keep, say)


def remove(
    checkpoint: Checkpoint,
    item_ids: Sequence[str],
    repository: Path,
    control: ModelControl,
    *,
    keep: int,
    say: Say,
) -> None:
    """Have a server never recommend some items again, nor know them in a history.

    Args:
        checkpoint: the one that the served release was made from.
        item_ids: the items.
        repository: what the server serves.
        control: of the server.
        keep: releases to keep, as for an export.
        say: is told of each step.

    Raises:
        UnknownItem: the catalogue lacks one of them; nothing was changed.
        VisrecError: as for `add`.
    """
    _publish(checkpoint, lambda _, stock: stock.without(item_ids), repository, control, keep, say)


def _embed(dataset: Dataset, control: ModelControl, size: int) -> tuple[npt.NDArray[np.float32], Catalogue]:
    """Have the server look at the pictures: ASPECTS [n, M, d] of those that can be read, and their items."""
    catalogue = dataset.catalogue
    aspects: list[npt.NDArray[np.float32]] = []
    broken: dict[int, str] = {}
    with tqdm(total=len(catalogue), desc="embedding pictures", unit="picture") as progress:
        for start in range(0, len(catalogue), BATCH):
            pictures, unreadable = load_pictures(catalogue.images[start : start + BATCH], size)
            broken.update({start + row: reason for row, reason in unreadable.items()})
            aspects.append(control.ask("embedder", {"IMAGE": pictures})["ASPECTS"])
            progress.update(len(pictures))
    whole = dataset.without_broken(broken)
    warn(whole.warnings)
    kept = [row for row in range(len(catalogue)) if row not in broken]
    return np.concatenate(aspects)[kept], whole.catalogue


def _publish(
    checkpoint: Checkpoint, change: Change, repository: Path, control: ModelControl, keep: int, say: Say
) -> None:
    """Make a release of the catalogue that is served, changed, and have the server switch to it."""
    with building(repository) as (number, built):
        base = _served(repository, control)
        base.verify()  # what is damaged must not be signed anew
        stock, model = Stock.of(base, checkpoint), checkpoint.model()
        stock = change(model, stock)
        changed = dataclasses.replace(checkpoint, item_ids=stock.item_ids, items=stock.items)
        _link(base, built)
        write_scorer(changed, model, number, built)
        canary = asked_again(CanaryRequests.load(base.canary))
        report = {name: base.report[name] for name in LASTING if name in base.report}
        report |= {"items": len(stock.item_ids), "catalogue": _changes(stock, checkpoint, base.number)}
        report |= _prove(changed, model, number, built, canary, fused=base.fused is not None)
        stock.save(built / f"catalogue-{number}.npz")
        shapes = release_shapes(checkpoint, model)
        publish_built(repository, number, built, shapes, answered(canary, built), report, keep)
        say(f"release {number} of {len(stock.item_ids):,} items is in {repository}")
    switch.release(repository, number, control, say, after=base.number)


def _served(repository: Path, control: ModelControl) -> releases.Release:
    """The release that is served, by what the repository says and by what the server answers."""
    number = pins.served(repository)
    if number is None:
        raise RepositoryError(f"{repository} serves no release yet: run `visrec export` first")
    if (answering := control.serving()) != number:
        raise RepositoryError(
            f"the server at {control.url} answers with release {answering}, but {repository} serves"
            f" {number}: does it serve {repository}?"
        )
    return releases.read(repository, number)


def _link(base: releases.Release, built: Path) -> None:
    """Give the new release all models of the one before but the last, copied only where links are refused."""
    copied, cause = 0, ""
    for model in MODELS[:-1]:
        (built / model).mkdir()
        for file in (base.repository / model / str(base.number)).iterdir():
            new = built / model / file.name
            try:
                os.link(file, new)
            except OSError as error:  # another user's file, or a file system without hard links
                shutil.copyfile(file, new)
                copied, cause = copied + new.stat().st_size, error.strerror or str(error)
    if copied:
        warn([f"copied {copied / 1e6:,.0f} MB that can't be linked in {base.repository}: {cause.lower()}"])


def _prove(
    changed: Checkpoint, model: Model, number: int, built: Path, canary: Requests, *, fused: bool
) -> dict[str, Any]:
    """Compare with PyTorch, about the canary's pictures over and over, and fuse where the base is fused."""
    pictures = np.resize(canary.pictures, (CHECKED, *canary.pictures.shape[1:]))
    asked = draw_requests(changed, pictures, canary.text[:, 0].tolist(), seed=0)
    proof = {"against PyTorch": check_scorer(changed, model, number, built, asked)}
    if fused:
        fuse(built)
        proof["fused against the three"] = check_fused(built, asked)
    return proof


def _changes(stock: Stock, checkpoint: Checkpoint, base: int) -> dict[str, int]:
    """What the report tells of the catalogue: all that changed since training, and since which release."""
    trained, now = set(checkpoint.item_ids), set(stock.item_ids)
    return {"after release": base, "added": len(now - trained), "removed": len(trained - now)}
