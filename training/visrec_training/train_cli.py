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
from visrec_training import stages
from visrec_training.account import LossLimits
from visrec_training.config import ModelConfig, TrainConfig
from visrec_training.config_file import (
    NAMES,
    check_settings,
    make_configs,
    parse_settings,
    read_settings,
    write_settings,
)
from visrec_training.data import DEFAULT_LIMITS, Dataset
from visrec_training.encoder import PRETRAINED, Encoder
from visrec_training.errors import DataError
from visrec_training.preflight import check_folders, check_memory
from visrec_training.prepare import prepare, read, warn
from visrec_training.text.encoders import ENCODERS, text_encoder
from visrec_training.train import Progress, Trainer

SETTINGS = "config.toml"
"""The file in the --out folder that keeps what a run was set to."""


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
        help="keeps the features of pictures, and the encoder's graph (default: visrec in $XDG_CACHE_HOME or"
        " ~/.cache)",
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
    """The cache: in the home folder by default; without one, a folder for this run alone."""
    if given is not None:
        return given
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111  (never raises)
    folder = Path(home) / "visrec"
    try:
        check_folders(folder)
    except VisrecError as error:
        folder = Path(tempfile.mkdtemp(prefix="visrec-cache-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        warn([f"{error}; the cache is kept for this run only: give a folder with --cache"])
    return folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_data_arguments(parser)
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("runs/latest"),
        metavar="FOLDER",
        help=f"gets best.pt, last.pt, closed_form.pt, {SETTINGS} and tensorboard/",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on with a training into the --out folder that was stopped or killed; with no other"
        f" settings, by those of its {SETTINGS}",
    )
    add_settings_arguments(parser)


def add_settings_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that fill both configurations, each None or empty unless given, and the backbone."""
    parser.add_argument(
        "--weights",
        default=PRETRAINED,
        help="the backbone's: 'pretrained', 'random', or a file with a state dict of the timm model",
    )
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help=f"settings as TOML, such as the {SETTINGS} of another run; options override it",
    )
    listed = "; ".join(f"{table} has {', '.join(fields)}" for table, fields in NAMES.items())
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="any setting, such as train.predict=any or model.levels=[8,16]; overrides --config and the"
        f" options below; may be repeated; {listed}",
    )
    encoders = (
        f"finds items by the meaning of a text: {', '.join(sorted(ENCODERS))} or the folder of a"
        " sentence-transformers model of the BERT kind, which has to stay there for exports;"
        " 'none' matches words alone"
    )
    defaults = {"model": ModelConfig(), "train": TrainConfig()}
    for name, metavar, summary in (
        ("model.backbone", "NAME", "any timm model name, e.g. resnet50"),
        ("model.text_encoder", "NAME", encoders),
        ("train.seed", "N", "decides everything that is random"),
        ("train.epochs", "N", "at most so many passes over the interactions"),
        ("train.batch", "N", "examples in a step"),
        ("train.patience", "N", "stop after so many epochs without a better validation NDCG@10"),
        ("train.finetune_blocks", "N", "train the backbone's last blocks too; 0 leaves it frozen"),
        ("train.learning_rate", "X", "the highest, after warm-up"),
        ("train.id_dropout", "X", "share of items in each step that must do with their content"),
        ("train.cold_share", "X", "share of items held out to measure cold start; 0 to learn from all"),
    ):
        table, field = name.split(".")
        default = getattr(defaults[table], field)
        parser.add_argument(
            "--" + field.replace("_", "-"),
            type=type(default),
            dest=name,
            metavar=metavar,
            help=f"{summary} (default: {default})",
        )


def read_configs(args: argparse.Namespace) -> tuple[ModelConfig, TrainConfig]:
    """Make both configurations: options override the file, and --set overrides both.

    Raises:
        ConfigError: a setting is none, or is outside what is allowed.
        WeightsError: there is no such text encoder.
    """
    options = {name: value for name, value in vars(args).items() if "." in name and value is not None}
    file, own = args.config, args.out / SETTINGS
    if args.resume and not (file or options or args.set) and own.is_file():
        print(f"settings: those of {own}")
        file = own
    settings = read_settings(file) if file else {}
    settings |= check_settings(options, "options") | parse_settings(args.set)
    model, train = make_configs(settings)
    return dataclasses.replace(model, text_encoder=text_encoder(model.text_encoder).name), train


def run(args: argparse.Namespace) -> int:
    """Train."""
    model_config, config = read_configs(args)
    last = args.out / "last.pt"
    if args.resume and not (last.is_file() or stages.is_kept(args.out)):
        raise DataError(f"nothing to resume: {last} doesn't exist")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(config.seed)
    dataset = read_source(args)
    cache = cache_folder(args.cache)
    check_folders(args.out)
    if not args.resume:
        last.unlink(missing_ok=True)  # of an earlier run, which this one replaces
        stages.forget(args.out)
    encoder = Encoder(model_config.backbone, model_config.levels, weights=args.weights)
    check_memory(dataset, encoder.dim, model_config, config)
    prepared = prepare(dataset, encoder, model_config, config, cache, device)
    if not args.resume:  # a kill before the model is built must not leave an earlier run's settings
        write_settings(args.out / SETTINGS, model_config, config)
    try:
        trainer = Trainer(prepared, encoder, model_config, config, args.out, device, keeps_stages=True)
        print("\n".join([*trainer.summary.lines(), f"training on {device.type}"]))
        if last.is_file():
            trainer.resume(last)
        write_settings(args.out / SETTINGS, trainer.model.config, config)
        progress = trainer.run()
    except KeyboardInterrupt:
        can_go_on = last.is_file() or stages.is_kept(args.out)
        done = f"what is done is kept in {args.out}; go on with --resume"
        print(f"\nstopped: {done if can_go_on else 'nothing is done yet that could be kept'}")
        return 130
    print(
        f"best {_score(progress)} in epoch {progress.best_epoch} of {progress.epoch}: {args.out / 'best.pt'}"
    )
    return 0


def _score(progress: Progress) -> str:
    by_loss = progress.history and "ndcg@10" not in progress.history[-1]
    return f"training loss {-progress.best:.4f}" if by_loss else f"validation NDCG@10 {progress.best:.4f}"
