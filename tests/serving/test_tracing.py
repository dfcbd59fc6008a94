"""Triton tells an OpenTelemetry collector where requests spend their time."""

import json
import queue
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest


@pytest.fixture
def collector():
    """A collector's URL, and what it got."""
    received = queue.Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            received.put((self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1/traces", received
        server.shutdown()


def test_one_request_in_a_hundred_is_traced(repository, start, ask, collector):
    url, received = collector
    feeds = {name: np.ones((1, 3), np.float32) for name in ("FIRST", "SECOND")}
    with start(repository, models=("add",), trace_url=url) as server:
        ask(server, "add", *[feeds] * 200)
    path, traces = received.get(timeout=20)
    assert path == "/v1/traces"
    scopes = traces["resourceSpans"][0]["scopeSpans"]
    names = [span["name"] for scope in scopes for span in scope["spans"]]
    assert names.count("add") in (1, 2) and "compute" in names
