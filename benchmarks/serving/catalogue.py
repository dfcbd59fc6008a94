"""What a larger catalogue costs: time of a request, memory, and time and bytes of a release.

    python -m benchmarks.serving.catalogue --data build/demo/data --checkpoint build/demo/run/best.pt

Catalogues are simulated from the checkpoint's own, exported as any other, and served. The figures become the
part `catalogue` of benchmarks/results/serving.json, and a table in docs/performance.md.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from benchmarks.quality_figures import commit, machine
from benchmarks.serving import results
from benchmarks.serving.memory import tree_megabytes
from benchmarks.serving.simulated import simulate, simulated_id
from tqdm import tqdm

from visrec_bench.perf_analyzer import Load, PerfAnalyzer, Target
from visrec_bench.requests import draw_requests, write_input_data
from visrec_bench.statistics import Connection, step_times
from visrec_client.errors import VisrecError
from visrec_export.release import export_release
from visrec_serving import Server, ServerConfig
from visrec_training.checkpoint import Checkpoint
from visrec_training.data import Dataset, read_dataset
from visrec_training.files import make_folder, write_text

SIZES = (10_000, 100_000, 1_000_000)
CHECKED = 64
"""Requests that the export compares with PyTorch."""
REQUESTS = 64
COLUMNS = {
    "p50_ms": "p50 alone, ms",
    "above_ms": "above the smallest, ms",
    "scorer_ms": "of it the scorer, ms",
    "memory_mb": "server, MB",
    "start_s": "server's start, s",
    "file_mb": "files, MB",
    "release_s": "release, s",
    "top10_overlap": "top-10 overlap",
}


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving.catalogue", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="data folder for requests")
    parser.add_argument("--checkpoint", type=Path, required=True, metavar="FILE", help="what is made larger")
    parser.add_argument("--items", type=int, action="append", metavar="N", help=f"sizes instead of {SIZES}")
    parser.add_argument("--repeats", type=int, default=3, metavar="N")
    parser.add_argument("--seconds", type=float, default=6.0, metavar="S", help="how long a load is measured")
    parser.add_argument("--work", type=Path, default=Path("build/serving"), metavar="FOLDER")
    args = parser.parse_args()
    try:
        sizes = sorted(args.items or SIZES)
        make_folder(args.work)
        dataset, checkpoint = read_dataset(args.data), Checkpoint.load(args.checkpoint)
        released = {size: _release(checkpoint, size, dataset, args.work) for size in tqdm(sizes, "releases")}
        # each size, then each again: what disturbs the machine for a while must not fall on one alone
        rounds = [(repeat, size) for repeat in range(args.repeats) for size in sizes]
        served: dict[int, list[dict[str, float]]] = {size: [] for size in sizes}
        for repeat, size in tqdm(rounds, "runs"):
            served[size].append(_serve(_folder(args.work, size), dataset, args.work, args.seconds, repeat))
        found = summarise(served, released)
        about = {"machine": machine(), "commit": commit(), "simulated": True}
        results.publish({"catalogue": {"about": about, **found}}, "catalogue", table(found))
        print(table(found))
    except VisrecError as error:
        print(f"benchmarks.serving.catalogue: error: {error}", file=sys.stderr)
        return 1
    return 0


def _folder(work: Path, items: int) -> Path:
    return work / f"catalogue-{items}"


def _release(checkpoint: Checkpoint, items: int, dataset: Dataset, work: Path) -> dict[str, float]:
    """Export a catalogue of so many items, unless it is there; tells how long it took and how large it is."""
    folder = _folder(work, items)
    kept = folder / "measured.json"
    if kept.is_file():
        return dict(json.loads(kept.read_text()))
    shutil.rmtree(folder, ignore_errors=True)
    make_folder(folder)
    large = simulate(checkpoint, items, seed=0)
    start = time.perf_counter()
    release = export_release(large, dataset, folder, cache=work, keep=1, requests=CHECKED)
    seconds = time.perf_counter() - start
    files = (folder / "fusion_scorer" / str(release.number)).iterdir()
    measured = {
        "release_s": seconds,
        "file_mb": sum(file.stat().st_size for file in files) / 1e6,
        "top10_overlap": float(release.report["against PyTorch"]["top 10 overlap"]),
    }
    write_text(kept, json.dumps(measured))
    return measured


def _serve(repository: Path, dataset: Dataset, work: Path, seconds: float, seed: int) -> dict[str, float]:
    """Serve a repository, and ask it one request at a time.

    Raises:
        VisrecError: the server or perf_analyzer fails.
    """
    analyzer = PerfAnalyzer.find(work.absolute() / "lib")
    config = ServerConfig(repository=repository, grpc_port=0, http_port=0, metrics_port=0, ready_timeout=300)
    begin = time.perf_counter()
    with Server(config) as server:
        start = time.perf_counter() - begin
        connection = Connection(server.grpc_url)
        requests = draw_requests(dataset, connection.input_shapes("recommender"), REQUESTS, seed)
        requests["HISTORY"] = _of_simulated(requests["HISTORY"], dataset)
        data = work.absolute() / "catalogue-requests.json"
        write_input_data(requests, data)
        target = Target(url=server.grpc_url, model="recommender", input_data=data)
        before = connection.snapshot()
        clients = analyzer.run(target, Load(concurrency=1), seconds, work / "perf_analyzer.csv")
        after = connection.snapshot()
        memory = tree_megabytes(server.pid or 0)
    return {
        "p50_ms": clients.p50_ms,
        "scorer_ms": step_times(before, after)["fusion_scorer"].total_ms,
        "memory_mb": memory,
        "start_s": start,
    }


def _of_simulated(history: npt.NDArray[np.object_], dataset: Dataset) -> npt.NDArray[np.object_]:
    """Histories of real ids as ones of simulated items; as long, so that they cost the same."""
    rows = {item_id: row for row, item_id in enumerate(dataset.catalogue.item_ids)}
    renamed = [simulated_id(rows[item_id]) if item_id else "" for item_id in history.ravel()]
    return np.asarray(renamed, dtype=object).reshape(history.shape)


def summarise(
    served: Mapping[int, Sequence[Mapping[str, float]]], released: Mapping[int, Mapping[str, float]]
) -> dict[str, dict[str, Any]]:
    """The figures of each size, medians over repeats; `above_ms` compares within a repeat."""
    smallest = served[min(served)]
    found: dict[str, dict[str, Any]] = {}
    for size, runs in served.items():
        figures = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
        pairs = zip(runs, smallest, strict=True)
        above = statistics.median(run["p50_ms"] - small["p50_ms"] for run, small in pairs)
        found[str(size)] = {**figures, "above_ms": above, **released[size], "runs": list(runs)}
    return found


def table(found: Mapping[str, Mapping[str, Any]]) -> str:
    """One Markdown table."""
    lines = ["| items | " + " | ".join(COLUMNS.values()) + " |", "| --- " * (1 + len(COLUMNS)) + "|"]
    for size, figures in found.items():
        values = [f"{figures[name]:.3f}" if "top" in name else f"{figures[name]:.1f}" for name in COLUMNS]
        lines.append(f"| {int(size):,} | " + " | ".join(values) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
