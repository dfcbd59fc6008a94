"""Load on anything that can be asked from Python: the same for every peer, and for visrec's own client."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

import numpy as np

from visrec_bench.perf_analyzer import Latencies

Ask: TypeAlias = Callable[[int], Awaitable[None]]
"""Sends a request, told by its number, and returns when its answer is there."""
WARM_UP = 1.0
"""Seconds before anything counts."""


class HttpConnection:
    """A connection that is kept open, with requests made beforehand: the generator must not be the limit."""

    def __init__(self, port: int, bodies: Sequence[bytes]) -> None:
        """Prepare POST requests of JSON to /recommend at a port of this machine."""
        head = "POST /recommend HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        self._requests = [f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body for body in bodies]
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def __call__(self, number: int) -> None:
        """Send one request and read its answer.

        Raises:
            OSError: the connection fails, or the answer isn't 200.
        """
        if self._streams is None or self._streams[0].at_eof():  # servers close what is idle for long
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        writer.write(self._requests[number % len(self._requests)])
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
        body = await reader.readexactly(length)
        if b" 200 " not in head.split(b"\r\n")[0]:
            raise OSError(f"{head.splitlines()[0].decode()}: {body[:200].decode(errors='replace')}")


async def at_once(askers: Sequence[Ask], seconds: float) -> Latencies:
    """Keep each asker busy: its next request follows its answer.

    Args:
        askers: as many as there are requests in flight.
        seconds: how long is measured.
    """
    begin = time.perf_counter() + WARM_UP
    times: list[float] = []

    async def work(place: int) -> None:
        number = place
        while (start := time.perf_counter()) < begin + seconds:
            await askers[place](number)
            number += len(askers)
            if start >= begin:
                times.append(time.perf_counter() - start)

    await asyncio.gather(*(work(place) for place in range(len(askers))))
    return _latencies(times, time.perf_counter() - begin)


async def at_random(askers: Sequence[Ask], rate: float, seconds: float, seed: int) -> Latencies:
    """Send requests at random times (Poisson), whether or not the earlier ones are answered.

    Args:
        askers: more than are ever in flight; what finds none free waits, and its waiting counts.
        rate: requests a second.
        seconds: how long is measured.
        seed: decides the times.
    """
    gaps = np.random.default_rng(seed).exponential(1 / rate, round(rate * (WARM_UP + seconds)))
    begin = time.perf_counter()
    due = begin + np.cumsum(gaps)
    free: asyncio.LifoQueue[Ask] = asyncio.LifoQueue()
    for asker in askers:
        free.put_nowait(asker)
    times: list[float] = []

    async def one(number: int, at: float) -> None:
        asker = await free.get()
        await asker(number)
        free.put_nowait(asker)
        if at >= begin + WARM_UP:
            times.append(time.perf_counter() - at)

    tasks = []
    for number, at in enumerate(due.tolist()):
        await asyncio.sleep(max(at - time.perf_counter(), 0))
        tasks.append(asyncio.create_task(one(number, at)))
    await asyncio.gather(*tasks)
    return _latencies(times, time.perf_counter() - begin - WARM_UP)


def _latencies(times: Sequence[float], seconds: float) -> Latencies:
    p50, p90, p95, p99 = (1000 * float(value) for value in np.percentile(times, [50, 90, 95, 99]))
    return Latencies(
        throughput=len(times) / seconds,
        p50_ms=p50,
        p90_ms=p90,
        p95_ms=p95,
        p99_ms=p99,
        mean_ms=1000 * float(np.mean(times)),
        behind=0,
    )
