"""What the encoder saw, kept on disk by the content of the pictures.

A shard is an .npz file: `keys`, the SHA-256 of each picture's file, and `regions`, in the same order. It is
named by its keys. Where a picture lies and how its file is called plays no part.
"""

from __future__ import annotations

import hashlib
import math
import os
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from visrec_client.errors import VisrecError
from visrec_training import scratch
from visrec_training.files import check_space, write_beside

Regions16: TypeAlias = npt.NDArray[np.float16]
_DIGEST_BYTES = 32


class RegionCache:
    """The shards of one folder."""

    def __init__(self, folder: Path, shape: tuple[int, int]) -> None:
        """Read which pictures the shards hold; a damaged one is told and removed.

        Args:
            folder: of one encoder, picture size and decoder; need not exist.
            shape: of one picture's regions, (49, D).
        """
        self._folder = folder
        self._shape = shape
        self._places: dict[str, tuple[Path, int]] = {}
        self._written: set[Path] = set()
        for path in sorted(folder.glob("*.npz")):
            try:
                with np.load(path, allow_pickle=False) as shard:
                    self._remember(path, [key.tobytes().hex() for key in _checked_keys(shard)])
            except Exception as error:  # on a damaged file numpy and zipfile raise nearly anything
                self._forget(path, error)

    def __contains__(self, digest: str) -> bool:
        """Whether the regions of a picture are held, by the SHA-256 of its file in hexadecimal."""
        return digest in self._places

    def add(self, regions: Mapping[str, Regions16]) -> None:
        """Write a shard.

        Args:
            regions: digest → float16 [49, D].

        Raises:
            VisrecError: it can't be written.
        """
        keys = np.stack([np.frombuffer(bytes.fromhex(digest), np.uint8) for digest in regions])
        path = self._folder / f"{hashlib.sha256(keys.tobytes()).hexdigest()[:24]}.npz"
        write_beside(path, partial(_save, keys, np.stack(list(regions.values()))))
        self._written.add(path)
        self._remember(path, regions)

    def read_into(self, values: Regions16, digests: Sequence[str], rows: Iterable[int]) -> list[int]:
        """Copy regions out of the shards.

        Args:
            values: float16 [N, 49, D]; filled at `rows`.
            digests: of all N pictures.
            rows: which of them; all are held.

        Returns:
            The rows whose shards are damaged: these were told and removed, so they are held no more.

        Raises:
            VisrecError: a shard that this run wrote is damaged.
        """
        wanted: dict[Path, list[tuple[int, int]]] = defaultdict(list)
        for row in rows:
            path, place = self._places[digests[row]]
            wanted[path].append((row, place))
        lost: list[int] = []
        for path, pairs in wanted.items():
            try:
                with np.load(path, allow_pickle=False) as shard:
                    regions = self._checked_regions(shard)
                for row, place in pairs:
                    values[row] = regions[place]
                scratch.let_go(values)
            except Exception as error:  # on a damaged file numpy and zipfile raise nearly anything
                self._forget(path, error)
                lost += [row for row, _ in pairs]
        return lost

    def check_writable(self, pictures: int) -> None:
        """Find out that nothing can be written before anything is encoded.

        Args:
            pictures: how many the cache is to hold.

        Raises:
            VisrecError: the folder can't be made, no file can be written in it, or the disk is too small.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self._folder) as file:
                file.write(b"visrec")
        except OSError as error:
            raise VisrecError(
                f"can't write to the cache {self._folder.parent}: {error.strerror or error};"
                " give a folder that can be written with --cache"
            ) from error
        lacking = max(0, pictures - len(self._places))
        size = math.prod(self._shape) * np.dtype(np.float16).itemsize
        check_space(self._folder, lacking * size, f"the features of {lacking:,} pictures (--cache)")

    def _remember(self, path: Path, digests: Iterable[str]) -> None:
        self._places |= {digest: (path, place) for place, digest in enumerate(digests)}

    def _forget(self, path: Path, error: Exception) -> None:
        if path in self._written:
            raise VisrecError(f"{path} was damaged right after it was written: check the disk") from error
        reason = " ".join(str(error).split()) or type(error).__name__
        print(
            f"visrec: warning: {path} is damaged ({reason}): its pictures are encoded again", file=sys.stderr
        )
        self._places = {digest: place for digest, place in self._places.items() if place[0] != path}
        try:
            path.unlink(missing_ok=True)
        except OSError as refusal:  # it is told again in the next run
            print(f"visrec: warning: {path} can't be removed: {refusal.strerror}", file=sys.stderr)

    def _checked_regions(self, shard: np.lib.npyio.NpzFile) -> Regions16:
        regions: Regions16 = shard["regions"]
        expected = (len(_checked_keys(shard)), *self._shape)
        if regions.shape != expected or regions.dtype != np.float16:
            raise ValueError(f"it holds {regions.dtype} {list(regions.shape)}, not float16 {list(expected)}")
        return regions


def _checked_keys(shard: np.lib.npyio.NpzFile) -> npt.NDArray[np.uint8]:
    keys: npt.NDArray[np.uint8] = shard["keys"]
    if keys.ndim != 2 or keys.shape[1] != _DIGEST_BYTES or keys.dtype != np.uint8:
        raise ValueError(f"its keys are {keys.dtype} {list(keys.shape)}")
    return keys


def _save(keys: npt.NDArray[np.uint8], regions: Regions16, path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, keys=keys, regions=regions)
        file.flush()
        os.fsync(file.fileno())  # a crash of the machine must not leave a renamed but empty file
