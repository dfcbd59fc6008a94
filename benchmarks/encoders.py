"""What picture encoders see, and what they cost: a table of backbones, with nothing trained.

    python -m benchmarks.encoders --data FOLDER [--data FOLDER …] [--pictures FOLDER …] [--backbone NAME …]

On data with interactions: NDCG@10 of new items among each other, ranked by the cosine with the centroid of
what a person liked. On data without, and on folders of pictures whose subfolders are categories: how often
the nearest neighbour of a picture has its category.
`NAME@random` stands for random weights: the floor of quality, and the cost of a backbone whose weights are
not at hand.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
import torch
from benchmarks.quality import ROOT
from benchmarks.quality_figures import commit, fill_in, machine

from visrec_client.errors import VisrecError
from visrec_export.graphs import write_encoder
from visrec_training.bootstrap import interval, resampled_means
from visrec_training.centroids import Centroid, pooled_pictures
from visrec_training.config import ModelConfig, TrainConfig
from visrec_training.data import Dataset
from visrec_training.encoder import LITE0, LITE2, PRETRAINED, RANDOM, Encoder
from visrec_training.errors import DataError
from visrec_training.files import write_text
from visrec_training.metrics import query_metrics
from visrec_training.prepare import Prepared, prepare, read
from visrec_training.retrieval import rank_scores
from visrec_training.train_cli import cache_folder

CLIP, SIGLIP, DINO = "vit_base_patch32_clip_224", "vit_base_patch16_siglip_224", "vit_small_patch14_dinov2"
BACKBONES = (LITE0, LITE2, f"{LITE0}@{RANDOM}", *(f"{name}@{RANDOM}" for name in (DINO, CLIP, SIGLIP)))
METRIC = "ndcg@10"
RUNS = 30
Values = npt.NDArray[np.float64]
Figures = dict[str, dict[str, Any]]
"""Backbone → its costs, and `quality`: data set → `mean`, `low`, `high` and the number of `queries`."""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print a table, and keep it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, action="append", default=[], help="a data folder")
    parser.add_argument("--pictures", type=Path, action="append", default=[], help="subfolders of pictures")
    parser.add_argument(
        "--backbone", action="append", metavar="NAME", help="a timm model name, or NAME@random"
    )
    parser.add_argument("--cache", type=Path, help="keeps the features of pictures")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "encoders.json")
    parser.add_argument("--docs", type=Path, metavar="FILE", help="Markdown that holds <!-- encoders -->")
    args = parser.parse_args(argv)
    datasets = _read(args.data, args.pictures)
    figures = {name: _measure(name, datasets, args.cache) for name in args.backbone or BACKBONES}
    kept = {"machine": machine(), "commit": commit(), "encoders": figures}
    write_text(args.out, json.dumps(kept, indent=2) + "\n")
    table = _table(figures, list(datasets))
    print(table)
    if args.docs:
        fill_in(args.docs, "encoders", f"\nOn {machine()}:\n\n{table}\n")
    return 0


def _read(data: Sequence[Path], pictures: Sequence[Path]) -> dict[str, Dataset]:
    """Data sets by the names of their folders.

    Raises:
        DataError: two folders have one name, or what is given can't be used.
    """
    names = [folder.resolve().name for folder in (*data, *pictures)]
    if not names or len(set(names)) < len(names):
        raise DataError("give --data or --pictures, folders of different names: these head the columns")
    read_all = [*(read(folder, None) for folder in data), *(read(None, folder) for folder in pictures)]
    return dict(zip(names, read_all, strict=True))


def _measure(name: str, datasets: dict[str, Dataset], cache: Path | None) -> dict[str, Any]:
    """What a backbone costs and sees; one with random weights is asked to see only if it is the floor."""
    backbone, _, weights = name.partition("@")
    torch.manual_seed(0)  # random weights are the same in each run, so that the cache knows them
    encoder = Encoder(backbone, ModelConfig().levels, weights=weights or PRETRAINED)
    figures = {"quality": {}, **_cost(encoder)}
    if not weights or backbone == LITE0:
        folder = cache_folder(cache)
        figures["quality"] = {each: _quality(each, data, encoder, folder) for each, data in datasets.items()}
    print(name, json.dumps(figures), flush=True)
    return figures


def _quality(name: str, data: Dataset, encoder: Encoder, cache: Path) -> dict[str, float]:
    """The mean over people or pictures, and what holds it in 95% of bootstrap samples (Efron, 1979)."""
    whole = prepare(data, encoder, ModelConfig(), TrainConfig(), cache, torch.device("cpu"))
    values = _own_category(name, whole) if whole.dataset.interactions is None else _new_items(name, whole)
    low, high = interval(resampled_means(values, np.arange(len(values)))).tolist()
    return {"mean": float(values.mean()), "low": low, "high": high, "queries": len(values)}


def _new_items(name: str, whole: Prepared) -> Values:
    """How well the centroid of a person's pictures ranks new items among each other: float64 [people].

    Raises:
        DataError: nobody liked a new item.
    """
    alone = whole.split.sections().get("cold alone")
    if alone is None:
        raise DataError(f"{name} has no new items that somebody liked: see `split` in docs/data.md")
    ranked = rank_scores(Centroid.fit(whole, words=0, pictures=1).scores(alone.queries), alone)
    return query_metrics(ranked, alone.queries.targets)[METRIC]


def _own_category(name: str, whole: Prepared) -> Values:
    """1 where the nearest other picture has the same category, else 0: float64 [pictures that have one].

    Raises:
        DataError: there are no two categories to tell apart.
    """
    categories = np.asarray(whole.dataset.catalogue.categories)
    known = categories != ""
    if len(np.unique(categories[known])) < 2:
        raise DataError(f"{name} has neither interactions nor two categories: nothing to measure")
    pooled = pooled_pictures(whole)[known]
    similar = pooled @ pooled.T
    np.fill_diagonal(similar, -np.inf)
    return (categories[known][similar.argmax(axis=1)] == categories[known]).astype(np.float64)


def _cost(encoder: Encoder) -> dict[str, float]:
    """Milliseconds a picture as it is served, alone and on one thread, and megabytes of weights and graph."""
    side = ModelConfig().picture_size
    with TemporaryDirectory() as folder:
        write_encoder(encoder, side, Path(folder), cache=Path(folder))
        path = Path(folder) / "encoder" / "model.onnx"
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        session = ort.InferenceSession(path, options, ["CPUExecutionProvider"])
        size = sum(file.stat().st_size for file in path.parent.iterdir())
    picture = {"IMAGE": np.random.default_rng(0).integers(0, 255, (1, side, side, 3), dtype=np.uint8)}
    taken = []
    for _ in range(RUNS):
        start = time.perf_counter()
        session.run(None, picture)
        taken.append(1e3 * (time.perf_counter() - start))
    weights = sum(value.nbytes for value in encoder.backbone.state_dict().values())
    return {"ms a picture": float(np.median(taken)), "MB of weights": weights / 1e6, "MB of ONNX": size / 1e6}


def _table(figures: Figures, sets: Sequence[str]) -> str:
    lines = [f"| backbone | {' | '.join(sets)} | ms a picture | MB of weights | MB of ONNX |"]
    lines.append("| --- " * (4 + len(sets)) + "|")
    for name, row in figures.items():
        quality = [row["quality"].get(each) for each in sets]
        cells = ["{mean:.3f} ({low:.3f} to {high:.3f})".format(**each) if each else "" for each in quality]
        cells += [f"{row['ms a picture']:.1f}", f"{row['MB of weights']:.0f}", f"{row['MB of ONNX']:.0f}"]
        lines.append(f"| {name.replace('@', ', ')} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    try:
        sys.exit(main())
    except VisrecError as error:
        sys.exit(f"visrec: error: {error}")
