"""`visrec release`: a running server answers with another release, without a failed call."""

from __future__ import annotations

import argparse

from visrec_client.errors import VisrecError
from visrec_serving.control_options import add_control_arguments, read_access
from visrec_serving.model_control import ModelControl
from visrec_serving.releases import find
from visrec_serving.switch import release


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "release", type=int, nargs="?", metavar="N", help="number of the release; without it, the newest"
    )
    add_control_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Switch.

    Raises:
        VisrecError: the release is refused, and what was served still is; or the server does not answer.
    """
    access = read_access(args)
    number = args.release
    if number is None:
        if not (releases := find(args.repository)):
            raise VisrecError(f"{args.repository} holds no release: run `visrec export` first")
        number = max(releases)
    with ModelControl(access) as control:
        release(args.repository, number, control, print)
    return 0
