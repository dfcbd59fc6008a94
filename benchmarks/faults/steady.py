"""Half an hour of steady load: nothing grows."""

from __future__ import annotations

import os
import time

import numpy as np
from benchmarks.faults.callers import answers, callers, real_requests
from benchmarks.faults.kills import RATE
from benchmarks.faults.rows import Row, Settings
from benchmarks.faults.servers import Use, serve, use
from tqdm import tqdm

from visrec_client import Recommender
from visrec_training.data import read_dataset

MINUTES = 30
EVERY = 5.0
WARM_UP = 60.0
"""Seconds in which buffers reach their size."""
MEMORY = 0.02
"""Share of memory that is no growth but noise."""


def steady(settings: Settings) -> Row:
    """Ask at a steady pace, and look at what server and client hold."""
    minutes = max(3.0, settings.scale * MINUTES)
    requests = real_requests(read_dataset(settings.data), 64)
    with (
        serve(settings.repository, "fused", settings.work, "steady") as server,
        Recommender(server.url, timeout=15) as recommender,
    ):
        expected = answers(recommender, requests)
        known = {expected[0].release: expected}
        with callers(recommender, requests, known, rate=RATE) as seen:
            time.sleep(WARM_UP)
            servers, clients = [], []
            for _ in tqdm(range(round(minutes * 60 / EVERY)), "steady load", leave=False):
                time.sleep(EVERY)
                servers.append(use([server.process.pid, *server.descendants()]))
                clients.append(use([os.getpid()]))
    return Row(
        fault="steady load",
        done={"minutes": minutes, "calls a second": RATE},
        seen={
            "callers": seen.summary(),
            "server, first and last tenth": _ends(servers),
            "client, first and last tenth": _ends(clients),
        },
        holds={
            "none failed, none wrong": not seen.failed and not seen.wrong,
            "the server does not grow": not _grows(servers),
            # who calls keeps the time of each answer: a few bytes a call
            "the client does not grow": not _grows(clients),
        },
    )


def _ends(uses: list[Use]) -> dict[str, list[float]]:
    tenth = max(1, len(uses) // 10)
    return {
        name: [
            round(float(np.median([getattr(moment, name) for moment in part])), 1)
            for part in (uses[:tenth], uses[-tenth:])
        ]
        for name in ("memory_mb", "files", "threads", "shm_mb")
    }


def _grows(uses: list[Use]) -> bool:
    ends = _ends(uses)
    first, last = ends.pop("memory_mb")
    return last > first * (1 + MEMORY) or any(last > first for first, last in ends.values())
