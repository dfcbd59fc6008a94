"""`visrec export` of shops as small and uniform as they come: proven, and asked as a server would."""

import numpy as np
import pytest
from tiny_shops import SHOPS, everybody, write_shop

from visrec_export.canary import answered, choose
from visrec_export.check import ask_graphs, check, draw_requests
from visrec_export.errors import ExportRefused
from visrec_export.graphs import write_graphs
from visrec_export.int8 import Bounds, to_int8
from visrec_serving.pins import MODELS
from visrec_training.checkpoint import Checkpoint
from visrec_training.prepare import read

ALIKE = {"items": 150, "done": None, "pictures": "one", "words": False, "categories": ("",)}
"""More items of one score than an answer holds: which of them are in it is nobody's business."""
ASKED = {name: SHOPS[name] for name in ("people who did one thing each", "items all alike")} | {
    "more items all alike than an answer holds": ALIKE
}


@pytest.fixture
def train(visrec, cache, tmp_path):
    """Trains on a shop for an epoch; gives the checkpoint's path."""

    def run(shop):
        words = ("--cache", cache, "--out", tmp_path / "run", "--epochs", 1)
        assert visrec("train", "--data", shop, *words) == 0
        return tmp_path / "run" / "best.pt"

    return run


@pytest.fixture
def build(cache, tmp_path):
    """Writes the graphs of a checkpoint."""

    def run(checkpoint, model):
        write_graphs(checkpoint, model, 1, tmp_path / "built", cache)
        return tmp_path / "built"

    return run


def strange_pictures(count):
    """Pictures that no shop here has: noise, plain ones and a gradient, uint8 [n, 224, 224, 3]."""
    pictures = np.random.default_rng(0).integers(0, 255, (count, 224, 224, 3), dtype=np.uint8)
    pictures[1::4], pictures[2::4] = 0, 200
    pictures[3::4] = np.arange(224, dtype=np.uint8)[:, None, None]
    return pictures


def check_answers(checkpoint, model, built):
    """Ask the graphs of a release about pictures that its shop doesn't have."""
    requests = draw_requests(checkpoint, strange_pictures(16), ["thing number1"], 0)
    figures = check(checkpoint, model, 1, built, requests)
    assert figures["same top 10"] == figures["requests"] == 16
    answer, known = ask_graphs(built, requests), set(checkpoint.item_ids)
    assert np.isfinite(answer["SCORE"]).all() and np.isfinite(answer["ATTENTION"]).all()
    assert (answer["SCORE"] >= 0).all() and (answer["SCORE"].sum(axis=1) <= 1 + 1e-5).all()
    shown = min(len(known), checkpoint.model_config.top_k)
    for ids in answer["ITEM_ID"].tolist():
        assert len(set(ids[:shown])) == shown and set(ids[:shown]) <= known
        assert not any(ids[shown:])
    assert answered(choose(requests), built).score.shape[0] == 3


@pytest.mark.parametrize("name", ASKED)
def test_graphs_of_the_smallest_shops_answer_as_pytorch_does(train, build, tmp_path, name):
    checkpoint = Checkpoint.load(train(write_shop(tmp_path / "shop", **ASKED[name])))
    model = checkpoint.model()
    check_answers(checkpoint, model, build(checkpoint, model))


def test_a_shop_of_one_item_is_published(train, visrec, tmp_path):
    shop = write_shop(tmp_path / "shop", 1, [(0, 0)])
    words = ("--checkpoint", train(shop), "--data", shop, "--repository", tmp_path / "models")
    assert visrec("export", *words, "--fused", "--check-requests", 8) == 0
    for model in (*MODELS, "recommender"):
        assert (tmp_path / "models" / model / "1" / "model.onnx").is_file()


def test_two_pictures_are_enough_for_int8_and_one_is_not(train, build, tmp_path):
    shop = write_shop(tmp_path / "shop", 2, everybody(1, 2))
    checkpoint = Checkpoint.load(train(shop))
    model = checkpoint.model()
    built = build(checkpoint, model)
    check_answers(checkpoint, model, built)
    figures = to_int8(checkpoint, read(shop, None), built, Bounds(), 0)
    assert figures["pictures"] == 1 and figures["ndcg@10"] == {}
    one = read(write_shop(tmp_path / "one", 1, None), None)
    with pytest.raises(ExportRefused, match=r"two pictures or more.*export without --precision int8"):
        to_int8(checkpoint, one, built, Bounds(), 0)
