"""How a supervised server is, told over HTTP: /live, /ready and /metrics."""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer

from visrec_client import output
from visrec_serving.errors import ServerFailed
from visrec_serving.events import tell
from visrec_serving.server import Server

FRESH = 10.0
"""Seconds for which an answered canary proves that the server is ready."""


@dataclass(slots=True)
class Health:
    """What is known. The supervisor writes it, whoever asks reads it."""

    fault: str = "it is starting"
    """Why the server is not ready; "" if nothing is wrong."""
    answered: float = float("-inf")
    """When the last canary was answered, by time.monotonic()."""
    canary_seconds: float = float("nan")
    """How long it took."""
    release: int | None = None
    """Which release answered it."""
    canary_failures: int = 0
    restarts: int = 0
    reloads: int = 0

    def why_not(self) -> str:
        """Why the server is not ready; "" if it is."""
        if self.fault:
            return self.fault
        age = time.monotonic() - self.answered
        return f"no canary was answered for {age:.0f} s" if age > FRESH else ""

    def metrics(self) -> str:
        """Tell all of it in Prometheus' text format."""
        lines = []
        for name, kind, value in (
            ("visrec_ready", "gauge", int(not self.why_not())),
            ("visrec_canary_seconds", "gauge", self.canary_seconds),
            ("visrec_canary_failures_total", "counter", self.canary_failures),
            ("visrec_restarts_total", "counter", self.restarts),
            ("visrec_reloads_total", "counter", self.reloads),
            ("visrec_events_dropped_total", "counter", output.dropped(sys.stdout)),
        ):
            lines += [f"# TYPE {name} {kind}", f"{name} {value}"]
        if self.release is not None:
            name = "visrec_release_info"
            lines += [f"# TYPE {name} gauge", f'{name}{{release="{self.release}"}} 1']
        return "\n".join(lines) + "\n"


class HealthEndpoint:
    """Answers from its construction until it is closed."""

    def __init__(self, health: Health, server: Server, port: int) -> None:
        """Listen where the server tells its metrics.

        Args:
            health: what is answered.
            server: its own metrics are told with those of its health.
            port: 0 picks a free one.

        Raises:
            ServerFailed: the port is in use or may not be listened on.
        """

        class Handler(_Handler):
            known = health
            supervised = server

        address = server.config.metrics_address or server.config.address
        try:
            self._server = _Server((address, port), Handler)
        except OSError as error:
            raise ServerFailed(
                f"can't listen on {address}:{port}: {(error.strerror or str(error)).lower()}; "
                "stop what uses it or choose another port with --health-port"
            ) from error
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, name="health", daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Tell what failed; a probe that did not wait for its answer is no news."""
        error = sys.exc_info()[1]
        if not isinstance(error, ConnectionError | TimeoutError):
            tell("health_failed", cause=repr(error))


class _Handler(BaseHTTPRequestHandler):
    known: Health
    supervised: Server
    timeout = 5  # a caller that sends nothing gets no thread for longer

    def do_GET(self) -> None:
        if self.path == "/live":
            self._answer(HTTPStatus.OK, "alive\n")
        elif self.path == "/ready":
            reason = self.known.why_not()
            status = HTTPStatus.SERVICE_UNAVAILABLE if reason else HTTPStatus.OK
            self._answer(status, f"{reason or 'ready'}\n")
        elif self.path == "/metrics":
            self._answer(HTTPStatus.OK, self.known.metrics() + self.supervised.metrics())
        else:
            self._answer(HTTPStatus.NOT_FOUND, "there are /live, /ready and /metrics\n")

    def log_message(self, format: str, *args: object) -> None:
        """Probes are no news."""

    def _answer(self, status: HTTPStatus, text: str) -> None:
        content = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
