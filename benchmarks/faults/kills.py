"""Processes that die under load, and who notices."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import tritonclient.grpc as triton
from benchmarks.faults.callers import answers, callers, real_requests
from benchmarks.faults.rows import Row, Settings
from benchmarks.faults.servers import Supervised, serve
from tritonclient.utils import InferenceServerException

from visrec_client import Recommender, Request
from visrec_client.transport import infer_input
from visrec_client.wire import Dimensions, ranking_request
from visrec_training.data import read_dataset

EVERY = 10.0
"""Seconds from one kill to the next."""
RATE = 20.0
"""Calls a second of all callers: two servers and those who call them share two cores."""
IN_A_ROW = 20
"""Probes that have to be answered before a server counts as back: half of them may meet a living process."""
DIMENSIONS = Dimensions(
    picture_size=224, history_length=50, items=100, aspects=8, aspect_width=64, regions=49
)


class Probe:
    """Asks without trying again, at a steady pace, and remembers when it failed."""

    def __init__(self, target: str, request: Request, interval: float) -> None:
        options: list[tuple[str, Any]] = [("grpc.enable_retries", 0), ("grpc.max_reconnect_backoff_ms", 500)]
        options.append(("grpc.service_config", '{"loadBalancingConfig": [{"round_robin": {}}]}'))
        self._client = triton.InferenceServerClient(target, channel_args=options)
        self._inputs = prepared(request)
        self._interval = interval
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self.results: list[tuple[float, bool]] = []
        """When each was asked (monotonic), and whether it was answered."""

    def __enter__(self) -> Probe:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()
        self._client.close()

    def _work(self) -> None:
        while not self._stop.wait(self._interval):
            start = time.monotonic()
            try:
                self._client.infer("recommender", self._inputs, client_timeout=2.0)
                self.results.append((start, True))
            except InferenceServerException:
                self.results.append((start, False))

    def failed_share(self) -> float:
        """Of all that were asked."""
        return sum(not answered for _, answered in self.results) / max(1, len(self.results))

    def outage(self, since: float, until: float) -> float:
        """Seconds from a moment to the first of enough answers in a row; infinite if there were none."""
        row: list[float] = []
        for asked, answered in self.results:
            if since <= asked < until:
                row = [*row, asked] if answered else []
                if len(row) == IN_A_ROW:
                    return row[0] - since
        return float("inf")


def prepared(request: Request) -> list[triton.InferInput]:
    """A request with a picture as tritonclient takes it."""
    assert isinstance(request.image, np.ndarray)  # noqa: S101  (for the type checker)
    _, tensors = ranking_request(DIMENSIONS, request.image, request.history, request.text)
    return [infer_input(name, tensor) for name, tensor in tensors.items()]


@contextmanager
def two_servers(
    settings: Settings,
) -> Iterator[tuple[Supervised, Supervised, Recommender, Sequence[Request], dict[int, Any]]]:
    """Two servers of one repository, a recommender for both, and what it is answered."""
    requests = real_requests(read_dataset(settings.data), 64)
    with (
        serve(settings.repository, None, settings.work, "first") as first,
        serve(settings.repository, None, settings.work, "second") as second,
        Recommender([first.url, second.url], timeout=15) as recommender,
    ):
        expected = answers(recommender, requests)
        yield first, second, recommender, requests, {expected[0].release: expected}


def stub_killed(settings: Settings) -> Row:
    """Kill a process of the encoder every ten seconds."""
    kills = settings.times(6)
    outages = []
    with two_servers(settings) as (first, second, recommender, requests, expected):
        both = f"ipv4:{first.url},{second.url}"
        with (
            Probe(first.url, requests[0], 0.05) as probe,
            Probe(both, requests[0], 0.1) as without_retries,
            callers(recommender, requests, expected, rate=RATE) as seen,
        ):
            for _ in range(kills):
                killed = time.monotonic()
                os.kill(first.stub("encoder"), signal.SIGKILL)
                time.sleep(EVERY)
                outages.append(round(probe.outage(killed, killed + EVERY), 2))
    return Row(
        fault="a process of the encoder is killed (SIGKILL) under load, on one of two servers",
        done={"kills": kills, "every s": EVERY, "calls a second": RATE},
        seen={
            "seconds until that server answers all again": outages,
            "clients with retries and failover": seen.summary(),
            "failed share without retries, over both servers": without_retries.failed_share(),
        },
        holds={
            "no wrong answer": not seen.wrong and seen.answered > 0,
            "back within 5 s each time": max(outages) <= 5,
            "below 1% failed with two servers and no retries": without_retries.failed_share() < 0.01,
            "none failed with the client's failover": not seen.failed,
        },
    )


def server_killed(settings: Settings) -> Row:
    """Kill one of two servers every ten seconds; its supervisor starts it again."""
    kills = settings.times(3)
    with (
        two_servers(settings) as (first, _, recommender, requests, expected),
        callers(recommender, requests, expected, rate=RATE) as seen,
        Probe(first.url, requests[0], 0.05) as probe,
    ):
        outages = [_kill_server(first, probe) for _ in range(kills)]
    return Row(
        fault="one of two servers is killed (SIGKILL) under load, and started again by its supervisor",
        done={"kills": kills, "calls a second": RATE},
        seen={"seconds until that server answers again": outages, "clients": seen.summary()},
        holds={"none failed": not seen.failed, "no wrong answer": not seen.wrong and seen.answered > 0},
    )


def _kill_server(server: Supervised, probe: Probe) -> float:
    killed = time.monotonic()
    os.kill(server.triton(), signal.SIGKILL)
    while (outage := probe.outage(killed, float("inf"))) == float("inf") and time.monotonic() < killed + 60:
        time.sleep(0.5)
    time.sleep(EVERY / 2)
    return round(outage, 2)
