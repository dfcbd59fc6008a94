"""`visrec evaluate`: how good is a checkpoint on what its training held out."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from visrec_training.checkpoint import Checkpoint
from visrec_training.evaluate import evaluate
from visrec_training.files import write_text
from visrec_training.fingerprint import differences
from visrec_training.prepare import prepare
from visrec_training.report_text import format_report
from visrec_training.train_cli import add_data_arguments, cache_folder, read_source


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_data_arguments(parser)
    parser.add_argument(
        "--checkpoint", type=Path, default=Path("runs/latest/best.pt"), metavar="FILE", help="what to measure"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="also write the figures as JSON")


def run(args: argparse.Namespace) -> int:
    """Evaluate."""
    checkpoint = Checkpoint.load(args.checkpoint)
    dataset = read_source(args)
    print("\n".join(dataset.account()))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = checkpoint.model()
    prepared = prepare(
        dataset,
        model.encoder,
        checkpoint.model_config,
        checkpoint.train_config,
        cache_folder(args.cache),
        device,
    )
    report = evaluate(checkpoint, model, prepared, device, _closed_form(checkpoint, args.checkpoint))
    print(format_report(report))
    if args.out:
        write_text(args.out, json.dumps(report, indent=2) + "\n")
    return 0


def _closed_form(checkpoint: Checkpoint, path: Path) -> Checkpoint | None:
    """What a checkpoint at a path was before it was trained by gradient, where that is beside it."""
    beside = path.with_name("closed_form.pt")
    if not checkpoint.progress["epoch"] or not beside.is_file():
        return None
    closed_form = Checkpoint.load(beside)
    return None if differences(checkpoint.fingerprint, closed_form.fingerprint) else closed_form
