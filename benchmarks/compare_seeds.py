"""How often `visrec compare` tells seeds of one configuration apart, which differ by chance alone.

    python -m benchmarks.compare_seeds --data FOLDER --seeds 7 --set train.epochs=0

Trains each seed and asks it by history; goes on where it was stopped. All pairs of seeds are compared; and
disjoint halves of them, as `--seeds` compares settings. At p < .05, a sound test tells one in twenty apart.
How often people alone would tell seeds apart is counted too: it shows how much seeds really differ.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.quality.run import digest
from benchmarks.quality.visrec_run import BEST, Overrides, prepared_for, served, train_visrec
from benchmarks.quality_figures import commit, machine
from tqdm import tqdm

from visrec_client.errors import VisrecError
from visrec_training.checkpoint import Checkpoint
from visrec_training.compare import Asked, Entry, compare
from visrec_training.config_file import parse_settings
from visrec_training.errors import DataError
from visrec_training.files import write_text
from visrec_training.intervals import HISTORY
from visrec_training.metrics import query_metrics
from visrec_training.queries import Section
from visrec_training.query_results import METRICS, QUERY_RESULTS, SectionResults, load, save
from visrec_training.retrieval import Modalities
from visrec_training.train_cli import cache_folder

WORK = Path("build/seeds")
PAIRS = 20
"""Of halves: there are many more than single seeds to draw them from."""
LEVEL = 0.05


def main(argv: Sequence[str] | None = None) -> int:
    """Train what isn't trained yet, and tell what is told apart."""
    parser = argparse.ArgumentParser(prog="benchmarks.compare_seeds", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="a data folder with a split")
    parser.add_argument("--seeds", type=int, default=7, help="how many to train, 4 or more")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="as `visrec train`")
    parser.add_argument("--work", type=Path, default=WORK, help="keeps what is trained and measured")
    parser.add_argument("--cache", type=Path, help="keeps the features of pictures")
    parser.add_argument("--out", type=Path, help="write the figures as JSON here too")
    args = parser.parse_args(argv)
    if args.seeds < 4:
        parser.error("--seeds: halves of fewer than 4 hold no two seeds")
    try:
        overrides = _overrides(args.set)
        cache = cache_folder(args.cache)
        split = prepared_for(args.data, cache).split
        if not split.is_fixed:
            raise DataError(f"the interactions in {args.data} have no column split, which seeds must share")
        folder = args.work / args.data.name / digest(overrides, args.data, Path(__file__))
        with tqdm(range(args.seeds), desc=args.data.name, unit="seed") as seeds:
            measured = [
                _measured(args.data, cache, split.sections(), seed, folder / str(seed), overrides)
                for seed in seeds
            ]
        report = {"machine": machine(), "commit": commit(), "settings": args.set, **told_apart(measured)}
        if args.out:
            write_text(args.out, json.dumps(report, indent=2) + "\n")
    except VisrecError as error:
        print(f"compare_seeds: {error}", file=sys.stderr)
        return 1
    print("\n".join(_lines(report)))
    return 0


def told_apart(seeds: list[dict[str, SectionResults]]) -> dict[str, Any]:
    """Compare seeds with each other.

    Args:
        seeds: what each reached by history, by section; 4 or more.

    Returns:
        `seeds`, `halves` and `seeds by people alone`: section → metric → the number of `pairs`, how many were
        `told apart` at p < .05, and their `p`.
    """
    singles = [_entry(seeds, [place]) for place in range(len(seeds))]
    strangers = [each._replace(settings=place) for place, each in enumerate(singles)]
    half, rng = len(seeds) // 2, np.random.default_rng(0)
    drawn = [rng.permutation(len(seeds)).tolist() for _ in range(PAIRS)]
    halves = [
        compare([_entry(seeds, order[:half]), _entry(seeds, order[half : 2 * half])])
        for order in tqdm(drawn, desc="comparing halves", unit="pair")
    ]
    return {
        "seeds": _count(compare(singles)),
        "halves": _count(*halves),
        "seeds by people alone": _count(compare(strangers)),
    }


def _overrides(settings: list[str]) -> Overrides:
    """Settings by the configuration that they are of."""
    made = Overrides()
    for name, value in parse_settings(settings).items():
        table, field = name.split(".")
        {"model": made.model, "train": made.train}[table][field] = value
    return made


def _measured(
    data: Path, cache: Path, sections: dict[str, Section], seed: int, folder: Path, overrides: Overrides
) -> dict[str, SectionResults]:
    """What a seed reaches by history; it is trained and asked unless that was done before."""
    path, checkpoint = folder / QUERY_RESULTS, folder / BEST
    if not path.is_file():
        train_visrec(data, cache, seed, folder, overrides)
        model = served(checkpoint, data, cache, overrides)
        results = {}
        for name, section in sections.items():
            ranked = model.rank(section, Modalities(history=True)).rows
            results[name] = SectionResults.of(
                section, {HISTORY: query_metrics(ranked, section.queries.targets)}
            )
        save(path, Checkpoint.load(checkpoint).digest(), results)
    return load(path, Checkpoint.load(checkpoint).digest())


def _entry(seeds: list[dict[str, SectionResults]], chosen: list[int]) -> Entry:
    sections = {
        name: Asked(section.people, np.stack([seeds[place][name].reached[HISTORY] for place in chosen]))
        for name, section in seeds[0].items()
    }
    return Entry(f"seeds {chosen}", sections, settings="the same")


def _count(*compared: dict[str, Any]) -> dict[str, Any]:
    """Of what `compare` said, how many pairs it told apart, in each section and by each metric."""
    counts: dict[str, Any] = {}
    for name, metric in itertools.product(compared[0]["sections"], METRICS):
        p = [pair[metric]["p"] for each in compared for pair in each["sections"][name]["differences"]]
        apart = sum(value < LEVEL for value in p)
        counts.setdefault(name, {})[metric] = {"pairs": len(p), "told apart": apart, "p": p}
    return counts


def _lines(report: dict[str, Any]) -> list[str]:
    return [
        f"{name}, {metric}: {figures['told apart']} of {figures['pairs']} pairs of {what} told apart"
        for what in ("seeds", "halves", "seeds by people alone")
        for name, section in report[what].items()
        for metric, figures in section.items()
    ]


if __name__ == "__main__":
    sys.exit(main())
