"""`visrec export`: a checkpoint becomes a release that Triton can serve."""

from __future__ import annotations

import argparse
from pathlib import Path

from visrec_export.errors import RepositoryError
from visrec_export.release import export_release
from visrec_training.checkpoint import Checkpoint
from visrec_training.prepare import read
from visrec_training.train_cli import add_source_arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_source_arguments(parser)
    parser.add_argument(
        "--checkpoint", type=Path, default=Path("runs/latest/best.pt"), metavar="FILE", help="what to publish"
    )
    parser.add_argument(
        "--repository",
        type=Path,
        default=Path("model_repository"),
        metavar="FOLDER",
        help="Triton's model repository; configs that it lacks are made",
    )
    parser.add_argument(
        "--keep", type=int, default=3, metavar="N", help="releases to keep, this one included"
    )
    parser.add_argument(
        "--check-requests", type=int, default=64, metavar="N", help="requests compared with PyTorch first"
    )


def run(args: argparse.Namespace) -> int:
    """Export."""
    # eight requests show every combination of modalities once
    for name, least in (("keep", 1), ("check_requests", 8)):
        if getattr(args, name) < least:
            flag = "--" + name.replace("_", "-")
            raise RepositoryError(f"{flag} is {getattr(args, name)}; allowed: at least {least}")
    checkpoint = Checkpoint.load(args.checkpoint)
    catalogue = read(args.data, args.pictures).catalogue
    print(f"exporting {args.checkpoint} ({len(checkpoint.item_ids):,} items)")
    release = export_release(
        checkpoint, catalogue, args.repository, keep=args.keep, requests=args.check_requests
    )
    figures = release.figures
    print(
        f"against PyTorch, {figures['requests']} requests: top 10 the same in {figures['same top 10']},"
        f" largest difference of a score {figures['largest difference']['SCORE']:.1e}"
    )
    if release.removed:
        print(f"removed release{'s' * (len(release.removed) > 1)} {', '.join(map(str, release.removed))}")
    print(f"release {release.number} is in {args.repository}: `visrec serve --repository {args.repository}`")
    return 0
