"""What picture encoders see, and what they cost: a table of backbones, with nothing trained.

    python -m benchmarks.encoders --data FOLDER [--data FOLDER …] [--backbone NAME …]

On data with interactions: NDCG@10 of new items among each other, ranked by the cosine with the centroid of
what a person liked. On data without: how often the nearest neighbour of a picture has its category.
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

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
import torch
from benchmarks.quality import ROOT
from benchmarks.quality.baselines import Centroid, pooled_pictures
from benchmarks.quality_figures import commit, fill_in, machine

from visrec_client.errors import VisrecError
from visrec_export.graphs import write_encoder
from visrec_training.config import ModelConfig, TrainConfig
from visrec_training.encoder import LITE0, LITE2, PRETRAINED, RANDOM, Encoder
from visrec_training.files import write_text
from visrec_training.metrics import query_metrics
from visrec_training.prepare import Prepared, prepare, read
from visrec_training.retrieval import rank_scores
from visrec_training.train_cli import cache_folder

CLIP, SIGLIP, DINO = "vit_base_patch32_clip_224", "vit_base_patch16_siglip_224", "vit_small_patch14_dinov2"
BACKBONES = (LITE0, LITE2, f"{LITE0}@{RANDOM}", *(f"{name}@{RANDOM}" for name in (DINO, CLIP, SIGLIP)))
METRIC = "ndcg@10"
RUNS, RESAMPLES = 30, 1000
Values = npt.NDArray[np.float64]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print a table, and keep it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, action="append", required=True, help="a data folder")
    parser.add_argument(
        "--backbone", action="append", metavar="NAME", help="a timm model name, or NAME@random"
    )
    parser.add_argument("--cache", type=Path, help="keeps the features of pictures")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "encoders.json")
    parser.add_argument("--docs", type=Path, metavar="FILE", help="Markdown that holds <!-- encoders -->")
    args = parser.parse_args(argv)
    figures = {}
    for name in args.backbone or BACKBONES:
        backbone, _, weights = name.partition("@")
        encoder = Encoder(backbone, ModelConfig().levels, weights=weights or PRETRAINED)
        figures[name] = {"quality": {}, **_cost(encoder)}
        if not weights or backbone == LITE0:  # one floor is enough
            figures[name]["quality"] = {
                data.name: _quality(data, encoder, cache_folder(args.cache)) for data in args.data
            }
        print(name, json.dumps(figures[name]), flush=True)
    kept = {"machine": machine(), "commit": commit(), "encoders": figures}
    write_text(args.out, json.dumps(kept, indent=2) + "\n")
    table = _table(figures, [data.name for data in args.data])
    print(table)
    if args.docs:
        fill_in(args.docs, "encoders", f"\nOn {machine()}:\n\n{table}\n")
    return 0


def _quality(data: Path, encoder: Encoder, cache: Path) -> list[float]:
    """Mean, and the ends of its 95% interval over people or pictures."""
    whole = prepare(read(data, None), encoder, ModelConfig(), TrainConfig(), cache, torch.device("cpu"))
    sections = whole.split.sections()
    values = _own_category(whole) if whole.dataset.interactions is None else None
    if values is None:
        alone = sections["cold alone"]
        ranked = rank_scores(Centroid.fit(whole, words=0, pictures=1).scores(alone.queries), alone)
        values = query_metrics(ranked, alone.queries.targets)[METRIC]
    drawn = np.random.default_rng(0).integers(len(values), size=(RESAMPLES, len(values)))
    return [float(values.mean()), *np.percentile(values[drawn].mean(axis=1), [2.5, 97.5]).tolist()]


def _own_category(whole: Prepared) -> Values:
    """1 where the nearest other picture has the same category, else 0."""
    pooled = pooled_pictures(whole)
    similar = pooled @ pooled.T
    np.fill_diagonal(similar, -np.inf)
    categories = np.asarray(whole.dataset.catalogue.categories)
    return (categories[similar.argmax(axis=1)] == categories).astype(np.float64)


def _cost(encoder: Encoder) -> dict[str, float]:
    """Milliseconds a picture as it is served, alone and on one thread, and megabytes of the graph."""
    side = ModelConfig().picture_size
    with TemporaryDirectory() as folder:
        write_encoder(encoder, side, Path(folder))
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
    return {"ms a picture": float(np.median(taken)), "MB": size / 1e6}


def _table(figures: dict[str, dict[str, object]], sets: Sequence[str]) -> str:
    lines = [f"| backbone | {' | '.join(sets)} | ms a picture | MB |", "| --- " * (3 + len(sets)) + "|"]
    for name, row in figures.items():
        quality: dict[str, list[float]] = row["quality"]  # type: ignore[assignment]
        cells = ["{:.3f} ({:.3f} to {:.3f})".format(*quality[each]) if quality else "" for each in sets]
        cells += [f"{row['ms a picture']:.1f}", f"{row['MB']:.0f}"]
        lines.append(f"| {name.replace('@', ', ')} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    try:
        sys.exit(main())
    except VisrecError as error:
        sys.exit(f"visrec: error: {error}")
