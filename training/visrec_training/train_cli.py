"""`visrec train`: from a data folder to a checkpoint."""

from __future__ import annotations

import argparse
import atexit
import dataclasses
import os
import shutil
import tempfile
from pathlib import Path

import torch

from visrec_client.errors import VisrecError
from visrec_training.account import LossLimits
from visrec_training.config import ModelConfig, TrainConfig
from visrec_training.data import DEFAULT_LIMITS, Dataset
from visrec_training.encoder import PRETRAINED, Encoder
from visrec_training.errors import DataError
from visrec_training.preflight import check_folders, check_memory
from visrec_training.prepare import prepare, read, warn
from visrec_training.text.encoders import ENCODERS, text_encoder
from visrec_training.train import Progress, Trainer


def add_source_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that say where the data is."""
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--data",
        type=Path,
        metavar="FOLDER",
        help="holds the tables items (item_id, image, title [, category] [, keywords] [, description]) and"
        " interactions (user_id, item_id, timestamp), as Parquet or CSV, and the pictures that `image` names",
    )
    source.add_argument(
        "--pictures", type=Path, metavar="FOLDER", help="nothing but pictures; subfolders are categories"
    )
    parser.add_argument(
        "--allow-losses",
        type=float,
        metavar="SHARE",
        help="share of items and of interactions that may be unusable"
        f" (default: {DEFAULT_LIMITS.items:g} and {DEFAULT_LIMITS.interactions:g})",
    )


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that say where the data is, and where what is computed from it is kept."""
    add_source_arguments(parser)
    parser.add_argument(
        "--cache",
        type=Path,
        metavar="FOLDER",
        help="keeps the features of pictures (default: visrec in $XDG_CACHE_HOME or ~/.cache)",
    )


def read_source(args: argparse.Namespace, *, with_interactions: bool = True) -> Dataset:
    """Read the data that the arguments of `add_source_arguments` name.

    Raises:
        DataError: it can't be used.
        ConfigError: --allow-losses is no share.
    """
    allowed = args.allow_losses
    limits = DEFAULT_LIMITS if allowed is None else LossLimits(items=allowed, interactions=allowed)
    return read(args.data, args.pictures, limits, with_interactions=with_interactions)


def cache_folder(given: Path | None) -> Path:
    """Where features of pictures are kept: in the home folder by default; without one, for this run alone."""
    if given is not None:
        return given
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111  (never raises)
    folder = Path(home) / "visrec"
    try:
        check_folders(folder)
    except VisrecError as error:
        folder = Path(tempfile.mkdtemp(prefix="visrec-cache-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        warn([f"{error}; features of pictures are kept for this run only: give a folder with --cache"])
    return folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_data_arguments(parser)
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("runs/latest"),
        metavar="FOLDER",
        help="gets best.pt, last.pt and tensorboard/",
    )
    parser.add_argument("--resume", action="store_true", help="go on from last.pt in the --out folder")
    parser.add_argument(
        "--backbone", default=ModelConfig().backbone, help="any timm model name, e.g. resnet50"
    )
    parser.add_argument(
        "--text-encoder",
        default=ModelConfig().text_encoder,
        metavar="NAME",
        help=f"finds items by the meaning of a text: {', '.join(sorted(ENCODERS))} or the folder of a"
        " sentence-transformers model of the BERT kind, which has to stay there for exports;"
        " 'none' matches words alone",
    )
    parser.add_argument(
        "--weights",
        default=PRETRAINED,
        help="the backbone's: 'pretrained', 'random', or a file with a state dict of the timm model",
    )
    defaults = TrainConfig()
    for name, summary in (
        ("seed", "decides everything that is random"),
        ("epochs", "at most so many passes over the interactions"),
        ("batch", "examples in a step"),
        ("patience", "stop after so many epochs without a better validation NDCG@10"),
        ("finetune_blocks", "train the backbone's last blocks too; 0 leaves it frozen"),
    ):
        parser.add_argument(_flag(name), type=int, default=getattr(defaults, name), metavar="N", help=summary)
    for name, summary in (
        ("learning_rate", "the highest, after warm-up"),
        ("id_dropout", "share of items in each step that must do with their content"),
        ("cold_share", "share of items held out to measure cold start; 0 to learn from all"),
    ):
        parser.add_argument(
            _flag(name), type=float, default=getattr(defaults, name), metavar="X", help=summary
        )


def run(args: argparse.Namespace) -> int:
    """Train."""
    fields = [field.name for field in dataclasses.fields(TrainConfig) if hasattr(args, field.name)]
    config = TrainConfig(**{name: getattr(args, name) for name in fields})
    model_config = ModelConfig(backbone=args.backbone, text_encoder=text_encoder(args.text_encoder).name)
    last = args.out / "last.pt"
    if args.resume and not last.is_file():
        raise DataError(f"nothing to resume: {last} doesn't exist")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(config.seed)
    dataset = read_source(args)
    cache = cache_folder(args.cache)
    check_folders(args.out)
    if not args.resume:
        last.unlink(missing_ok=True)  # of an earlier run, which this one replaces
    encoder = Encoder(model_config.backbone, model_config.levels, weights=args.weights)
    check_memory(dataset, encoder.dim, model_config)
    prepared = prepare(dataset, encoder, model_config, config, cache, device)
    trainer = Trainer(prepared, encoder, model_config, config, args.out, device)
    print("\n".join([*trainer.summary.lines(), f"training on {device.type}"]))
    if args.resume:
        trainer.resume(last)
    try:
        progress = trainer.run()
    except KeyboardInterrupt:
        done = f"best.pt and last.pt in {args.out} are whole; go on with --resume"
        print(f"\nstopped: {done if last.is_file() else 'no epoch was finished'}")
        return 130
    print(
        f"best {_score(progress)} in epoch {progress.best_epoch} of {progress.epoch}: {args.out / 'best.pt'}"
    )
    return 0


def _score(progress: Progress) -> str:
    by_loss = progress.history and "ndcg@10" not in progress.history[-1]
    return f"training loss {-progress.best:.4f}" if by_loss else f"validation NDCG@10 {progress.best:.4f}"


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
