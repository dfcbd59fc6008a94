"""From a data folder to what training and evaluation work on."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from visrec_training.config import ModelConfig, TrainConfig
from visrec_training.data import Dataset, read_dataset, read_pictures
from visrec_training.encoder import Encoder
from visrec_training.errors import DataError
from visrec_training.regions import Regions, compute_regions
from visrec_training.split import Split, split


@dataclass(frozen=True, slots=True)
class Prepared:
    """A data set, read, checked, encoded and split."""

    dataset: Dataset
    regions: Regions
    split: Split


def read(data: Path | None, pictures: Path | None) -> Dataset:
    """Read whichever of the two is given.

    Raises:
        DataError: neither or both are given, or what is given can't be used.
    """
    if (data is None) == (pictures is None):
        raise DataError(
            "give either --data FOLDER (items and interactions) or --pictures FOLDER (pictures only)"
        )
    return read_dataset(data) if data is not None else read_pictures(pictures)  # type: ignore[arg-type]


def prepare(
    dataset: Dataset,
    encoder: Encoder,
    config: ModelConfig,
    train: TrainConfig,
    cache: Path,
    device: torch.device,
) -> Prepared:
    """Encode and split; tells each thing that is wrong with the data on stderr.

    Raises:
        DataError: more than 1% of the pictures are broken.
    """
    regions = compute_regions(encoder, dataset.catalogue.images, config.picture_size, cache, device)
    whole = dataset.without_broken(regions.broken)
    for warning in whole.warnings:
        print(f"visrec: warning: {warning}", file=sys.stderr)
    kept = [row for row in range(len(dataset.catalogue)) if row not in regions.broken]
    return Prepared(whole, regions.take(kept), split(whole, cold_share=train.cold_share, seed=train.seed))


@torch.no_grad()
def reduce_regions(reduce: torch.nn.Module, regions: Regions, device: torch.device) -> Tensor:
    """REGIONS float16 [N, 49, D] → float [N, 49, region_dim], a block at a time."""
    blocks = torch.from_numpy(regions.values).split(256)
    return torch.cat([reduce(block.to(device).float()) for block in blocks])
