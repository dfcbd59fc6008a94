"""`visrec catalog`: a running server recommends new items, or some no longer, without training."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from visrec_export import catalog
from visrec_export.errors import RepositoryError
from visrec_serving.control_options import add_control_arguments, read_access
from visrec_serving.model_control import ModelControl
from visrec_training.checkpoint import Checkpoint
from visrec_training.prepare import warn
from visrec_training.train_cli import add_source_arguments, read_source


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    changes = parser.add_subparsers(dest="change", metavar="CHANGE", required=True)
    for name, summary in (
        ("add", "recommend the items of a data folder as well, whose interactions are not read"),
        ("remove", "recommend some items no longer"),
    ):
        change = changes.add_parser(
            name,
            help=summary,
            description=summary[0].upper() + summary[1:] + ".",
            formatter_class=parser.formatter_class,
        )
        if name == "add":
            add_source_arguments(change)
        else:
            change.add_argument("item_ids", nargs="+", metavar="ID", help="of the items")
        change.add_argument(
            "--checkpoint",
            type=Path,
            default=Path("runs/latest/best.pt"),
            metavar="FILE",
            help="what the served release was exported from",
        )
        change.add_argument(
            "--keep", type=int, default=3, metavar="N", help="releases to keep, as for `visrec export`"
        )
        add_control_arguments(change)


def run(args: argparse.Namespace) -> int:
    """Change the catalogue.

    Raises:
        VisrecError: it can't be changed, or the server does not answer; what was served still is.
    """
    if args.keep < 1:
        raise RepositoryError(f"--keep is {args.keep}; allowed: at least 1")
    access, checkpoint = read_access(args), Checkpoint.load(args.checkpoint)
    if args.change == "add":
        dataset = read_source(args, with_interactions=False)
        print("\n".join(dataset.account()))
        warn(dataset.warnings)
        change = partial(catalog.add, checkpoint, dataset)
    else:
        change = partial(catalog.remove, checkpoint, args.item_ids)
    with ModelControl(access) as control:
        change(args.repository, control, keep=args.keep, say=print)
    return 0
