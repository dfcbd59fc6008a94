"""Several servers behind one client, and what happens when one of them dies."""

import os
import signal
import threading
import time

import pytest
import tritonclient.grpc as grpcclient
from dummy_graphs import ITEMS, committed_repository, keep_ports

from visrec_client import Recommender, Request, VisrecError


@pytest.fixture
def two(tmp_path, start):
    """Two servers of the same release."""
    repository = committed_repository(tmp_path / "models")
    with start(repository) as first, start(repository) as second:
        yield first, second


class Callers:
    """Threads that go on asking, and the errors that they met."""

    def __init__(self, recommender, threads=8):
        self.recommender, self.stop, self.answered, self.errors = recommender, threading.Event(), 0, []
        self.threads = [threading.Thread(target=self.ask) for _ in range(threads)]

    def ask(self):
        while not self.stop.is_set():
            try:
                assert self.recommender.recommend(history=ITEMS[:3]).items
                self.answered += 1
            except VisrecError as error:
                self.errors.append(error)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *error):
        self.stop.set()
        for thread in self.threads:
            thread.join()


def calls(server):
    """How many requests a server has answered."""
    with grpcclient.InferenceServerClient(server.grpc_url) as client:
        return client.get_inference_statistics("ranker").model_stats[0].inference_stats.success.count


def test_calls_are_spread_over_the_servers(two):
    with Recommender([server.grpc_url for server in two]) as recommender:
        recommender.recommend_many([Request(history=ITEMS[:1])] * 40)
    assert all(calls(server) >= 10 for server in two)


def test_nobody_notices_that_one_of_two_servers_dies_and_comes_back(two):
    first, second = two
    keep_ports(first)
    with (
        Recommender(f"{first.grpc_url},{second.grpc_url}", timeout=20) as recommender,
        Callers(recommender) as callers,
    ):
        time.sleep(0.5)
        os.kill(first.pid, signal.SIGKILL)
        time.sleep(1)
        first.stop()  # clears up after the dead
        first.start()
        deadline = time.monotonic() + 20
        while not calls(first) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert calls(first), "it takes part again"
    assert not callers.errors
    assert callers.answered > 100
