"""What a training works out before its first epoch, kept until it ends, so that it can go on when killed."""

from __future__ import annotations

import hashlib
import json
import shutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch

from visrec_training.files import write_beside
from visrec_training.prepare import warn

FOLDER = "stages"  # in the folder that gets the checkpoints
Made = TypeVar("Made")


class Stages:
    """Results of stages of one training, a file each."""

    def __init__(
        self, out: Path | None, about: Mapping[str, Any], device: torch.device, types: Sequence[type]
    ) -> None:
        """Take where they lie.

        Args:
            out: gets the folder of stages; None to keep nothing.
            about: all that decides what the stages make, as JSON can tell it.
            device: where they are needed.
            types: what a file may hold beside tensors and Python's own.
        """
        self._types: list[Any] = list(types)
        self._folder, self._device = out and out / FOLDER, device
        self._digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()

    def keep(self, name: str, make: Callable[[], Made]) -> Made:
        """What a stage makes: as it was made before, if by the same data and settings, or made now.

        Raises:
            VisrecError: it can't be written.
        """
        if self._folder is None:
            return make()
        path = self._folder / f"{name}.pt"
        found = self._read(path) if path.is_file() else None
        made: Made
        if found and found["digest"] == self._digest:
            made = found["made"]
            return made
        if found:
            warn([f"{path} is not used: it was made from other data, or with other settings"])
        made = make()
        write_beside(path, lambda temporary: torch.save({"digest": self._digest, "made": made}, temporary))
        return made

    def _read(self, path: Path) -> dict[str, Any]:
        with torch.serialization.safe_globals(self._types), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Validating sparse")  # which takes no time to speak of
            found: dict[str, Any] = torch.load(path, self._device, weights_only=True)
        return found


def is_kept(out: Path) -> bool:
    """Whether a training into this folder was ended before it was done with its stages."""
    return (out / FOLDER).is_dir()


def forget(out: Path) -> None:
    """Remove what is kept of a training that ended, or that another replaces."""
    shutil.rmtree(out / FOLDER, ignore_errors=True)


NO_STAGES = Stages(None, {}, torch.device("cpu"), ())
"""Keeps nothing."""
