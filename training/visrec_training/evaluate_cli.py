"""`visrec evaluate`: how good is a checkpoint on what its training held out."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from visrec_client.errors import VisrecError
from visrec_training.checkpoint import Checkpoint
from visrec_training.encoder import Encoder
from visrec_training.evaluate import EVALUATION, evaluate
from visrec_training.files import write_text
from visrec_training.fingerprint import differences
from visrec_training.picture_worth import Seen
from visrec_training.prepare import Prepared, prepare, warn
from visrec_training.query_results import QUERY_RESULTS, save
from visrec_training.regions import compute_regions
from visrec_training.report_text import format_report
from visrec_training.train_cli import add_data_arguments, cache_folder, read_source


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_data_arguments(parser)
    parser.add_argument(
        "--checkpoint", type=Path, default=Path("runs/latest/best.pt"), metavar="FILE", help="what to measure"
    )
    parser.add_argument(
        "--random-backbone",
        action="store_true",
        help="compare with what a backbone of random weights sees in pictures too; they are encoded for it",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help=f"write the figures as JSON here too; {EVALUATION} beside the checkpoint has them anyway, and"
        f" {QUERY_RESULTS} what each query reached, for `visrec compare`",
    )


def run(args: argparse.Namespace) -> int:
    """Evaluate."""
    checkpoint = Checkpoint.load(args.checkpoint)
    dataset = read_source(args)
    print("\n".join(dataset.account()))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = checkpoint.model()
    cache = cache_folder(args.cache)
    prepared = prepare(
        dataset, model.encoder, checkpoint.model_config, checkpoint.train_config, cache, device
    )
    closed_form = _closed_form(checkpoint, args.checkpoint)
    random = _seen_at_random(checkpoint, prepared, cache, device) if args.random_backbone else None
    report, results = evaluate(checkpoint, model, prepared, device, closed_form, random)
    print(format_report(report))
    text = json.dumps(report, indent=2) + "\n"
    if args.out:
        write_text(args.out, text)
    try:
        write_text(args.checkpoint.with_name(EVALUATION), text)
        save(args.checkpoint.with_name(QUERY_RESULTS), checkpoint.digest(), results)
    except VisrecError as error:  # somebody else's run
        warn([f"{error}; a release of this checkpoint won't tell its quality, nor can it be compared"])
    return 0


def _closed_form(checkpoint: Checkpoint, path: Path) -> Checkpoint | None:
    """What a checkpoint at a path was before it was trained by gradient, where that is beside it."""
    beside = path.with_name("closed_form.pt")
    if not checkpoint.progress["epoch"] or not beside.is_file():
        return None
    closed_form = Checkpoint.load(beside)
    return None if differences(checkpoint.fingerprint, closed_form.fingerprint) else closed_form


def _seen_at_random(checkpoint: Checkpoint, prepared: Prepared, cache: Path, device: torch.device) -> Seen:
    """The pictures as a backbone of random weights sees them."""
    config = checkpoint.model_config
    torch.manual_seed(checkpoint.train_config.seed)  # the same backbone each time, so that the cache helps
    encoder = Encoder(config.backbone, config.levels)
    images = prepared.dataset.catalogue.images
    return Seen(encoder, compute_regions(encoder, images, config.picture_size, cache, device))
