"""Region features of a catalogue's pictures, computed once and cached on disk.

The cache knows pictures by the bytes of their files: new, moved and renamed pictures cost only what was never
seen before, in whatever order they stand, and an interrupted run goes on where it stopped. What cannot be
decoded is never cached: it is tried again in each run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

import numpy as np
import numpy.typing as npt
import PIL
import torch
from tqdm import tqdm

from visrec_client.errors import InvalidImage
from visrec_client.picture import DECODER, decode, load_picture, name_of, open_file
from visrec_training import scratch
from visrec_training.config import REGIONS
from visrec_training.encoder import Encoder
from visrec_training.region_cache import RegionCache, Regions16

SHARD, BATCH = 256, 32
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Regions:
    """What the encoder sees in each picture."""

    values: Regions16
    """float16 [N, 49, D]; zeros where the picture is broken. It may lie in a file."""
    broken: dict[int, str]
    """Picture number → what is wrong with it."""
    digests: tuple[str, ...]
    """SHA-256 of each picture's file, in hexadecimal; "" where it can't be read."""

    def take(self, rows: Sequence[int]) -> Regions:
        """The regions of some pictures, none of them broken."""
        rows = list(rows)
        if rows == list(range(len(self.values))):  # the usual case: no copy of what may be gigabytes
            return Regions(self.values, {}, self.digests)
        values = scratch.zeros((len(rows), *self.values.shape[1:]), np.float16)
        for place, row in enumerate(rows):
            values[place] = self.values[row]
        return Regions(values, {}, tuple(self.digests[row] for row in rows))


def compute_regions(
    encoder: Encoder, images: Sequence[Path], size: int, cache: Path, device: torch.device
) -> Regions:
    """Encode pictures, or read what an earlier run encoded.

    What comes out for a picture does not depend on the others, nor on which of them were cached.

    Args:
        encoder: on any device; it is moved to `device`.
        images: one path a picture; a broken one is reported, not raised.
        size: height and width that pictures are brought to, in pixels.
        cache: folder for what was encoded; made if missing.
        device: where the encoder runs.

    Raises:
        VisrecError: something must be encoded, and the cache can't be written.
    """
    encoder.to(device).eval()
    folder = cache / f"regions-{encoder.digest()}-{size}-pillow{PIL.__version__}-{DECODER}"
    store = RegionCache(folder, (REGIONS, encoder.dim))
    values = scratch.zeros((len(images), REGIONS, encoder.dim), np.float16)
    digests = [""] * len(images)
    broken: dict[int, str] = {}
    rows: Sequence[int] = range(len(images))
    with tqdm(total=len(images), desc="encoding pictures", unit="picture") as progress:
        while rows:
            new = _NewPictures(store, encoder, device, len(images))
            for start in range(0, len(rows), SHARD):
                some = rows[start : start + SHARD]
                for row, (digest, picture) in zip(some, _read(images, some, size, new), strict=True):
                    digests[row] = digest
                    if isinstance(picture, InvalidImage):
                        broken[row] = str(picture)
                    elif picture is not None:
                        new.add(digest, picture)
                progress.update(len(some))
            new.finish()
            # the rows of shards that turn out to be damaged, if any
            rows = store.read_into(values, digests, [row for row in rows if row not in broken])
            progress.total += len(rows)
    return Regions(values, broken, tuple(digests))


def load_pictures(images: Sequence[Path], size: int) -> tuple[Pixels, dict[int, str]]:
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


class _NewPictures:
    """Collects pictures that the cache lacks, encodes them in batches and adds them in shards."""

    def __init__(self, store: RegionCache, encoder: Encoder, device: torch.device, pictures: int) -> None:
        self._store, self._encoder, self._device, self._pictures = store, encoder, device, pictures
        self._waiting: dict[str, Pixels] = {}
        self._encoded: dict[str, Regions16] = {}
        self._checked = False

    def known(self, digest: str) -> bool:
        """Whether a picture needs no decoding any more. May be asked by any thread."""
        return digest in self._store or digest in self._waiting or digest in self._encoded

    def add(self, digest: str, picture: Pixels) -> None:
        """Take a picture, unless another file had the same content."""
        if self.known(digest):
            return
        if not self._checked:
            self._store.check_writable(self._pictures)
            self._checked = True
        self._waiting[digest] = picture
        if len(self._waiting) == BATCH:
            self._encode()

    def finish(self) -> None:
        """Encode and write what is left."""
        if self._waiting:
            self._encode()
        if self._encoded:
            self._write()

    @torch.inference_mode()
    def _encode(self) -> None:
        """Encode what waits, always as a whole batch.

        The number of pictures in a batch decides how it is computed, and so the last bits of what comes out:
        with a short batch the same picture would give other regions.
        """
        pictures = list(self._waiting.values())
        batch = np.zeros((BATCH, *pictures[0].shape), np.uint8)
        batch[: len(pictures)] = pictures
        regions = self._encoder(torch.from_numpy(batch).to(self._device)).half().cpu().numpy()
        self._encoded |= zip(self._waiting, regions, strict=False)
        self._waiting.clear()
        if len(self._encoded) >= SHARD:
            self._write()

    def _write(self) -> None:
        self._store.add(self._encoded)
        self._encoded.clear()


def _read(
    images: Sequence[Path], rows: Sequence[int], size: int, new: _NewPictures
) -> list[tuple[str, Pixels | InvalidImage | None]]:
    """Hash pictures, and decode those that are new.

    Returns:
        For each row its digest, "" where the file can't be read, and its pixels, None where they are not
        needed, or what is wrong with it.
    """

    def read(row: int) -> tuple[str, Pixels | InvalidImage | None]:
        digest, name = "", name_of(images[row])
        try:
            with open_file(images[row]) as file:
                digest = _digest(file, name)
                return digest, None if new.known(digest) else decode(file, size, name)
        except InvalidImage as error:
            return digest, error

    with ThreadPoolExecutor() as pool:  # neither hashing nor decoding holds the interpreter
        return list(pool.map(read, rows))


def _digest(file: BufferedReader, name: str) -> str:
    try:
        return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InvalidImage(f"{name} cannot be read: {error.strerror}") from error
