"""Trains and asks visrec, as it is and with parts taken away."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from benchmarks.quality import ROOT

from visrec_client.errors import VisrecError
from visrec_training.checkpoint import Checkpoint
from visrec_training.config import ModelConfig, TrainConfig
from visrec_training.encoder import PRETRAINED, Encoder
from visrec_training.files import make_folder
from visrec_training.knock_outs import KNOCK_OUTS, NO_PICTURES, SHUFFLED_PICTURES
from visrec_training.prepare import Prepared, prepare, read
from visrec_training.served import Served
from visrec_training.train import Trainer


@dataclass(frozen=True, slots=True)
class Overrides:
    """What a variant does otherwise than visrec's defaults."""

    model: dict[str, Any] = field(default_factory=dict)
    """Fields of `ModelConfig`."""
    train: dict[str, Any] = field(default_factory=dict)
    """Fields of `TrainConfig`."""
    weights: str = PRETRAINED
    """The backbone's."""
    knock_outs: tuple[str, ...] = ()
    """What is taken from the data, of `KNOCK_OUTS`."""


VISREC = "visrec"
BEST = "best.pt"
VARIANTS = {
    VISREC: Overrides(),
    "visrec without pictures": Overrides(knock_outs=(NO_PICTURES,)),
    "visrec, shuffled pictures": Overrides(knock_outs=(SHUFFLED_PICTURES,)),
    "visrec without words": Overrides(knock_outs=("no words",)),
    "visrec without behaviour": Overrides(knock_outs=("no behaviour",)),
    "visrec, uniform attention": Overrides(model={"user_attention": False}),
    "visrec, random backbone": Overrides(weights="random"),
    # fewer pictures a step: each goes through the backbone, forwards and back
    "visrec, last block fine-tuned": Overrides(train={"finetune_blocks": 1, "attended": 16}),
}


@dataclass(frozen=True, slots=True)
class Cost:
    """What a training took."""

    seconds: float
    peak_gb: float
    """The most memory that was resident, in GB."""


def train_visrec(data: Path, cache: Path, seed: int, out: Path, overrides: Overrides) -> tuple[Path, Cost]:
    """Train in a process of its own, so that what it takes can be told.

    Returns:
        The checkpoint, and what it took, reading the data and cached features included.

    Raises:
        VisrecError: training failed.
    """
    words = [sys.executable, "-m", __name__, str(data.resolve()), str(cache.resolve()), str(seed)]
    words += [str(out.resolve()), json.dumps(dataclasses.asdict(overrides))]
    start = time.monotonic()
    child = subprocess.Popen(words, cwd=ROOT)  # noqa: S603
    try:
        _, status, usage = os.wait4(child.pid, 0)
    except KeyboardInterrupt:
        child.wait()  # the terminal stops it too
        raise
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise VisrecError(f"training visrec on {data} failed (exit code {child.returncode}); see above")
    return out / BEST, Cost(time.monotonic() - start, usage.ru_maxrss * 1024 / 1e9)


def served(checkpoint: Path, data: Path, cache: Path, overrides: Overrides) -> Served:
    """A checkpoint as it answers, on the data as it was trained."""
    loaded = Checkpoint.load(checkpoint)
    model = loaded.model()
    whole = prepare(
        read(data, None), model.encoder, loaded.model_config, loaded.train_config, cache, _device()
    )
    return Served.load(loaded, model, knocked_out(whole, overrides), _device())


def prepared_for(data: Path, cache: Path) -> Prepared:
    """The data, whole, as visrec's default encoder sees it."""
    model = ModelConfig()
    encoder = Encoder(model.backbone, model.levels, weights=PRETRAINED)
    return prepare(read(data, None), encoder, model, TrainConfig(), cache, _device())


def knocked_out(prepared: Prepared, overrides: Overrides) -> Prepared:
    """The data without what a variant takes from it."""
    for name in overrides.knock_outs:
        prepared = KNOCK_OUTS[name](prepared)
    return prepared


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _train(data: Path, cache: Path, seed: int, out: Path, overrides: Overrides) -> None:
    model, train = ModelConfig(**overrides.model), TrainConfig(seed=seed, **overrides.train)
    torch.manual_seed(seed)
    encoder = Encoder(model.backbone, model.levels, weights=overrides.weights)
    whole = prepare(read(data, None), encoder, model, train, cache, _device())
    make_folder(out)
    Trainer(knocked_out(whole, overrides), encoder, model, train, out, _device()).run()


def _main() -> None:
    parser = argparse.ArgumentParser(description="What `train_visrec` starts.")
    for name, kind in (("data", Path), ("cache", Path), ("seed", int), ("out", Path), ("overrides", str)):
        parser.add_argument(name, type=kind)
    args = parser.parse_args()
    try:
        _train(args.data, args.cache, args.seed, args.out, Overrides(**json.loads(args.overrides)))
    except VisrecError as error:
        sys.exit(f"visrec: {error}")


if __name__ == "__main__":
    _main()
