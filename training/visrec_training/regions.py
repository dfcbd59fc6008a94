"""Region features of a catalogue's pictures, computed once and cached on disk.

The cache holds shards of pictures: an interrupted run goes on where it stopped, and new pictures at the end
of a catalogue cost only themselves. A shard is named by the encoder's weights and its pictures' paths, sizes
and times.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from tqdm import tqdm

from visrec_client.errors import InvalidImage
from visrec_client.picture import load_picture
from visrec_training.encoder import Encoder
from visrec_training.files import write_beside

SHARD, BATCH = 256, 32


@dataclass(frozen=True, slots=True)
class Regions:
    """What the encoder sees in each picture."""

    values: npt.NDArray[np.float16]
    """float16 [N, 49, D]; zeros where the picture is broken."""
    broken: dict[int, str]
    """Picture number → what is wrong with it."""

    def take(self, rows: Sequence[int]) -> Regions:
        """The regions of some pictures, none of them broken."""
        return Regions(self.values[list(rows)], {})


def compute_regions(
    encoder: Encoder, images: Sequence[Path], size: int, cache: Path, device: torch.device
) -> Regions:
    """Encode pictures, or read what an earlier run encoded.

    Args:
        encoder: on any device; it is moved to `device`.
        images: one path a picture; a broken one is reported, not raised.
        size: height and width that pictures are brought to, in pixels.
        cache: folder for the shards; made if missing.
        device: where the encoder runs.
    """
    encoder.to(device).eval()
    folder = cache / f"regions-{encoder.digest()}-{size}"
    shards = [images[start : start + SHARD] for start in range(0, len(images), SHARD)]
    values: list[npt.NDArray[np.float16]] = []
    broken: dict[int, str] = {}
    with tqdm(total=len(images), desc="encoding pictures", unit="picture") as progress:
        for number, shard in enumerate(shards):
            path = folder / f"{_digest(shard)}.npz"
            if not path.exists():
                arrays = _encode(encoder, shard, size, device, progress)
                write_beside(path, partial(_save, arrays))
            else:
                progress.update(len(shard))
            with np.load(path, allow_pickle=False) as stored:
                values.append(stored["regions"])
                for row, reason in zip(stored["broken"].tolist(), stored["reasons"].tolist(), strict=True):
                    broken[number * SHARD + row] = reason
    return Regions(np.concatenate(values), broken)


def load_pictures(images: Sequence[Path], size: int) -> tuple[npt.NDArray[np.uint8], dict[int, str]]:
    """Decode pictures as the client does.

    Returns:
        uint8 [n, size, size, 3], black where a picture is broken, and what is wrong with those.
    """
    pictures = np.zeros((len(images), size, size, 3), dtype=np.uint8)
    broken: dict[int, str] = {}

    def load(row: int) -> None:
        try:
            pictures[row] = load_picture(images[row], size)
        except InvalidImage as error:
            broken[row] = str(error)

    with ThreadPoolExecutor() as pool:  # Pillow decodes without holding the interpreter
        list(pool.map(load, range(len(images))))
    return pictures, broken


@torch.inference_mode()
def _encode(
    encoder: Encoder, images: Sequence[Path], size: int, device: torch.device, progress: tqdm
) -> dict[str, npt.NDArray[np.generic]]:
    pictures, broken = load_pictures(images, size)
    regions = []
    for start in range(0, len(images), BATCH):
        batch = torch.from_numpy(pictures[start : start + BATCH])
        regions.append(encoder(batch.to(device)).half().cpu().numpy())
        progress.update(len(batch))
    values = np.concatenate(regions)
    values[list(broken)] = 0
    return {
        "regions": values,
        "broken": np.asarray(list(broken), dtype=np.int64),
        "reasons": np.asarray(list(broken.values()), dtype=np.str_),
    }


def _save(arrays: dict[str, npt.NDArray[np.generic]], path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, **arrays)


def _digest(images: Sequence[Path]) -> str:
    sha = hashlib.sha256()
    for image in images:
        try:
            status = image.stat()
        except OSError:  # broken, as decoding will tell
            status = None
        sha.update(repr((str(image), status and (status.st_size, status.st_mtime_ns))).encode())
    return sha.hexdigest()[:24]
