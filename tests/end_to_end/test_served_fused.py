"""`visrec serve --model-config-name fused`: the same names and tensors, the same answers, by one graph."""

import pytest

from visrec_client import Recommender
from visrec_serving import Server, ServerConfig


@pytest.fixture(scope="module")
def released(run, small_shop, visrec, tmp_path_factory):
    """A repository whose only release is fused too."""
    folder = tmp_path_factory.mktemp("fused") / "model_repository"
    words = ("--checkpoint", run / "best.pt", "--data", small_shop, "--repository", folder)
    assert visrec("export", *words, "--fused") == 0
    return folder


@pytest.fixture(scope="module")
def fused(released):
    ports = {"grpc_port": 0, "http_port": 0, "metrics_port": 0}
    with Server(ServerConfig(repository=released, model_config_name="fused", **ports)) as server:
        yield server


def asks(items):
    """Requests of every combination of modalities."""
    paths, ids = [item.picture for item in items.values()], list(items)
    for number in range(24):
        yield {
            "image": paths[7 * number % len(paths)] if number & 1 else None,
            "history": ids[number : number + 5] if number & 2 else [],
            "text": "red face" if number & 4 else "",
        }


def test_clients_notice_nothing(fused, recommender, items):
    with Recommender(fused.grpc_url, timeout=30) as other:
        for ask in asks(items):
            theirs, ours = recommender.recommend(**ask), other.recommend(**ask)
            assert [item.item_id for item in ours.items] == [item.item_id for item in theirs.items]
            scores = [item.score for item in theirs.items]
            assert [item.score for item in ours.items] == pytest.approx(scores, abs=1e-5)
            assert (ours.attention is None) == (theirs.attention is None) == (ask["image"] is None)
            if ours.attention is not None:
                assert ours.attention == pytest.approx(theirs.attention, abs=1e-5)
        picture = next(iter(items.values())).picture
        for ours, theirs in zip(other.embed(picture), recommender.embed(picture), strict=True):
            assert ours == pytest.approx(theirs, abs=1e-4)


def test_the_same_release_is_served_either_way(released, fused):
    assert fused.loaded()["recommender"] == [1]
    with Server(ServerConfig(repository=released, grpc_port=0, http_port=0, metrics_port=0)) as server:
        assert server.loaded() == fused.loaded()
