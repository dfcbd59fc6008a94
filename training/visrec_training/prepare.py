"""From a data folder to what training and evaluation work on."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from visrec_training import scratch
from visrec_training.account import LossLimits, Summary, Tally
from visrec_training.config import ModelConfig, TrainConfig
from visrec_training.data import DEFAULT_LIMITS, Dataset, read_dataset, read_pictures
from visrec_training.encoder import Encoder
from visrec_training.errors import DataError
from visrec_training.regions import Regions, compute_regions
from visrec_training.scratch import Stored
from visrec_training.split import Split, split

REDUCED = 256  # pictures at once


@dataclass(frozen=True, slots=True)
class Prepared:
    """A data set, read, checked, encoded and split."""

    dataset: Dataset
    regions: Regions
    split: Split


def read(
    data: Path | None,
    pictures: Path | None,
    limits: LossLimits = DEFAULT_LIMITS,
    *,
    with_interactions: bool = True,
) -> Dataset:
    """Read whichever of the two is given, with interactions or without.

    Raises:
        DataError: neither or both are given, or what is given can't be used.
    """
    if data is not None and pictures is None:
        dataset = read_dataset(data, limits, with_interactions=with_interactions)
        pa.default_memory_pool().release_unused()  # what tables took: gigabytes of a large shop
        return dataset
    if pictures is not None and data is None:
        return read_pictures(pictures, limits)
    raise DataError("give either --data FOLDER (items and interactions) or --pictures FOLDER (pictures only)")


def prepare(
    dataset: Dataset,
    encoder: Encoder,
    config: ModelConfig,
    train: TrainConfig,
    cache: Path,
    device: torch.device,
) -> Prepared:
    """Encode and split; says on stderr what of the data is not used.

    Raises:
        DataError: too many of the pictures are broken.
    """
    regions = compute_regions(encoder, dataset.catalogue.images, config.picture_size, cache, device)
    whole = dataset.without_broken(regions.broken)
    warn(whole.warnings)
    kept = [row for row in range(len(dataset.catalogue)) if row not in regions.broken]
    return Prepared(whole, regions.take(kept), split(whole, cold_share=train.cold_share, seed=train.seed))


def warn(lines: Iterable[str]) -> None:
    """Say on stderr, a line each, what of the data is not used."""
    for line in lines:
        print(f"visrec: warning: {line}", file=sys.stderr)


def summarize(prepared: Prepared, notes: Iterable[str] = ()) -> Summary:
    """What can be learned from a data set, and from how many people.

    Args:
        prepared: the data, read from a folder.
        notes: what else was not taken as it stands.
    """
    dataset, parts = prepared.dataset, prepared.split
    done = dataset.interactions
    asked = np.concatenate([parts.valid.users, parts.test.users, parts.cold.users])
    nothing = Tally(source="memory", read=len(dataset.catalogue), used=len(dataset.catalogue))
    return Summary(
        items=dataset.item_rows or nothing,
        interactions=dataset.interaction_rows,
        users=0 if done is None else done.user_count,
        items_with_interactions=0 if done is None else len(np.unique(done.items)),
        trained_users=int((parts.train.sizes > 1).sum()),
        evaluated_users=len(np.unique(asked)),
        notes=tuple(notes),
    )


@torch.no_grad()
def reduce_regions(reduce: torch.nn.Linear, regions: Regions, device: torch.device) -> Stored:
    """REGIONS float16 [N, 49, D] → float [N, 49, region_dim], a block at a time.

    Raises:
        VisrecError: they have to lie in a file, and there is no room for it.
    """
    reduced = Stored((*regions.values.shape[:2], reduce.out_features), device)
    for start in range(0, len(reduced), REDUCED):
        block = torch.from_numpy(regions.values[start : start + REDUCED])
        reduced[start : start + REDUCED] = reduce(block.to(device).float())
        scratch.let_go(regions.values)
    return reduced
