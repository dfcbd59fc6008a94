"""Checkpoints: all that a release needs, and all that training needs to go on."""

from __future__ import annotations

import dataclasses
import hashlib
import pickle
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from visrec_training.config import ModelConfig, TrainConfig
from visrec_training.encoder import Encoder
from visrec_training.errors import CheckpointError
from visrec_training.files import write_beside
from visrec_training.fingerprint import Fingerprint, differences
from visrec_training.fusion_scorer import FusionScorer
from visrec_training.item_tower import Items
from visrec_training.model import Model
from visrec_training.vocabulary import Vocabulary

FORMAT = 9


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A trained model with the catalogue it belongs to."""

    model_config: ModelConfig
    train_config: TrainConfig
    vocabulary: Vocabulary
    item_ids: tuple[str, ...]
    fingerprint: Fingerprint
    """Names the data that it was trained on."""
    summary: dict[str, Any]
    """What was read of that data, and what of it was used: `Summary.to_dict`."""
    state: dict[str, Tensor]
    """The model's parameters."""
    items: Items
    """The catalogue as it is served."""
    progress: dict[str, Any]
    """Where training stands; with the optimizer's state in `last.pt`, figures alone in `best.pt`."""

    def model(self) -> Model:
        """Rebuild the model, in evaluation mode."""
        encoder = Encoder(self.model_config.backbone, self.model_config.levels)
        model = Model(self.model_config, self.vocabulary, len(self.item_ids), encoder)
        model.load_state_dict(self.state)
        return model.eval()

    def fusion_scorer(self, model: Model) -> FusionScorer:
        """The scorer over the catalogue as it was when the checkpoint was written."""
        return FusionScorer(model.query_tower, model.text_space, self.items, self.model_config.top_k).eval()

    def check_data(self, now: Fingerprint) -> None:
        """Make sure that data is what this was trained on: measuring on other data measures nothing.

        Raises:
            CheckpointError: it differs; the text says in what.
        """
        if differing := differences(self.fingerprint, now):
            raise CheckpointError(
                f"the checkpoint was trained on other data (what differs: {differing}): give the data that it"
                " was trained on, or train anew"
            )

    def digest(self) -> str:
        """A short name for exactly these parameters and this catalogue."""
        sha = hashlib.sha256(repr(self.item_ids).encode())
        for name, value in [*sorted(self.state.items()), *self.items._asdict().items()]:
            sha.update(name.encode())
            sha.update(value.contiguous().view(-1).view(torch.uint8).numpy())
        return sha.hexdigest()[:16]

    def save(self, path: Path) -> None:
        """Write the checkpoint, whole or not at all.

        Raises:
            VisrecError: the file can't be written.
        """
        values = {
            "format": FORMAT,
            "model_config": dataclasses.asdict(self.model_config),
            "train_config": dataclasses.asdict(self.train_config),
            "hashes": torch.from_numpy(self.vocabulary.hashes),
            "rarity": torch.from_numpy(self.vocabulary.rarity),
            "item_ids": list(self.item_ids),
            "fingerprint": dict(self.fingerprint),
            "summary": self.summary,
            "state": self.state,
            "items": self.items._asdict(),
            "progress": self.progress,
        }
        write_beside(path, partial(_save, values))

    @classmethod
    def load(cls, path: Path) -> Checkpoint:
        """Read a checkpoint; nothing in it is executed.

        Raises:
            CheckpointError: there is none, it is damaged, or another version of visrec wrote it.
        """
        if not path.is_file():
            raise CheckpointError(
                f"no checkpoint at {path}: `visrec train` writes best.pt into its --out folder"
            )
        try:
            values = torch.load(path, map_location="cpu", weights_only=True)
        except OSError as error:
            raise CheckpointError(f"can't read {path}: {error.strerror}") from error
        except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError) as error:
            raise CheckpointError(f"{path} is damaged or no checkpoint of visrec") from error
        if not isinstance(values, dict) or values.get("format") != FORMAT:
            raise CheckpointError(f"{path} is no checkpoint of this version of visrec: train again")
        return cls(
            model_config=ModelConfig.from_dict(values["model_config"]),
            train_config=TrainConfig(**values["train_config"]),
            vocabulary=Vocabulary(values["hashes"].numpy(), values["rarity"].numpy()),
            item_ids=tuple(values["item_ids"]),
            fingerprint=values["fingerprint"],
            summary=values["summary"],
            state=values["state"],
            items=Items(**values["items"]),
            progress=values["progress"],
        )


def _save(values: dict[str, Any], path: Path) -> None:
    with path.open("wb") as file:
        try:
            torch.save(values, file)
        except RuntimeError as error:  # how torch tells of a full disk
            raise OSError(f"writing failed, is the disk full? ({str(error).splitlines()[0]})") from error
