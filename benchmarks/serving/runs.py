"""One run of one server: saturated, alone, and at 60% of saturated; for visrec with the limit beside it."""

from __future__ import annotations

import asyncio
import dataclasses
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tritonclient.grpc.aio as triton
from benchmarks.serving.load import Ask, HttpConnection, at_once, at_random
from benchmarks.serving.peers.registry import Peer, serve

from visrec_bench.limit import measure_limit
from visrec_bench.perf_analyzer import Load, PerfAnalyzer, Target
from visrec_bench.requests import draw_requests, write_input_data
from visrec_bench.statistics import Connection
from visrec_bench.sweep import measure, saturated
from visrec_client.channel import channel_options
from visrec_client.picture import load_picture
from visrec_serving import Server, ServerConfig
from visrec_training.data import Dataset

SHARE = 0.6
"""Of saturated throughput, at which the tail is measured."""
TIMEOUT = 5.0
"""Seconds that a call of visrec's client may take."""
CONNECTIONS = 256
"""More than are ever in flight at SHARE."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What every run shares."""

    dataset: Dataset
    work: Path
    seconds: float
    concurrencies: Sequence[int] = (1, 8, 16)
    """As many as visrec's queue takes."""
    more: Sequence[int] = (32,)
    """For peers, which bound nothing, and gain from it where they batch."""
    requests: int = 128
    cores: int = dataclasses.field(default_factory=lambda: len(os.sched_getaffinity(0)))


def run_visrec(config: ServerConfig, settings: Settings, seed: int) -> dict[str, Any]:
    """Measure a repository with perf_analyzer, and its graphs without a server right after.

    Raises:
        VisrecError: the server or perf_analyzer fails.
    """
    analyzer = PerfAnalyzer.find(settings.work.absolute() / "lib")
    with Server(config) as server:
        shapes = Connection(server.grpc_url).input_shapes("recommender")
        requests = draw_requests(settings.dataset, shapes, settings.requests, seed)
        data = settings.work.absolute() / "requests.json"
        write_input_data(requests, data)
        target = Target(url=server.grpc_url, model="recommender", input_data=data)
        closed = measure(
            analyzer,
            target,
            [Load(concurrency=concurrency) for concurrency in settings.concurrencies],
            seconds=settings.seconds,
            folder=settings.work,
        )
        limit = measure_limit(
            config.repository, "recommender", requests, cores=settings.cores, seconds=settings.seconds
        )
        rate = SHARE * saturated(closed).clients.throughput
        # a tail needs more answers than a mean
        (random,) = measure(
            analyzer, target, [Load(rate=rate)], seconds=2 * settings.seconds, folder=settings.work
        )
    return {
        "limit": dataclasses.asdict(limit),
        "at once": {str(m.load.concurrency): dataclasses.asdict(m) for m in closed},
        "at 60%": dataclasses.asdict(random),
    }


def run_client(
    config: ServerConfig, jpegs: Sequence[dict[str, Any]], settings: Settings, seed: int
) -> dict[str, Any]:
    """Measure a repository through visrec's own client code, from the same JPEGs that peers get."""
    with Server(config) as server:
        shapes = Connection(server.grpc_url).input_shapes("recommender")
        tensors = draw_requests(settings.dataset, shapes, settings.requests, seed)

        @asynccontextmanager
        async def askers(count: int) -> AsyncIterator[list[Ask]]:
            options = list(channel_options(TIMEOUT, None))  # the client's: what is refused is asked again
            async with triton.InferenceServerClient(server.grpc_url, channel_args=options) as client:

                async def ask(number: int) -> None:
                    place = number % settings.requests
                    picture = load_picture(jpegs[place]["bytes"])
                    inputs = []
                    for name, kind, tensor in (
                        ("IMAGE", "UINT8", picture[None]),
                        ("HISTORY", "BYTES", tensors["HISTORY"][place : place + 1]),
                        ("TEXT", "BYTES", tensors["TEXT"][place : place + 1]),
                    ):
                        inputs.append(triton.InferInput(name, list(tensor.shape), kind))
                        inputs[-1].set_data_from_numpy(tensor)
                    (await client.infer("recommender", inputs)).as_numpy("ITEM_ID")

                yield [ask] * count

        return asyncio.run(_loads(askers, settings.concurrencies, settings.seconds, seed))


def run_peer(
    peer: Peer, environment: dict[str, str], bodies: Sequence[bytes], settings: Settings, seed: int
) -> dict[str, Any]:
    """Measure a peer.

    Raises:
        VisrecError: it does not start.
        OSError: it does not answer.
    """
    with serve(peer, environment, settings.work, bodies[0]) as port:

        @asynccontextmanager
        async def askers(count: int) -> AsyncIterator[list[Ask]]:
            yield [HttpConnection(port, bodies) for _ in range(count)]

        concurrencies = (*settings.concurrencies, *settings.more)
        return asyncio.run(_loads(askers, concurrencies, settings.seconds, seed))


async def _loads(
    askers: Callable[[int], Any], concurrencies: Sequence[int], seconds: float, seed: int
) -> dict[str, Any]:
    async with askers(max(concurrencies)) as some:  # adaptive batching has to learn first
        await at_once(some, seconds)
    closed = {}
    for concurrency in concurrencies:
        async with askers(concurrency) as some:
            closed[concurrency] = await at_once(some, seconds)
    rate = SHARE * max(latencies.throughput for latencies in closed.values())
    async with askers(CONNECTIONS) as some:
        random = await at_random(some, rate, 2 * seconds, seed)
    return {
        "at once": {str(key): {"clients": dataclasses.asdict(value)} for key, value in closed.items()},
        "at 60%": {"clients": dataclasses.asdict(random), "load": {"rate": rate}},
    }
