"""`visrec rollback`: a running server answers with the release before, without a failed call."""

from __future__ import annotations

import argparse

from visrec_serving.control_options import add_control_arguments, read_access
from visrec_serving.model_control import ModelControl
from visrec_serving.switch import rollback


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_control_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Go back.

    Raises:
        VisrecError: there is nothing to go back to, it is refused, or the server does not answer.
    """
    with ModelControl(read_access(args)) as control:
        rollback(args.repository, control, print)
    return 0
