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

import numpy as np
import torch
from benchmarks.quality import ROOT

from visrec_client.errors import VisrecError
from visrec_training.checkpoint import Checkpoint
from visrec_training.config import ModelConfig, TrainConfig
from visrec_training.encoder import PRETRAINED, Encoder
from visrec_training.files import make_folder
from visrec_training.prepare import Prepared, prepare, read
from visrec_training.served import Served
from visrec_training.split import NOTHING
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
    without: tuple[str, ...] = ()
    """What is taken from the data: "pictures", "words" or "behaviour"."""
    shuffled_pictures: bool = False
    """Whether items get each other's pictures, in an order drawn once."""


VISREC = "visrec"
BEST = "best.pt"
VARIANTS = {
    VISREC: Overrides(),
    "visrec without pictures": Overrides(without=("pictures",)),
    "visrec, shuffled pictures": Overrides(shuffled_pictures=True),
    "visrec without words": Overrides(without=("words",)),
    "visrec without behaviour": Overrides(without=("behaviour",)),
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
    return Served.load(loaded, model, ablated(whole, overrides), _device())


def prepared_for(data: Path, cache: Path) -> Prepared:
    """The data, whole, as visrec's default encoder sees it."""
    model = ModelConfig()
    encoder = Encoder(model.backbone, model.levels, weights=PRETRAINED)
    return prepare(read(data, None), encoder, model, TrainConfig(), cache, _device())


def ablated(prepared: Prepared, overrides: Overrides) -> Prepared:
    """The data without what a variant takes from it, and with pictures shuffled if it says so."""
    dataset, split = prepared.dataset, prepared.split
    regions = prepared.regions
    if "pictures" in overrides.without:
        regions = dataclasses.replace(regions, values=np.zeros_like(regions.values), broken={})
    if overrides.shuffled_pictures:
        order = np.random.default_rng(0).permutation(len(regions.values))
        regions = dataclasses.replace(regions, values=regions.values[order])
    if "words" in overrides.without:
        none = ("",) * len(dataset.catalogue)
        bare = dataclasses.replace(
            dataset.catalogue, titles=none, categories=none, keywords=none, descriptions=none
        )
        dataset = dataclasses.replace(dataset, catalogue=bare)
    if "behaviour" in overrides.without:
        split = dataclasses.replace(split, train=[NOTHING] * len(split.train))
    return Prepared(dataset, regions, split)


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _train(data: Path, cache: Path, seed: int, out: Path, overrides: Overrides) -> None:
    model, train = ModelConfig(**overrides.model), TrainConfig(seed=seed, **overrides.train)
    torch.manual_seed(seed)
    encoder = Encoder(model.backbone, model.levels, weights=overrides.weights)
    whole = prepare(read(data, None), encoder, model, train, cache, _device())
    make_folder(out)
    Trainer(ablated(whole, overrides), encoder, model, train, out, _device()).run()


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
