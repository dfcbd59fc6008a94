"""As many requests as three minutes of benchmarks.faults' steady load: nothing grows."""

import os

import numpy as np
from benchmarks.faults.servers import use
from dummy_graphs import ITEMS

from visrec_client import Recommendation, Recommender, Request
from visrec_serving.process import children

PICTURE = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
REQUESTS = [Request(PICTURE if n % 2 else None, history=ITEMS[n : n + 5]) for n in range(100)]
WARM_UP, ROUNDS = 6, 36


def test_neither_server_nor_client_grows(committed_server):
    processes = [committed_server.pid, *children(committed_server.pid)]
    regions = f"{committed_server._memory.prefix}*"
    seen = []
    with Recommender(committed_server.grpc_url, timeout=30) as recommender:
        for _ in range(WARM_UP + ROUNDS):
            answers = recommender.recommend_many(REQUESTS, in_flight=8)
            assert all(isinstance(answer, Recommendation) for answer in answers)
            seen.append((use(processes, regions), use([os.getpid()], regions)))
    for before, after in zip(seen[WARM_UP], seen[-1], strict=True):
        assert after.files <= before.files
        assert after.threads <= before.threads
        assert after.shm_mb <= before.shm_mb
        assert after.memory_mb <= 1.03 * before.memory_mb
