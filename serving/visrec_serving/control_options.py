"""The options that every command shares that controls a running server."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from visrec_client.errors import VisrecError
from visrec_serving.keys import ENVIRONMENT, FILE, read_key
from visrec_serving.model_control import Access
from visrec_serving.repository import check_name


def add_control_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare them."""
    parser.add_argument(
        "--repository",
        type=Path,
        default=Path("model_repository"),
        metavar="FOLDER",
        help="the model repository that the server serves",
    )
    parser.add_argument("--url", default="localhost:8001", help="host:port of the server's gRPC")
    parser.add_argument(
        "--admin-key-file",
        type=Path,
        metavar="FILE",
        help="holds the server's admin key; without it, the repository's .admin-key if there is one",
    )
    parser.add_argument(
        "--api-key-file",
        type=Path,
        metavar="FILE",
        help="holds the server's API key; without it, the environment's VISREC_API_KEY",
    )
    parser.add_argument("--ca", type=Path, metavar="FILE", help="PEM of who signed the server's certificate")
    parser.add_argument("--certificate", type=Path, metavar="FILE", help="PEM to show where TLS is mutual")
    parser.add_argument("--private-key", type=Path, metavar="FILE", help="PEM of that certificate's key")


def read_access(args: argparse.Namespace) -> Access:
    """Read the keys that the options name.

    Raises:
        VisrecError: a file can't be read, the repository is missing, or options don't fit together.
    """
    repository: Path = args.repository
    check_name(repository)
    if not (repository / "recommender" / "config.pbtxt").is_file():
        raise VisrecError(f"no model repository at {repository}: give its folder with --repository")
    if bool(args.certificate) != bool(args.private_key) or (args.certificate and not args.ca):
        raise VisrecError("--certificate goes with --private-key, and both with --ca")
    for path in (args.ca, args.certificate, args.private_key):
        if path is not None and not path.is_file():
            raise VisrecError(f"there is no file {path}")
    own = repository / FILE
    admin_key = args.admin_key_file or (own if own.is_file() else None)
    return Access(
        url=args.url,
        admin_key=read_key(admin_key) if admin_key else None,
        api_key=read_key(args.api_key_file) if args.api_key_file else os.environ.get(ENVIRONMENT),
        ca=args.ca,
        certificate=args.certificate,
        private_key=args.private_key,
    )
