"""Ten times more than a server can do."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import grpc.aio
import numpy as np
from benchmarks.faults.callers import Seen, answers, callers, real_requests
from benchmarks.faults.kills import DIMENSIONS
from benchmarks.faults.rows import Row, Settings
from benchmarks.faults.servers import Use, serve, use
from tritonclient.grpc.service_pb2 import ModelInferRequest
from tritonclient.utils import np_to_triton_dtype, serialize_byte_tensor

from visrec_client import Overloaded, Recommender, Request
from visrec_client.channel import LARGEST_MESSAGE, SERVICE
from visrec_client.status import error_from_status
from visrec_client.wire import ranking_request
from visrec_training.data import read_dataset

TIMES = 10
SECONDS = 30.0
SATURATING = 16
"""Callers that keep two instances busy, and hardly a queue."""
POLITE = 5.0
"""Calls a second of a service that calls while others flood."""


@dataclass(slots=True)
class Flood:
    """What happened to those who sent without waiting for anybody."""

    accepted: list[float] = field(default_factory=list)
    """Seconds."""
    rejected: list[float] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    """Other ends."""
    late: float = 0.0
    """Seconds that the last was sent after its time: the flood itself costs work."""


def overload(settings: Settings) -> Row:
    """Send ten times the saturated throughput for half a minute."""
    requests = real_requests(read_dataset(settings.data), 64)
    seconds = max(5.0, settings.scale * SECONDS)
    with (
        serve(settings.repository, "fused", settings.work, "overload") as server,
        Recommender(server.url, timeout=15) as recommender,
    ):
        expected = answers(recommender, requests)
        known = {expected[0].release: expected}
        with callers(recommender, requests, known, threads=1) as alone:
            time.sleep(3)
        with callers(recommender, requests, known, threads=SATURATING) as normal:
            time.sleep(seconds / 3)
        saturated = normal.answered / (seconds / 3)
        pids = [*server.descendants()]
        uses: list[Use] = [use(pids)]
        watching = threading.Event()
        watch = threading.Thread(target=_watch, args=(pids, uses, watching))
        watch.start()
        with callers(recommender, requests, known, threads=1, rate=POLITE) as polite:
            flood = asyncio.run(_flood(server.url, requests, TIMES * saturated, seconds))
        back = _back(recommender, requests, limit=2 * float(np.median(alone.seconds)))
        time.sleep(5)
        watching.set()
        watch.join()
        uses.append(use(pids))
    return _row(seconds, saturated, normal, polite, flood, uses, back)


def _row(
    seconds: float,
    saturated: float,
    normal: Seen,
    polite: Seen,
    flood: Flood,
    uses: Sequence[Use],
    back: float,
) -> Row:
    rejected, accepted = _p99(flood.rejected), _p99(flood.accepted)
    usual = float(normal.summary()["p99_ms"])
    memory = [moment.memory_mb for moment in uses]
    return Row(
        fault=f"{TIMES} times the saturated load",
        done={"seconds": seconds, "sent": len(flood.accepted) + len(flood.rejected) + len(flood.others)},
        seen={
            "saturated, answers a second": round(saturated, 1),
            "p99 ms then": usual,
            "accepted": len(flood.accepted),
            "accepted p99 ms": accepted,
            "rejected": len(flood.rejected),
            "rejected p50 ms": round(1000 * float(np.median(flood.rejected or [0])), 1),
            "rejected p99 ms": rejected,
            "other ends": len(flood.others),
            "the last was sent late by s": round(flood.late, 2),
            "a polite client meanwhile": polite.summary(),
            "memory MB before, most, after": [round(memory[0]), round(max(memory)), round(memory[-1])],
            "normal again after s": round(back, 2),
        },
        holds={
            "rejected within 50 ms": rejected <= 50,
            "only as Overloaded": not flood.others and set(polite.failed) <= {"Overloaded"},
            "accepted p99 at most 3 times normal": accepted <= 3 * usual,
            "memory flat": memory[-1] <= 1.1 * memory[0],
            "normal within 2 s": back <= 2,
        },
    )


def _p99(seconds: Sequence[float]) -> float:
    return round(1000 * float(np.percentile(seconds, 99)), 1) if seconds else float("nan")


def _watch(pids: list[int], uses: list[Use], stop: threading.Event) -> None:
    while not stop.wait(1):
        uses.append(use(pids))


async def _flood(url: str, requests: Sequence[Request], rate: float, seconds: float) -> Flood:
    flood = Flood()
    messages = [_message(request) for request in requests]
    # without retries: what is counted is what the server did
    options = [("grpc.enable_retries", 0), ("grpc.max_send_message_length", LARGEST_MESSAGE)]
    async with grpc.aio.insecure_channel(url, options=options) as channel:
        call = channel.unary_unary(f"/{SERVICE}/ModelInfer")  # sends bytes as they are

        async def send(number: int) -> None:
            start = time.perf_counter()
            try:
                await call(messages[number % len(messages)], timeout=15.0)
                flood.accepted.append(time.perf_counter() - start)
            except grpc.aio.AioRpcError as error:
                cause = error_from_status(error.code().name, error.details() or "", url)
                if isinstance(cause, Overloaded):
                    flood.rejected.append(time.perf_counter() - start)
                else:
                    flood.others.append(str(cause))

        begin = time.perf_counter()
        tasks = set()
        for number in range(round(rate * seconds)):
            late = time.perf_counter() - begin - number / rate
            await asyncio.sleep(max(-late, 0))
            if late > seconds / 2:  # this machine can't send more
                break
            tasks.add(task := asyncio.create_task(send(number)))
            task.add_done_callback(tasks.discard)
        flood.late = max(0.0, late)
        await asyncio.gather(*tasks)
    return flood


def _message(request: Request) -> bytes:
    """A request with a picture, ready to be sent."""
    assert isinstance(request.image, np.ndarray)  # noqa: S101  (for the type checker)
    model, tensors = ranking_request(DIMENSIONS, request.image, request.history, request.text)
    message = ModelInferRequest(model_name=model)
    for name, tensor in tensors.items():
        kind = np_to_triton_dtype(tensor.dtype)
        message.inputs.add(name=name, datatype=kind, shape=tensor.shape)
        content = serialize_byte_tensor(tensor).item() if kind == "BYTES" else tensor.tobytes()
        message.raw_input_contents.append(content)
    return message.SerializeToString()


def _back(recommender: Recommender, requests: Sequence[Request], limit: float) -> float:
    """Seconds until ten answers in a row take no longer than usual."""
    begin = time.monotonic()
    since, row = begin, 0
    while row < 10 and time.monotonic() - begin < 30:
        start = time.monotonic()
        request = requests[row]
        try:
            recommender.recommend(request.image, request.history, request.text)
            quick = time.monotonic() - start <= limit
        except Overloaded:
            quick = False
        if quick and row == 0:
            since = start
        row = row + 1 if quick else 0
    return since - begin if row == 10 else float("inf")
