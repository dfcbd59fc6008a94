"""More than the server can do is refused at once; what is let in is answered, and nothing breaks."""

import onnx
import pytest
from dummy_graphs import busy_encoder, committed_repository
from dummy_releases import requests


@pytest.fixture(scope="module")
def flooded(tmp_path_factory, start):
    """The committed configs, with an encoder that takes about as long as a real one."""
    folder = committed_repository(tmp_path_factory.mktemp("flooded") / "models")
    onnx.save(busy_encoder(), folder / "encoder" / "1" / "model.onnx")
    with start(folder) as server:
        yield server


def feeds(model, seed=0):
    asked = requests(seed, count=1)
    if model == "embedder":
        return {"IMAGE": asked.pictures}
    return {"IMAGE": asked.pictures, "HISTORY": asked.history, "TEXT": asked.text}


@pytest.mark.parametrize("model", ["recommender", "embedder"])
def test_a_flood_is_refused_beyond_what_may_wait(flooded, ask, model):
    triton = flooded.pid
    (right,) = ask(flooded, model, feeds(model))
    answers = ask(flooded, model, *[feeds(model)] * 500)
    refused = [answer for answer in answers if not isinstance(answer, dict)]
    assert 300 < len(refused) < 480
    assert {error.status() for error in refused} == {"StatusCode.UNAVAILABLE"}
    assert all("Exceeds maximum queue size" in error.message() for error in refused)
    for answer in answers:
        if isinstance(answer, dict):
            assert answer.keys() == right.keys()
            assert all((answer[name] == right[name]).all() for name in ("ITEM_ID",) if name in right)
    after = ask(flooded, model, *[feeds(model)] * 8)
    assert all(isinstance(answer, dict) for answer in after)
    assert flooded.pid == triton
