"""`visrec serve`: Triton in the foreground."""

from __future__ import annotations

import argparse
import signal
import threading
from pathlib import Path

from visrec_client.errors import VisrecError
from visrec_serving.config import ServerConfig
from visrec_serving.server import Server


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `visrec serve`."""
    parser.add_argument(
        "--repository", type=Path, default=Path("model_repository"), help="folder of Triton models"
    )
    parser.add_argument("--grpc-port", type=int, default=8001, help="port for gRPC; 0 picks a free one")
    parser.add_argument("--http-port", type=int, default=8000, help="port for HTTP; 0 picks a free one")
    parser.add_argument("--metrics-port", type=int, default=8002, help="port for metrics; 0 picks a free one")
    parser.add_argument(
        "--address",
        default="127.0.0.1",
        help="IPv4 address to listen on; 0.0.0.0 lets in every machine, without asking who it is",
    )
    parser.add_argument(
        "--model-config-name",
        metavar="NAME",
        help="use each model's configs/NAME.pbtxt where it has one, such as fused, latency, gpu or cpu-16",
    )
    parser.add_argument(
        "--ready-timeout", type=float, default=60.0, metavar="SECONDS", help="give up starting after this"
    )
    parser.add_argument(
        "--exit-timeout",
        type=int,
        default=30,
        metavar="SECONDS",
        help="time that requests in flight get to finish when it is stopped",
    )
    parser.add_argument(
        "--log-file", type=Path, metavar="FILE", help="append Triton's log to this file, not to stderr"
    )
    parser.add_argument("--verbose", action="store_true", help="log every request")


def run(args: argparse.Namespace) -> int:
    """Serve until SIGTERM or Ctrl-C, then let requests in flight finish.

    Returns:
        0 after a stop that was asked for.

    Raises:
        VisrecError: if an argument is wrong, or Triton can't start or ends by itself.
    """
    try:
        config = ServerConfig(
            repository=args.repository,
            address=args.address,
            grpc_port=args.grpc_port,
            http_port=args.http_port,
            metrics_port=args.metrics_port,
            model_config_name=args.model_config_name,
            ready_timeout=args.ready_timeout,
            exit_timeout=args.exit_timeout,
            log_file=args.log_file,
            echo_log=args.log_file is None,
            verbose=args.verbose,
        )
    except ValueError as error:
        raise VisrecError(str(error)) from error
    asked_to_stop = threading.Event()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # while it starts, give up as Ctrl-C does
    with Server(config) as server:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: asked_to_stop.set())
        loaded = ", ".join(
            f"{name} {'+'.join(map(str, versions))}" for name, versions in server.loaded().items()
        )
        print(
            f"visrec: ready: gRPC {server.grpc_url}, HTTP {server.http_url}, "
            f"metrics {server.metrics_url}; loaded: {loaded}",
            flush=True,
        )
        while not asked_to_stop.wait(0.5):
            server.check()
    return 0
