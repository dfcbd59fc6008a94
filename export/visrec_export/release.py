"""One export: make the graphs, prove them, publish them."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from visrec_export.canary import answered, choose
from visrec_export.check import check, check_fused, draw_requests
from visrec_export.errors import RepositoryError
from visrec_export.fused import fuse
from visrec_export.graphs import write_graphs
from visrec_export.int8 import Bounds, to_int8
from visrec_export.repository import Shapes, check_shapes, ensure_configs, next_release, prune, publish
from visrec_serving.canary_requests import CanaryRequests
from visrec_serving.lock import locked
from visrec_serving.releases import file_digest
from visrec_training.account import offenders
from visrec_training.checkpoint import Checkpoint
from visrec_training.config import GRID, REGIONS
from visrec_training.data import Catalogue, Dataset
from visrec_training.errors import CheckpointError
from visrec_training.files import write_text
from visrec_training.model import Model
from visrec_training.prepare import warn
from visrec_training.regions import load_pictures


@dataclass(frozen=True, slots=True)
class Release:
    """What was published."""

    number: int
    report: dict[str, Any]
    """What `release-N.json` holds."""
    removed: list[int]


def export_release(
    checkpoint: Checkpoint,
    dataset: Dataset,
    repository: Path,
    *,
    cache: Path,
    keep: int,
    requests: int,
    int8: Bounds | None = None,
    fused: bool = False,
    quality: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> Release:
    """Publish a checkpoint as the newest release of a model repository; the first one is served from then on.

    Args:
        checkpoint: what to publish.
        dataset: items with real pictures, to compare with PyTorch on; INT8 is also measured on what people
            did with them.
        repository: gets the versions; its configs are made if missing, and changed where shapes differ.
        cache: keeps the encoder's graph for the next export.
        keep: releases to keep, the new one among them, beside those that are served or can be gone back to.
        requests: requests to compare.
        int8: makes the encoder one in INT8, which may cost this much; None leaves it in FP32.
        fused: adds a graph that does the work of all three, for `configs/fused.pbtxt`.
        quality: what was measured of the checkpoint, if it was.
        seed: decides which pictures and requests are taken.

    Raises:
        ExportRefused: the graphs don't answer as PyTorch does, INT8 costs too much, or the catalogue is too
            large to be fused.
        CheckpointError: none of the pictures can be read.
        RepositoryError: the repository holds releases of other shapes, or can't be written.
        RepositoryBusy: another release is being made.
        VisrecError: the cache can't be written.
    """
    model, catalogue = checkpoint.model(), dataset.catalogue
    sample = _draw_items(catalogue, requests, seed)
    pictures, broken = load_pictures(
        [catalogue.images[row] for row in sample], checkpoint.model_config.picture_size
    )
    if len(broken) == len(sample):
        raise CheckpointError(f"no picture to compare on: {next(iter(broken.values()))}")
    if broken:
        warn([f"{offenders('pictures can not be read', list(broken.values()))}: compared as black ones"])
    texts = [catalogue.titles[row] for row in sample]
    ensure_configs(repository)
    shapes = release_shapes(checkpoint, model)
    check_shapes(repository, shapes)
    with building(repository) as (release, built):
        write_graphs(checkpoint, model, release, built, cache)
        asked = draw_requests(checkpoint, pictures, texts, seed)
        proof: dict[str, Any] = {"against PyTorch": check(checkpoint, model, release, built, asked)}
        if int8:
            proof["against FP32"] = to_int8(checkpoint, dataset, built, int8, seed)
        if fused:
            fuse(built)
            proof["fused against the three"] = check_fused(built, asked)
        report = {
            "backbone": checkpoint.model_config.backbone,
            "precision": "int8" if int8 else "fp32",
            "items": len(checkpoint.item_ids),
            "checkpoint": checkpoint.digest(),
            "data": checkpoint.summary,
            **({} if quality is None else {"quality": quality}),
            **proof,
        }
        canary = answered(choose(asked), built)
        return publish_built(repository, release, built, shapes, canary, report, keep)


def publish_built(
    repository: Path,
    release: int,
    built: Path,
    shapes: Shapes,
    canary: CanaryRequests,
    report: Mapping[str, Any],
    keep: int,
) -> Release:
    """Publish graphs that are proven, with their canary, their digests and a report, and remove old ones.

    Args:
        repository: gets them.
        release: the number.
        built: from `building`; holds `<model>/model.onnx`, and may hold other files of the release.
        shapes: dims, without batch, of each tensor.
        canary: requests with the answers of these graphs.
        report: what is known about them.
        keep: releases to keep, this one among them.

    Raises:
        RepositoryError: the repository can't be written.
    """
    canary.save(built / f"canary-{release}.npz")
    whole = {
        "release": release,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        **report,
        "bytes": _bytes(built),
        "digests": _digests(built, release),
    }
    write_text(built / f"release-{release}.json", json.dumps(whole, indent=2) + "\n")
    publish(repository, release, built, shapes)
    return Release(release, whole, prune(repository, keep))


def _digests(built: Path, release: int) -> dict[str, str]:
    """SHA-256 by path in the repository."""
    return {
        f"{path.parent.name}/{release}/{path.name}" if path.parent != built else path.name: file_digest(path)
        for path in sorted(built.rglob("*"))
        if path.is_file()
    }


def _bytes(built: Path) -> dict[str, int]:
    """Size by model, weights in files of their own included."""
    folders = [folder for folder in sorted(built.iterdir()) if folder.is_dir()]
    return {folder.name: sum(path.stat().st_size for path in folder.iterdir()) for folder in folders}


def _draw_items(catalogue: Catalogue, count: int, seed: int) -> list[int]:
    rng = np.random.default_rng(seed)
    return sorted(rng.choice(len(catalogue), size=count, replace=count > len(catalogue)).tolist())


@contextmanager
def building(repository: Path) -> Iterator[tuple[int, Path]]:
    """The number of the next release, and a folder on the repository's file system, gone afterwards.

    Raises:
        RepositoryBusy: another release is being made.
        RepositoryError: the repository can't be written.
    """
    try:
        with locked(repository, "export"):
            for left in repository.glob(".export-*/"):  # of an export that was killed
                shutil.rmtree(left, ignore_errors=True)
            with tempfile.TemporaryDirectory(prefix=".export-", dir=repository) as folder:
                yield next_release(repository), Path(folder)
    except OSError as error:
        raise RepositoryError(f"can't write to {repository}: {error.strerror or error}") from error


def release_shapes(checkpoint: Checkpoint, model: Model) -> Shapes:
    """Dims, without batch, of each tensor of a release."""
    config = checkpoint.model_config
    return {
        "IMAGE": (config.picture_size, config.picture_size, 3),
        "REGIONS": (REGIONS, model.encoder.dim),
        "ASPECTS": (config.aspects, config.aspect_dim),
        "MAPS": (config.aspects, REGIONS),
        "HISTORY": (config.history,),
        "TEXT": (1,),
        "ITEM_ID": (config.top_k,),
        "SCORE": (config.top_k,),
        "ATTENTION": (GRID, GRID),
        "KNOWN": (config.history,),
        "UNDERSTOOD": (1,),
    }
