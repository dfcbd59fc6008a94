"""`visrec bench`: how fast a running server answers."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from visrec_bench.charts import write_charts
from visrec_bench.errors import BenchError
from visrec_bench.limit import BATCHES, measure_limit
from visrec_bench.perf_analyzer import Load, PerfAnalyzer, Target
from visrec_bench.report import Report
from visrec_bench.requests import draw_requests, write_input_data
from visrec_bench.statistics import Connection
from visrec_bench.sweep import Measurement, measure, saturated
from visrec_training.data import read_dataset
from visrec_training.files import make_folder, write_text

Number = TypeVar("Number", int, float)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--url", default="localhost:8001", help="host:port of the server's gRPC")
    parser.add_argument("--model", default="recommender", help="the model that is asked")
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="data folder whose pictures, histories and texts are sent",
    )
    parser.add_argument(
        "--repository",
        type=Path,
        metavar="FOLDER",
        help="the model repository that is served: also measures its graphs in this process, the limit. Only"
        " on the server's own machine does the comparison mean anything",
    )
    parser.add_argument(
        "--concurrency",
        default="1,2,4,8,16",
        metavar="N[,N...]",
        help="requests in flight, one measurement each; what the server's queue refuses ends a measurement",
    )
    parser.add_argument(
        "--rate",
        default="30%,60%,80%",
        metavar="X[,X...]",
        help="requests a second that arrive at random (Poisson), one measurement each; N%% is a share of the"
        " best throughput found; '' for none",
    )
    parser.add_argument(
        "--seconds", type=float, default=6.0, metavar="S", help="how long each load is measured"
    )
    parser.add_argument("--requests", type=int, default=128, metavar="N", help="how many different requests")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="decides which requests")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("build/bench"),
        metavar="FOLDER",
        help="gets bench.json, charts, and the requests as perf_analyzer reads them",
    )


def run(args: argparse.Namespace) -> int:
    """Measure, print a table, write the rest.

    Raises:
        VisrecError: an argument is wrong, a tool is missing, or the server can't be measured.
    """
    concurrencies = [_positive(word, "--concurrency", int) for word in _words(args.concurrency)]
    rates = [(word.endswith("%"), _positive(word.rstrip("%"), "--rate", float)) for word in _words(args.rate)]
    if not concurrencies:
        raise BenchError("--concurrency is empty: give at least one number, such as 1,8")
    if not args.seconds >= 1 or args.requests < max(BATCHES):
        raise BenchError(f"--seconds has to be at least 1, and --requests at least {max(BATCHES)}")
    make_folder(args.out)
    analyzer = PerfAnalyzer.find(args.out.absolute() / "lib")
    shapes = Connection(args.url).input_shapes(args.model)
    requests = draw_requests(read_dataset(args.data), shapes, args.requests, args.seed)
    target = Target(url=args.url, model=args.model, input_data=args.out.absolute() / "requests.json")
    write_input_data(requests, target.input_data)

    def measured(loads: Sequence[Load]) -> list[Measurement]:
        return measure(analyzer, target, loads, seconds=args.seconds, folder=args.out)

    measurements = measured([Load(concurrency=concurrency) for concurrency in concurrencies])
    best = saturated(measurements)
    limit = None
    if args.repository:  # at once, so that both have the machine in the same state
        cores = len(os.sched_getaffinity(0))
        limit = measure_limit(args.repository, args.model, requests, cores=cores, seconds=args.seconds)
    share = best.clients.throughput / 100
    measurements += measured([Load(rate=rate * share if relative else rate) for relative, rate in rates])
    report = Report(url=args.url, model=args.model, measurements=measurements, limit=limit)
    write_text(args.out / "bench.json", report.as_json())
    charts = write_charts(report, args.out)
    _print(report, analyzer.line(analyzer.command(target, best.load, args.seconds)), charts)
    return 0


def _print(report: Report, line: str, charts: Sequence[Path]) -> None:
    print(report.as_table())
    for name, value in report.ratios().items():
        print(f"{name}: {value:.2f}")
    if report.limit:
        print(report.summary())
    print(f"charts: {', '.join(str(path) for path in charts if path.suffix == '.svg')}")
    print(f"the best load by hand:\n{line}")


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _positive(word: str, flag: str, kind: Callable[[str], Number]) -> Number:
    try:
        number = kind(word)
    except ValueError:
        number = kind("0")
    if not 0 < number < float("inf"):
        raise BenchError(f"{flag}: '{word}' is no positive {'whole ' * (kind is int)}number")
    return number
