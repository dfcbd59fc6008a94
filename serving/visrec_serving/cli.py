"""`visrec serve`: a supervised Triton in the foreground."""

from __future__ import annotations

import argparse
import signal
import threading
from pathlib import Path

from visrec_client.errors import VisrecError
from visrec_serving.config import ServerConfig
from visrec_serving.events import tell
from visrec_serving.server import Server
from visrec_serving.supervisor import Supervisor, SupervisorConfig
from visrec_serving.tls import Tls


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `visrec serve`."""
    parser.add_argument(
        "--repository", type=Path, default=Path("model_repository"), help="folder of Triton models"
    )
    parser.add_argument("--grpc-port", type=int, default=8001, help="port for gRPC; 0 picks a free one")
    parser.add_argument("--http-port", type=int, default=8000, help="port for HTTP, on loopback; 0: any")
    parser.add_argument("--metrics-port", type=int, default=8002, help="port for metrics; 0 picks a free one")
    parser.add_argument(
        "--address",
        default="127.0.0.1",
        help="IPv4 address that gRPC listens on; 0.0.0.0 lets in every machine: give an API key, and TLS",
    )
    parser.add_argument("--health-port", type=int, default=8003, help="port for /live, /ready and /metrics")
    parser.add_argument(
        "--metrics-address", metavar="ADDRESS", help="IPv4 address of metrics and health, if another"
    )
    parser.add_argument(
        "--api-key-file",
        type=Path,
        metavar="FILE",
        help="holds the key that callers have to send; without it, the environment's VISREC_API_KEY, and "
        "without either, all may ask",
    )
    parser.add_argument(
        "--admin-key-file",
        type=Path,
        metavar="FILE",
        help="holds the key that guards control; without it, .admin-key in the repository, made if missing",
    )
    parser.add_argument("--tls-cert", type=Path, metavar="FILE", help="PEM certificate: gRPC is encrypted")
    parser.add_argument("--tls-key", type=Path, metavar="FILE", help="PEM of its private key")
    parser.add_argument(
        "--tls-client-ca",
        type=Path,
        metavar="FILE",
        help="PEM of the authority whose certificates callers have to show",
    )
    parser.add_argument(
        "--trace-url", metavar="URL", help="OpenTelemetry collector that gets one request in a hundred"
    )
    parser.add_argument(
        "--restarts",
        type=int,
        default=5,
        metavar="N",
        help="times that Triton is started again within five minutes before giving up",
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
    """Serve until SIGTERM, SIGHUP or Ctrl-C, then let requests in flight finish; a second ends it at once.

    Returns:
        0 after a stop that was asked for.

    Raises:
        VisrecError: if an argument is wrong, or Triton can't start or ends too often.
        KeyboardInterrupt: at a signal before it is ready, and at the second.
    """
    supervisor = _supervisor(args)
    asked_to_stop, asked_again = threading.Event(), threading.Event()

    def stop(*_: object) -> None:
        if asked_to_stop.is_set():
            # An exception could be raised just before Triton is ended, which would then live on.
            asked_again.set()
            supervisor.server.kill()
            return
        asked_to_stop.set()
        if supervisor.starting:
            raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # as nohup has it
            signal.signal(number, stop)
    with supervisor:
        server = supervisor.server
        loaded = ", ".join(
            f"{name} {'+'.join(map(str, versions))}" for name, versions in server.loaded().items()
        )
        print(
            f"visrec: ready: gRPC {server.grpc_url}, HTTP {server.http_url}, "
            f"metrics {server.metrics_url}, health {supervisor.health_url}; loaded: {loaded}",
            flush=True,
        )
        supervisor.watch(asked_to_stop)
        tell("stopping", exit_timeout_s=args.exit_timeout)
    if asked_again.is_set():
        raise KeyboardInterrupt
    return 0


def _supervisor(args: argparse.Namespace) -> Supervisor:
    if bool(args.tls_cert) != bool(args.tls_key) or (args.tls_client_ca and not args.tls_cert):
        raise VisrecError("--tls-cert goes with --tls-key, and --tls-client-ca with both")
    tls = Tls(cert=args.tls_cert, key=args.tls_key, client_ca=args.tls_client_ca) if args.tls_cert else None
    try:
        config = ServerConfig(
            repository=args.repository,
            address=args.address,
            grpc_port=args.grpc_port,
            http_port=args.http_port,
            metrics_port=args.metrics_port,
            metrics_address=args.metrics_address,
            admin_key_file=args.admin_key_file,
            api_key_file=args.api_key_file,
            tls=tls,
            trace_url=args.trace_url,
            model_config_name=args.model_config_name,
            ready_timeout=args.ready_timeout,
            exit_timeout=args.exit_timeout,
            log_file=args.log_file,
            echo_log=args.log_file is None,
            verbose=args.verbose,
        )
        return Supervisor(
            Server(config), SupervisorConfig(health_port=args.health_port, restarts=args.restarts)
        )
    except ValueError as error:
        raise VisrecError(str(error)) from error
