"""What training costs as a shop grows: minutes and memory of `visrec train`, by the number of items.

    python -m benchmarks.scale 1000 10000 --docs docs/model.md

Each shop is simulated: as many people as items, of whom each chose twenty. Pictures are read before the clock
starts, by a stand-in for the image encoder. What was measured before is not measured again.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from benchmarks.quality_figures import ROOT, commit, fill_in, machine
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator
from PIL import Image

from visrec_client.errors import VisrecError
from visrec_training.checkpoint import Checkpoint
from visrec_training.config import ModelConfig, TrainConfig
from visrec_training.encoder import RANDOM, Encoder
from visrec_training.files import write_text
from visrec_training.prepare import read
from visrec_training.regions import compute_regions

WORK, RESULTS = Path("build/scale"), ROOT / "benchmarks" / "results" / "scale.json"
CHART = ROOT / "benchmarks" / "results" / "scale.svg"
KINDS, TASTES = 64, 3  # of items, and how many of them a person likes
CHOSEN = 20  # items, by each person
DRAWN = 2_000  # pictures; more items than these share them
BACKBONE = "test_efficientnet"  # of random weights: what pictures cost is measured elsewhere
WORDS = 2_000
GIGABYTE = 1_000_000  # KiB that Linux counts memory in, about


def main(argv: Sequence[str] | None = None) -> int:
    """Measure the sizes that were not measured yet, and publish all."""
    parser = argparse.ArgumentParser(prog="benchmarks.scale", description=__doc__.splitlines()[0])
    parser.add_argument("items", type=int, nargs="+", help="sizes of shops")
    parser.add_argument("--work", type=Path, default=WORK, help="keeps shops and what is trained")
    parser.add_argument("--docs", type=Path, help="a page whose table is made anew")
    args = parser.parse_args(argv)
    kept: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    try:
        for items in args.items:
            if str(items) not in kept:
                kept[str(items)] = {"machine": machine(), "commit": commit(), **measure(items, args.work)}
                write_text(RESULTS, json.dumps(kept, indent=2) + "\n")
                print(f"{items:,} items: {kept[str(items)]}", flush=True)
        draw_chart(kept)
        if args.docs:
            fill_in(args.docs, "scale", f"\n{table(kept)}\n\n")
    except VisrecError as error:
        print(f"benchmarks.scale: {error}", file=sys.stderr)
        return 1
    return 0


def measure(items: int, work: Path) -> dict[str, Any]:
    """Simulate a shop, read its pictures, and train on it.

    Raises:
        VisrecError: reading pictures or training failed.
    """
    data, out, cache = (work / str(items) / name for name in ("shop", "run", "cache"))
    if not (data / "interactions.parquet").exists():
        simulate(data, items, np.random.default_rng(0))
    reading = multiprocessing.get_context("spawn").Process(target=_encode, args=(data, cache))
    reading.start()
    reading.join()
    if reading.exitcode:
        raise VisrecError(f"reading the pictures of {data} ended with status {reading.exitcode}")
    command = [sys.executable, "-m", "visrec_cli.main", "train", "--data", data, "--out", out]
    options = ["--cache", cache, "--backbone", BACKBONE, "--weights", RANDOM]
    started = time.monotonic()
    process = subprocess.Popen([str(each) for each in (*command, *options)])  # noqa: S603
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.monotonic() - started
    if status:
        raise VisrecError(f"training on {data} ended with status {os.waitstatus_to_exitcode(status)}")
    progress = Checkpoint.load(out / "last.pt").progress
    return {
        "items": items,
        "interactions": pq.read_metadata(data / "interactions.parquet").num_rows,
        "minutes": round(seconds / 60, 2),
        "gigabytes": round(used.ru_maxrss / GIGABYTE, 2),
        "epochs": progress["epoch"],
    }


def simulate(folder: Path, items: int, rng: np.random.Generator) -> None:
    """Write a simulated shop whose people choose popular items of a few kinds; a kind is a colour and a word.

    Args:
        folder: where to.
        items: how many, and how many people.
        rng: decides all of it.
    """
    kind = np.sort(rng.integers(KINDS, size=items))
    colours = rng.integers(0, 256, (KINDS, 3))
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    shown = np.arange(items) % DRAWN
    for number in range(min(items, DRAWN)):
        pixels = np.full((96, 96, 3), 255)
        left, top, size = rng.integers(5, 50), rng.integers(5, 50), rng.integers(15, 45)
        pixels[top : top + size, left : left + size] = colours[number % KINDS] + rng.integers(-30, 31, 3)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / "pictures" / f"{number}.png")
    titles = [
        f"thing k{a} w{b} w{c}" for a, b, c in zip(kind, *rng.integers(WORDS, size=(2, items)), strict=True)
    ]
    catalogue = {
        "item_id": [f"i{row}" for row in range(items)],
        "image": [f"pictures/{number}.png" for number in shown],
        "title": titles,
        "category": [f"kind {each}" for each in kind],
    }
    pq.write_table(pa.table(catalogue), folder / "items.parquet")
    popular = np.concatenate([[0], rng.zipf(1.3, items).clip(1, 5_000).cumsum()])
    edges = np.searchsorted(kind, np.arange(KINDS + 1))
    liked = rng.integers(KINDS, size=(items, TASTES))
    wanted = np.take_along_axis(liked, rng.integers(TASTES, size=(items, CHOSEN)), axis=1)
    low, high = popular[edges[wanted]], popular[edges[wanted + 1]]
    chosen = np.searchsorted(popular, low + rng.random(wanted.shape) * (high - low), side="right") - 1
    done = {
        "user_id": np.arange(items).repeat(CHOSEN),
        "item_id": pa.DictionaryArray.from_arrays(chosen.clip(0, items - 1).flatten(), catalogue["item_id"]),
        "timestamp": 1_700_000_000 + np.arange(items * CHOSEN),
    }
    pq.write_table(pa.table(done), folder / "interactions.parquet")


def _encode(data: Path, cache: Path) -> None:
    """Fill the cache, so that what is measured is the rest."""
    config = ModelConfig(backbone=BACKBONE)
    torch.manual_seed(TrainConfig().seed)  # as training does: the same random weights
    encoder = Encoder(config.backbone, config.levels, weights=RANDOM)
    images = read(data, None, with_interactions=False).catalogue.images
    compute_regions(encoder, images, config.picture_size, cache, torch.device("cpu"))


def table(kept: Mapping[str, Mapping[str, Any]]) -> str:
    """All that was measured, by size."""
    lines = [
        "| items | interactions | minutes | GB | epochs |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in sorted(kept.values(), key=lambda each: each["items"]):
        sizes = " | ".join(f"{row[name]:,}" for name in ("items", "interactions"))
        lines.append(f"| {sizes} | {row['minutes']:.1f} | {row['gigabytes']:.1f} | {row['epochs']} |")
    machines = " and ".join(sorted({row["machine"] for row in kept.values()}))
    return "\n".join(lines) + f"\n\nSimulated shops, on {machines}."


def draw_chart(kept: Mapping[str, Mapping[str, Any]]) -> None:
    """Minutes and gigabytes by items, both axes logarithmic."""
    rows = sorted(kept.values(), key=lambda each: each["items"])
    figure = Figure(figsize=(6.4, 2.6), layout="constrained")
    for axes, name in zip(figure.subplots(1, 2), ("minutes", "gigabytes"), strict=True):
        axes.loglog([row["items"] for row in rows], [row[name] for row in rows], "o-", color="#76b900")
        axes.set_title(name, fontsize=10, loc="left")
        axes.set_xlabel("items")
        axes.set_xticks([row["items"] for row in rows], [f"{row['items']:,}" for row in rows])
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_minor_locator(NullLocator())
        axes.spines[["top", "right"]].set_visible(False)
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "scale"}):
        figure.savefig(CHART, format="svg", metadata={"Date": None, "Creator": None})


if __name__ == "__main__":
    sys.exit(main())
