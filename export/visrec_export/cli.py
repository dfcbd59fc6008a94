"""`visrec export`: a checkpoint becomes a release that Triton can serve."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from visrec_export.errors import RepositoryError
from visrec_export.int8 import Bounds
from visrec_export.quality import measured
from visrec_export.release import export_release
from visrec_serving import pins
from visrec_training.checkpoint import Checkpoint
from visrec_training.prepare import warn
from visrec_training.train_cli import add_data_arguments, cache_folder, read_source


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_data_arguments(parser)
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
        "--keep",
        type=int,
        default=3,
        metavar="N",
        help="releases to keep, this one included; what is served, and what was before it, stays in any case",
    )
    parser.add_argument(
        "--check-requests", type=int, default=64, metavar="N", help="requests compared with PyTorch first"
    )
    parser.add_argument(
        "--precision",
        choices=("fp32", "int8"),
        default="fp32",
        help="int8 calibrates the encoder on the data's pictures; serve it on CPUs with VNNI",
    )
    parser.add_argument(
        "--fused",
        action="store_true",
        help="add one graph that does all of a request, for `visrec serve --model-config-name fused`;"
        " it holds the catalogue a second time",
    )
    bounds = Bounds()
    parser.add_argument(
        "--max-ndcg-drop",
        type=float,
        default=bounds.max_ndcg_drop,
        metavar="X",
        help="share of NDCG@10 that int8 may cost, where the data says what people did",
    )
    parser.add_argument(
        "--min-overlap",
        type=float,
        default=bounds.min_overlap,
        metavar="X",
        help="share of fp32's top 10 that int8 must keep for pictures alone",
    )


def run(args: argparse.Namespace) -> int:
    """Export."""
    # eight requests show every combination of modalities once
    for name, least in (("keep", 1), ("check_requests", 8)):
        if getattr(args, name) < least:
            flag = "--" + name.replace("_", "-")
            raise RepositoryError(f"{flag} is {getattr(args, name)}; allowed: at least {least}")
    bounds = Bounds(max_ndcg_drop=args.max_ndcg_drop, min_overlap=args.min_overlap)
    checkpoint = Checkpoint.load(args.checkpoint)
    dataset = read_source(args)
    print("\n".join(dataset.account()))
    warn(dataset.warnings)
    print(f"exporting {args.checkpoint} ({len(checkpoint.item_ids):,} items)")
    quality = measured(checkpoint, args.checkpoint)
    if quality is None:
        print("the release tells no measured quality: `visrec evaluate` has not measured this checkpoint")
    release = export_release(
        checkpoint,
        dataset,
        args.repository,
        cache=cache_folder(args.cache),
        keep=args.keep,
        requests=args.check_requests,
        int8=bounds if args.precision == "int8" else None,
        fused=args.fused,
        quality=quality,
    )
    figures = release.report["against PyTorch"]
    print(
        f"against PyTorch, {figures['requests']} requests: top 10 the same in {figures['same top 10']},"
        f" largest difference of a score {figures['largest difference']['SCORE']:.1e}"
    )
    if "against FP32" in release.report:
        print(_int8_line(release.report["against FP32"]))
    if args.fused:
        print("fused: one graph answers as the three do")
    if release.removed:
        print(f"removed release{'s' * (len(release.removed) > 1)} {', '.join(map(str, release.removed))}")
    print(f"release {release.number} is in {args.repository}: {_next_step(args, release.number)}")
    return 0


def _next_step(args: argparse.Namespace, number: int) -> str:
    served = pins.served(args.repository)
    if served == number:
        fused = " --model-config-name fused" * args.fused
        return f"`visrec serve --repository {args.repository}{fused}`"
    return (
        f"release {served} stays the one that is served until"
        f" `visrec release {number} --repository {args.repository}`"
    )


def _int8_line(figures: dict[str, Any]) -> str:
    ndcg = figures["ndcg@10"]
    measured = (
        f"NDCG@10 {ndcg['theirs']:.4f} to {ndcg['ours']:.4f} ({ndcg['change']:+.1%}, standard error"
        f" {ndcg['standard error']:.1%}) over {ndcg['queries']:,} queries"
        if ndcg
        else "NDCG@10 not measured: in this data, no query that training held out looks at a picture"
    )
    return (
        f"INT8 against FP32: the first {figures['float layers']} of {figures['layers']} layers stay in float,"
        f" {figures['top 10 overlap']:.3f} of the top 10 are the same for {figures['pictures']:,} pictures;"
        f" {measured}"
    )
