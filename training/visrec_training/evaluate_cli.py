"""`visrec evaluate`: how good is a checkpoint on what its training held out."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from visrec_training.checkpoint import Checkpoint
from visrec_training.evaluate import evaluate, format_report
from visrec_training.files import write_text
from visrec_training.prepare import prepare
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
    report = evaluate(checkpoint, model, prepared, device)
    print(format_report(report))
    if args.out:
        write_text(args.out, json.dumps(report, indent=2) + "\n")
    return 0
