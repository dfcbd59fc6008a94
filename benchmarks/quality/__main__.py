"""`python -m benchmarks.quality`: convert MovieLens, train and measure everything, and report it.

python -m benchmarks.quality convert --source ml-1m --posters posters --out data/ml-1m
python -m benchmarks.quality run --data data/ml-small --data data/ml-1m
python -m benchmarks.quality report --page build/quality/report.html --data data/ml-small --data data/ml-1m
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.quality import ROOT, report
from benchmarks.quality.convert import convert
from benchmarks.quality.cornac_baselines import CORNAC
from benchmarks.quality.rectools_baselines import RECTOOLS
from benchmarks.quality.run import Plan, first_seeds, read_results, run
from benchmarks.quality.visrec_run import VARIANTS, VISREC, prepared_for
from benchmarks.quality_figures import fill_in

from visrec_client.errors import VisrecError
from visrec_training.files import write_text
from visrec_training.train_cli import cache_folder

RESULTS = ROOT / "benchmarks" / "results" / "quality.json"
WORK = Path("build/quality")


def main(words: list[str]) -> int:
    """Do what is asked; 1 with one line on stderr where it can't be done."""
    args = _parser().parse_args(words)
    try:
        args.run(args)
    except VisrecError as error:
        print(f"quality: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from here", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks.quality", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)

    converted = commands.add_parser("convert", help="MovieLens and posters to a data folder")
    converted.add_argument("--source", type=Path, required=True, help="unpacked ml-latest-small or ml-1m")
    converted.add_argument("--posters", type=Path, required=True, help="holds <movieId>.jpg")
    converted.add_argument("--out", type=Path, required=True, help="gets the data folder's tables")
    converted.add_argument("--seed", type=int, default=0, help="decides the split")
    converted.set_defaults(run=_convert)

    ran = commands.add_parser("run", help="train and measure; goes on where it was stopped")
    _add_plan(ran)
    ran.set_defaults(run=_run)

    reported = commands.add_parser("report", help="tables for the docs, and a page to look at")
    _add_plan(reported)
    reported.add_argument("--docs", type=Path, metavar="FILE", help="Markdown that holds <!-- quality -->")
    reported.add_argument("--page", type=Path, metavar="FILE", help="HTML; with --data, with examples")
    reported.set_defaults(run=_report)
    return parser


def _add_plan(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, action="append", default=[], help="a data folder with a split")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the results file")
    parser.add_argument("--work", type=Path, default=WORK, help="keeps what is trained and measured")
    parser.add_argument("--cache", type=Path, help="keeps the features of pictures")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of what is trained from a seed")
    parser.add_argument("--variants", nargs="*", choices=VARIANTS, default=list(VARIANTS), metavar="NAME")
    for library, models in ((CORNAC, "BPR and VBPR"), (RECTOOLS, "iALS and SASRec")):
        python = f"python of {library.name}'s environment"
        parser.add_argument(library.option, type=Path, default=library.default_python, help=python)
        without = library.option.replace("--", "--no-")
        parser.add_argument(without, action="store_true", help=f"leave {models} out")
    parser.add_argument("--no-exported", action="store_true", help="don't measure visrec as it is served")


def _plan(args: argparse.Namespace) -> Plan:
    cornac = None if args.no_cornac else args.cornac
    rectools = None if args.no_rectools else args.rectools
    variants = tuple(args.variants)
    exported = VISREC in variants and not args.no_exported
    return Plan(
        args.data, args.work, cache_folder(args.cache), args.seeds, cornac, rectools, variants, exported
    )


def _convert(args: argparse.Namespace) -> None:
    items, interactions = convert(args.source, args.posters, args.out, args.seed)
    print(f"{items:,} items and {interactions:,} interactions: {args.out}")


def _run(args: argparse.Namespace) -> None:
    if not args.data:
        raise VisrecError("nothing to measure: give --data FOLDER")
    results = run(_plan(args), args.out)
    print(report.markdown(results))
    print(f"written: {args.out}")


def _report(args: argparse.Namespace) -> None:
    if args.page:
        report.refuse_in_repository(args.page)
    results = read_results(args.out)
    if not results:
        raise VisrecError(f"no results in {args.out}: `run` writes them")
    if args.docs:
        fill_in(args.docs, "quality", f"{report.markdown(results)}\n")
    if args.page:
        plan = _plan(args)
        examples = {
            data.name: report.example_rankings(prepared_for(data, plan.cache), first_seeds(plan, data))
            for data in plan.data
        }
        write_text(args.page, report.page(results, examples))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
