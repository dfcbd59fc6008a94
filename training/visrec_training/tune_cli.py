"""`visrec tune`: from a data folder to the settings that suit it."""

from __future__ import annotations

import argparse
import math
import sys
import time
from pathlib import Path

import torch
from optuna.trial import FrozenTrial, TrialState

from visrec_training.config import ConfigError
from visrec_training.config_file import write_settings
from visrec_training.hyper_search import ERROR, FIGURES, Search, Start, Workshop, alone
from visrec_training.preflight import check_folders
from visrec_training.search_report import write_report
from visrec_training.search_space import ON_THE_LINE, SEARCH, check_space, default_space, read_space
from visrec_training.train_cli import (
    add_data_arguments,
    add_settings_arguments,
    cache_folder,
    read_configs,
    read_source,
)

BEST, REPORT = "best.toml", "report.html"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_data_arguments(parser)
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("runs/tuned"),
        metavar="FOLDER",
        help=f"gets {BEST}, {REPORT} and the study, from which the same command goes on after a stop",
    )
    parser.add_argument(
        "--trials", type=_count, default=30, metavar="N", help="trainings in all, those before a stop too"
    )
    parser.add_argument(
        "--timeout", type=_minutes, default=math.inf, metavar="MINUTES", help="begin no trial after so long"
    )
    parser.add_argument(
        "--space",
        type=Path,
        metavar="FILE",
        help="what to search, as TOML: `dim = [64, 128]` or `learning_rate = {low = 1e-4, high = 1e-2, log ="
        " true}` below [model] or [train]; without it and --search, what validation can judge",
    )
    parser.add_argument(
        SEARCH,
        action="append",
        default=[],
        metavar="WHAT",
        help=f"what to search: {ON_THE_LINE}; overrides --space; may be repeated",
    )
    add_settings_arguments(parser)
    parser.set_defaults(resume=False)  # settings are never those of an earlier run


def run(args: argparse.Namespace) -> int:
    """Search."""
    deadline = time.monotonic() + 60 * args.timeout
    start = Start(*read_configs(args), args.weights)
    given = args.space is not None or args.search
    space = read_space(args.space, args.search) if given else default_space(start.model, start.train)
    check_space(space, start.model, start.train)
    if not space:
        raise ConfigError(f"{args.space} says nothing to search: name a setting in it, or give {SEARCH}")
    check_folders(args.out)
    with alone(args.out):
        return _search(args, Search(args.out, space, start), deadline)


def _search(args: argparse.Namespace, search: Search, deadline: float) -> int:
    dataset = read_source(args)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    workshop = Workshop(dataset, search.start, cache_folder(args.cache), args.out / "trial", device)
    if search.ended:
        print(f"going on: {len(search.ended)} of {args.trials} trials have ended")
    print(f"searching on {device.type}: {', '.join(search.space)}")
    try:
        search.run(workshop, args.trials, deadline, lambda trial: _tell(args, search, trial))
    except KeyboardInterrupt:
        print(f"\nstopped: {args.out} is whole; go on with the same command")
        if search.ended:
            _finish(args, search)
        return 130
    _finish(args, search)
    return 0


def _tell(args: argparse.Namespace, search: Search, trial: FrozenTrial) -> None:
    """Say on stderr how a trial went, and keep what is best so far."""
    best = search.best
    told = f"failed: {trial.user_attrs[ERROR]}" if ERROR in trial.user_attrs else _figures(trial)
    pruned = " (given up)" if trial.state is TrialState.PRUNED else ""
    where = f"trial {trial.number}, {len(search.ended)} of {args.trials}"
    print(f"{where}: {told}{pruned}; best {best.value:.4f} in trial {best.number}", file=sys.stderr)
    write_settings(args.out / BEST, *search.configs(best))


def _finish(args: argparse.Namespace, search: Search) -> None:
    write_settings(args.out / BEST, *search.configs(search.best))
    write_report(args.out / REPORT, search)
    first, best = search.ended[0], search.best
    print(f"the first trial, which the search starts from: {_figures(first)}")
    print(f"the best of {len(search.ended)}, trial {best.number}: {_figures(best)}")
    print(
        f"{args.out / BEST} trains it with `visrec train --config`; {args.out / REPORT} compares the trials"
    )


def _figures(trial: FrozenTrial) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in trial.user_attrs[FIGURES].items())


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is less than 1")
    return count


def _minutes(text: str) -> float:
    minutes = float(text)
    if not minutes > 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not above 0")
    return minutes
