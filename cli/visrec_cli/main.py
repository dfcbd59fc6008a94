"""The `visrec` command: one parser, whose subcommands import what they need when they run.

Each subcommand is a module with two functions, `add_arguments(parser)` and `run(args)`, in the package
that owns the capability. Only the chosen one is imported, so `visrec recommend` never loads torch.
"""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
import threading
from typing import NamedTuple

from visrec_client import output
from visrec_client.errors import VisrecError

STOPPED = 130
READER_LEFT = 128 + signal.SIGPIPE
"""As a shell tells of a program whose reader has gone."""


class Subcommand(NamedTuple):
    """Where a subcommand lives, what it does in a line, and the extra that brings what it imports."""

    module: str
    summary: str
    extra: str | None
    prints_result: bool = False
    """What it prints is what it is for, not news of its work."""


SUBCOMMANDS = {
    "train": Subcommand(
        "visrec_training.train_cli", "learn from a folder of items and interactions", "train"
    ),
    "tune": Subcommand("visrec_training.tune_cli", "search for settings that suit a folder of data", "tune"),
    "evaluate": Subcommand(
        "visrec_training.evaluate_cli", "measure a checkpoint on held-out data", "train", True
    ),
    "compare": Subcommand(
        "visrec_training.compare_cli", "tell which of several measured models is better", "train", True
    ),
    "export": Subcommand("visrec_export.cli", "publish a checkpoint to a Triton model repository", "export"),
    "serve": Subcommand("visrec_serving.cli", "start Triton with a model repository", "serve"),
    "release": Subcommand("visrec_serving.release_cli", "have a running server switch to a release", "serve"),
    "rollback": Subcommand(
        "visrec_serving.rollback_cli", "have a running server go back to the release before", "serve"
    ),
    "status": Subcommand(
        "visrec_serving.status_cli", "tell which release is served, and which others there are", "serve", True
    ),
    "catalog": Subcommand(
        "visrec_export.catalog_cli", "have a running server recommend new items, or some no longer", "export"
    ),
    "bench": Subcommand("visrec_bench.cli", "measure how fast a running server answers", "bench"),
    "recommend": Subcommand("visrec_client.cli", "ask a running server for recommendations", None, True),
    "demo": Subcommand("visrec_demo.cli", "a sticker shop, from pictures to served answers", "demo"),
}


def main(argv: list[str] | None = None) -> int:
    """Run one subcommand.

    Args:
        argv: words of the command line, without the program's name; `sys.argv[1:]` if None.

    Returns:
        The exit code: 0 done, 1 an error that was told in one line, 2 wrong usage, 130 stopped by a signal,
        141 if whoever read the result has gone.
    """
    argv = sys.argv[1:] if argv is None else argv
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # onnxruntime would keep an id of this machine
    chosen = SUBCOMMANDS.get(argv[0]) if argv else None
    prints_result = chosen is None or chosen.prints_result or not {"-h", "--help"}.isdisjoint(argv)
    with output.guarded(wait=prints_result) as stdout:
        _end_as_ctrl_c_does()
        try:
            code = _run(argv)
        except KeyboardInterrupt:
            print("visrec: stopped", file=sys.stderr)
            return STOPPED
        sys.stdout.flush()
        if prints_result and stdout is not None and stdout.fault:
            return READER_LEFT if stdout.reader_left else _fail(stdout.problem)
        return code


def _run(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="visrec", description="Recommends items from pictures.")
    subparsers = parser.add_subparsers(dest="subcommand", metavar="SUBCOMMAND", required=True)
    chosen = argv[0] if argv else None
    module = None
    for name, subcommand in SUBCOMMANDS.items():
        subparser = subparsers.add_parser(
            name,
            help=subcommand.summary,
            description=subcommand.summary[0].upper() + subcommand.summary[1:] + ".",
            formatter_class=_HelpFormatter,
        )
        if name == chosen:
            try:
                module = importlib.import_module(subcommand.module)
            except ModuleNotFoundError as error:
                if subcommand.extra is None or (error.name or "").startswith("visrec"):
                    raise
                return _fail(
                    f"'visrec {name}' needs the package '{error.name}':"
                    f" pip install 'visrec[{subcommand.extra}]'"
                )
            module.add_arguments(subparser)
    args = parser.parse_args(argv)
    assert module is not None  # noqa: S101  (argparse has left by now if no subcommand was chosen)
    try:
        return int(module.run(args) or 0)
    except VisrecError as error:
        return _fail(str(error))


def _end_as_ctrl_c_does() -> None:
    """Have SIGTERM, and a terminal that is closed, end the work in a way that lets it tidy up."""
    if threading.current_thread() is not threading.main_thread():
        return  # whoever calls from a thread keeps its own way
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:  # not under nohup
        signal.signal(signal.SIGHUP, signal.default_int_handler)


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Tells defaults, but for those that say nothing."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        silent = action.default is None or action.default is False or action.default in ("", (), [])
        return action.help if silent else super()._get_help_string(action)


def _fail(message: str) -> int:
    print(f"visrec: error: {' '.join(message.splitlines())}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
