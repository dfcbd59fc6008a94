"""One client for a whole service: threads, asyncio, forks, servers that come and go."""

import asyncio
import itertools
import os
import pickle
import re
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import pytest
from dummy_graphs import ITEMS, committed_repository, keep_ports

from visrec_client import (
    AsyncRecommender,
    DeadlineExceeded,
    InvalidImage,
    InvalidRequest,
    Overloaded,
    Recommendation,
    Recommender,
    Request,
    ServerUnavailable,
)

PICTURE = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
REQUESTS = [Request(image=PICTURE if n % 2 else None, history=[ITEMS[n], ITEMS[n + 9]]) for n in range(40)]


def shorten(graph):
    """Have a graph take and give 30 ids where it took 50."""
    model = onnx.load(graph)
    for value in (*model.graph.input, *model.graph.output):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_value == 50:
                dim.dim_value = 30
    onnx.save(model, graph)


def what_counts(answer):
    attention = None if answer.attention is None else answer.attention.tolist()
    return [item.item_id for item in answer.items], [item.score for item in answer.items], attention


def same(answer, expected):
    """Whether an answer is the expected one; sums come out otherwise in the last digits in another batch."""
    (ids, *numbers), (wanted, *others) = what_counts(answer), expected
    return ids == wanted and all(
        (ours is theirs is None) or np.allclose(ours, theirs, rtol=1e-4)
        for ours, theirs in zip(numbers, others, strict=True)
    )


@pytest.fixture(scope="module")
def recommender(committed_server):
    with Recommender(committed_server.grpc_url, timeout=30) as recommender:
        yield recommender


@pytest.fixture(scope="module")
def expected(recommender):
    """What each of REQUESTS is answered when it is the only one."""
    answers = [what_counts(answer) for answer in recommender.recommend_many(REQUESTS, in_flight=1)]
    assert len({(*ids, *scores) for ids, scores, _ in answers}) == len(REQUESTS), "can be told apart"
    return answers


def test_an_answer_tells_what_it_could_not_use_and_who_gave_it(recommender):
    history = ["gone", ITEMS[0], "", "gone", "went\x00too", ITEMS[1]]
    answer = recommender.recommend(PICTURE, history)
    assert answer.unknown_history == ("gone", "", "went\x00too")
    assert answer.release == 1
    assert not {item.item_id for item in answer.items} & set(history)
    long = [*(f"old-{n}" for n in range(100)), *ITEMS[:50]]
    assert recommender.recommend(history=long).unknown_history == (), "only what was sent is reported"


@pytest.mark.parametrize(
    ("asked", "understood", "is_popular"),
    [
        ({"text": "красный"}, 1, False),
        ({"text": "zzzz"}, 0, True),
        ({}, None, True),
        ({"history": ["gone", ITEMS[0]]}, None, False),
        ({"history": ["gone"], "text": "zzzz"}, 0, True),
        ({"image": PICTURE, "text": "zzzz"}, 0, False),
        ({"text": "a\0\n\u202e\U0010ffff" + "é" * 16_000}, 0, True),
    ],
)
def test_an_answer_tells_what_was_understood_and_when_it_is_merely_what_is_popular(
    recommender, asked, understood, is_popular
):
    answer = recommender.recommend(**asked)
    assert (answer.understood, answer.is_popular) == (understood, is_popular)
    popular = recommender.recommend().items
    assert (answer.items == popular) is is_popular


def test_many_requests_keep_their_order(recommender, expected):
    assert all(map(same, recommender.recommend_many(REQUESTS), expected))


def test_one_that_fails_does_not_cost_the_others(recommender, expected):
    requests = [REQUESTS[0], Request(image=b"no picture"), REQUESTS[1], Request(k=10_000)]
    good, broken, also_good, too_many = recommender.recommend_many(iter(requests))
    assert same(good, expected[0]) and same(also_good, expected[1])
    assert isinstance(broken, InvalidImage) and isinstance(too_many, InvalidRequest)
    assert recommender.recommend_many([]) == []


def test_64_threads_share_a_recommender(committed_server, expected):
    with Recommender(committed_server.grpc_url, timeout=60) as recommender:  # all connect at once
        together = threading.Barrier(64)

        def ask(place):
            together.wait()
            return [
                same(answer, wanted)
                for request, wanted in zip(REQUESTS[place % 8 :: 8], expected[place % 8 :: 8], strict=True)
                for answer in recommender.recommend_many([request])
            ]

        with ThreadPoolExecutor(64) as threads:
            assert all(itertools.chain.from_iterable(threads.map(ask, range(64))))


def test_500_calls_of_asyncio_are_in_flight_at_once(start, expected, tmp_path):
    repository = committed_repository(tmp_path / "repository")
    for config in repository.glob("*/config.pbtxt"):  # a slow machine must not turn calls away
        queues = re.sub(r"max_queue_size: \d+", "max_queue_size: 500", config.read_text())
        config.write_text(re.sub(r"timeout_microseconds: \d+", "timeout_microseconds: 60000000", queues))

    async def main(url):
        async with AsyncRecommender(url, timeout=60) as recommender:
            many = [REQUESTS[n % len(REQUESTS)] for n in range(500)]
            answers = await recommender.recommend_many(many, in_flight=500)
            return [same(answer, expected[n % len(REQUESTS)]) for n, answer in enumerate(answers)]

    with start(repository) as server:
        assert asyncio.run(main(server.grpc_url)) == [True] * 500


def test_asyncio_has_the_same_surface(committed_server, recommender, expected):
    recommender_in_any_loop = AsyncRecommender(committed_server.grpc_url, timeout=30)

    async def main():
        answer = await recommender_in_any_loop.recommend(PICTURE, REQUESTS[1].history)
        aspects, maps = await recommender_in_any_loop.embed(PICTURE)
        with pytest.raises(DeadlineExceeded):
            await recommender_in_any_loop.recommend(PICTURE, timeout=1e-4)
        with pytest.raises(InvalidImage):
            await recommender_in_any_loop.recommend(b"no picture")
        return answer, aspects, maps

    for _ in range(2):  # an event loop each, as in a test suite of a service
        answer, aspects, maps = asyncio.run(main())
        assert same(answer, expected[1])
        for ours, theirs in zip((aspects, maps), recommender.embed(PICTURE), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_what_waits_on_asyncio_can_be_cancelled(committed_server):
    async def main():
        async with AsyncRecommender(committed_server.grpc_url, timeout=30) as recommender:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(recommender.recommend(PICTURE), timeout=1e-4)
            return await recommender.recommend(PICTURE)

    assert asyncio.run(main()).items


def test_a_forked_child_connects_by_itself(committed_server, expected):
    """As a web server's workers do that inherit a recommender which was used before the fork."""
    with Recommender(committed_server.grpc_url, timeout=30) as recommender:
        before = recommender.recommend(PICTURE, REQUESTS[1].history)
        reading, writing = os.pipe()
        if (child := os.fork()) == 0:
            signal.alarm(60)
            with os.fdopen(writing, "wb") as pipe:
                pickle.dump(recommender.recommend(PICTURE, REQUESTS[1].history), pipe)
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            told = pipe.read()
        assert os.waitpid(child, 0)[1] == 0
        after = recommender.recommend(PICTURE, REQUESTS[1].history)
    assert all(same(answer, expected[1]) for answer in (before, pickle.loads(told), after))


def test_what_is_closed_says_so(committed_server):
    recommender = Recommender(committed_server.grpc_url)
    recommender.recommend(history=ITEMS[:1])
    for _ in range(2):
        recommender.close()
        with pytest.raises(InvalidRequest, match="is closed: make another one"):
            recommender.recommend(history=ITEMS[:1])

    async def main():
        recommender = AsyncRecommender(committed_server.grpc_url)
        waiting = asyncio.create_task(recommender.recommend_many([Request(PICTURE)] * 50))
        await recommender.recommend()
        for _ in range(2):
            await recommender.close()
        answers = await waiting
        with pytest.raises(InvalidRequest, match="is closed"):
            await recommender.recommend()
        return answers

    ended = asyncio.run(main())
    assert any(isinstance(end, InvalidRequest) for end in ended), "those in flight end too"
    assert all(isinstance(end, InvalidRequest | Recommendation) for end in ended)


def test_a_server_that_is_back_is_found_again_at_once(tmp_path, start):
    with (
        start(committed_repository(tmp_path / "models")) as server,
        Recommender(server.grpc_url, timeout=30) as recommender,
    ):
        before = recommender.recommend(history=ITEMS[:2]).items
        keep_ports(server)
        server.stop()
        with pytest.raises(ServerUnavailable, match=server.grpc_url):
            recommender.recommend(history=ITEMS[:2])
        server.start()
        assert recommender.recommend(history=ITEMS[:2]).items == before


def test_a_server_of_other_sizes_is_learnt_anew(tmp_path, start):
    """As when a model with shorter histories takes over behind the same address."""
    with start(committed_repository(tmp_path / "models")) as server:
        keep_ports(server)
        with Recommender(server.grpc_url, timeout=30) as recommender:
            assert len(recommender.recommend(PICTURE, k=100).items) == 100
            for config in (tmp_path / "models").rglob("*.pbtxt"):
                config.write_text(config.read_text().replace("dims: [ 50 ]", "dims: [ 30 ]"))
            for graph in (tmp_path / "models").rglob("model.onnx"):
                shorten(graph)
            server.stop()
            server.start()
            assert len(recommender.recommend(PICTURE, ITEMS[:50]).items) == 10


def test_callers_are_told_of_each_call(committed_server):
    seen = []

    def tell(info):
        seen.append((info.method, info.endpoint, info.error, info.request_id))
        assert info.seconds > 0
        raise RuntimeError("a bug in who counts must not cost an answer")

    with Recommender(committed_server.grpc_url, on_call=tell) as recommender:
        recommender.recommend(history=ITEMS[:1], request_id="page-7")
        recommender.embed(PICTURE)
        with pytest.raises(InvalidImage):
            recommender.recommend(b"no picture")
        recommender.recommend_many([Request(request_id="one-of-many")])
    url = committed_server.grpc_url
    assert seen == [
        ("recommend", url, None, "page-7"),
        ("embed", url, None, ""),
        ("recommend", url, InvalidImage, ""),
        ("recommend", url, None, "one-of-many"),
    ]


def test_overloaded_says_when_to_come_back():
    error = Overloaded("too many", retry_after=0.7)
    assert (str(error), error.retry_after) == ("too many", 0.7)
    assert pickle.loads(pickle.dumps(error)).retry_after == 0.7, "it may come from another process"
