"""A server that has too much to do turns callers away at once, and the client tells them so."""

import asyncio

import numpy as np
import onnx
import pytest
from dummy_graphs import ITEMS, committed_repository, slowly

from visrec_client import AsyncRecommender, Overloaded, Recommendation, Recommender, Request

PICTURE = np.zeros((224, 224, 3), np.uint8)


@pytest.fixture(scope="module")
def busy(tmp_path_factory, start):
    """A server whose encoder takes a tenth of a second for a batch."""
    repository = committed_repository(tmp_path_factory.mktemp("busy") / "models")
    encoder = repository / "encoder" / "1" / "model.onnx"
    onnx.save(slowly(onnx.load(encoder), "REGIONS"), encoder)
    with start(repository) as server:
        yield server


def test_what_does_not_fit_into_the_queue_is_turned_away_and_the_rest_is_answered(busy):
    async def main():
        async with AsyncRecommender(busy.grpc_url, timeout=120) as recommender:
            many = [Request(PICTURE, history=[ITEMS[n % 100]]) for n in range(900)]
            return await recommender.recommend_many(many, in_flight=900)

    answers = asyncio.run(main())
    answered = [answer for answer in answers if isinstance(answer, Recommendation)]
    refused = [answer for answer in answers if isinstance(answer, Overloaded)]
    assert len(answered) + len(refused) == len(answers), {type(answer) for answer in answers}
    assert answered and refused
    assert all(0 < error.retry_after < 5 for error in refused)
    with Recommender(busy.grpc_url, timeout=60) as recommender:
        assert recommender.recommend(PICTURE).items, "as ever afterwards"
