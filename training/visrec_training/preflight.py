"""What would end a training after an hour, found before it begins: too little memory, or no right to write.

Whether the disk holds the features of pictures is checked where it is known which of them are new.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

import psutil

from visrec_training.config import REGIONS, ModelConfig, TrainConfig
from visrec_training.data import Dataset
from visrec_training.errors import DataError
from visrec_training.files import make_folder
from visrec_training.scratch import IN_MEMORY

CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
OPTIMIZER_COPIES = 4  # of the parameters: themselves, gradients and AdamW's two moments


def check_folders(*folders: Path) -> None:
    """Make folders and write a file into each, as training will.

    Raises:
        VisrecError: one can't be made or written.
    """
    for folder in folders:
        make_folder(folder)
        try:
            with tempfile.TemporaryFile(dir=folder) as file:
                file.write(b"x")
        except OSError as error:
            raise DataError(f"can't write to {folder}: {error.strerror}: give another folder") from error


def check_memory(dataset: Dataset, encoder_dim: int, config: ModelConfig, train: TrainConfig) -> None:
    """Compare what training is sure to allocate with what this machine, or its container, has.

    Raises:
        DataError: it can't fit.
    """
    items = len(dataset.catalogue)
    features = (items * REGIONS * 2 * encoder_dim, items * REGIONS * 4 * config.region_dim)
    needs = {
        "features of the pictures": sum(size for size in features if size <= IN_MEMORY),
        "what is learned of each item": OPTIMIZER_COPIES * 4 * items * config.dim,
    }
    if dataset.interactions is not None:
        met = min(train.dense_items, items)
        needs["items by items"] = 3 * 8 * met * met
    needed, there = sum(needs.values()), available_memory()
    if needed > there:
        largest = max(needs, key=lambda name: needs[name])
        raise DataError(
            f"training needs at least {_gb(needed)} of memory ({_gb(needs[largest])} for {largest}), and"
            f" {_gb(there)} are free: use a larger machine or less data"
        )


def available_memory() -> int:
    """Bytes that can be allocated, by the machine and by the container's limit."""
    return min([int(psutil.virtual_memory().available), *_container_limits()])


def _container_limits() -> Iterable[int]:
    for name in CGROUP_LIMITS:
        path = Path(name)
        text = path.read_text().strip() if path.is_file() else "max"
        if text.isdecimal():
            yield int(text)


def _gb(count: int) -> str:
    return f"{count / 1e9:.1f} GB"
