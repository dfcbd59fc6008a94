"""`visrec train`: from a data folder to a checkpoint."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import torch

from visrec_training.config import ModelConfig, TrainConfig
from visrec_training.encoder import PRETRAINED, Encoder
from visrec_training.errors import DataError
from visrec_training.files import make_folder
from visrec_training.prepare import prepare, read
from visrec_training.train import Trainer

DEFAULT_CACHE = Path.home() / ".cache" / "visrec"


def add_source_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that say where the data is."""
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--data",
        type=Path,
        metavar="FOLDER",
        help="holds items.parquet or .csv (item_id, image, title [, category] [, keywords]), the pictures"
        " that `image` names, and interactions.parquet or .csv (user_id, item_id, timestamp)",
    )
    source.add_argument(
        "--pictures", type=Path, metavar="FOLDER", help="nothing but pictures; subfolders are categories"
    )


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that say where the data is, and where what is computed from it is kept."""
    add_source_arguments(parser)
    parser.add_argument(
        "--cache", type=Path, default=DEFAULT_CACHE, metavar="FOLDER", help="keeps what the encoder saw"
    )


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
    model_config = ModelConfig(backbone=args.backbone)
    last = args.out / "last.pt"
    if args.resume and not last.is_file():
        raise DataError(f"nothing to resume: {last} doesn't exist")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(config.seed)
    dataset = read(args.data, args.pictures)
    make_folder(args.out)
    if not args.resume:
        last.unlink(missing_ok=True)  # of an earlier run, which this one replaces
    encoder = Encoder(model_config.backbone, model_config.levels, weights=args.weights)
    prepared = prepare(dataset, encoder, model_config, config, args.cache, device)
    known = "no behaviour" if dataset.interactions is None else f"{len(dataset.interactions):,} interactions"
    print(f"{len(prepared.dataset.catalogue):,} items, {known}; training on {device.type}")
    trainer = Trainer(prepared, encoder, model_config, config, args.out, device)
    if args.resume:
        trainer.resume(last)
    try:
        progress = trainer.run()
    except KeyboardInterrupt:
        done = f"best.pt and last.pt in {args.out} are whole; go on with --resume"
        print(f"\nstopped: {done if last.is_file() else 'no epoch was finished'}")
        return 130
    print(
        f"best {_score(progress.best)} in epoch {progress.best_epoch} of {progress.epoch}:"
        f" {args.out / 'best.pt'}"
    )
    return 0


def _score(best: float) -> str:
    return f"validation NDCG@10 {best:.4f}" if best >= 0 else f"training loss {-best:.4f}"


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
