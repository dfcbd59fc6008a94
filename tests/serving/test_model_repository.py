"""The committed configs load as they are, warm up, and answer as their graphs do one after the other."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from dummy_graphs import COMMITTED, ITEMS, WORDS
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig, ModelInstanceGroup

from visrec_serving import ServerFailed

MODELS = ("attention", "embedder", "encoder", "fusion_scorer", "ranker", "recommender")
ALTERNATIVES = sorted(COMMITTED.glob("*/configs/*.pbtxt"))


def read(path):
    return text_format.Parse(path.read_text(), ModelConfig())


def request(seed, rows):
    rng = np.random.default_rng(seed)
    history = np.full((rows, 50), "", dtype=object)
    history[:, :4] = rng.choice([*ITEMS, "gone"], size=(rows, 4))
    return {
        "IMAGE": rng.integers(0, 256, size=(rows, 224, 224, 3), dtype=np.uint8),
        "HISTORY": history,
        "TEXT": rng.choice([*WORDS, "unheard of", ""], size=(rows, 1)).astype(object),
    }


def step_by_step(committed, in_process, feeds):
    """The ensemble's steps, run with onnxruntime in this process."""
    found = in_process(committed, "encoder", {"IMAGE": feeds["IMAGE"]})
    found = in_process(committed, "attention", found)
    rest = {name: feeds[name] for name in ("HISTORY", "TEXT")}
    return found, in_process(committed, "fusion_scorer", found | rest)


def test_every_committed_model_is_served(committed_server):
    assert committed_server.loaded() == {name: [1] for name in MODELS}


def test_the_recommender_answers_as_its_steps_do(committed_server, committed, ask, in_process):
    requests = [request(seed, rows) for seed, rows in enumerate([1, 1, 2, 1])]
    for feeds, answer in zip(requests, ask(committed_server, "recommender", *requests), strict=True):
        _, right = step_by_step(committed, in_process, feeds)
        np.testing.assert_array_equal(answer["ITEM_ID"], right["ITEM_ID"])
        np.testing.assert_allclose(answer["SCORE"], right["SCORE"], rtol=1e-4, atol=1e-7)
        np.testing.assert_allclose(answer["ATTENTION"].sum((1, 2)), 1, rtol=1e-5)
        np.testing.assert_array_equal(answer["KNOWN"], np.isin(feeds["HISTORY"], ITEMS))
        np.testing.assert_array_equal(answer["UNDERSTOOD"], np.isin(feeds["TEXT"], WORDS))
        assert (answer["RELEASE"] == 1).all() and answer["RELEASE"].shape == (len(feeds["TEXT"]), 1)


def test_the_embedder_gives_aspects(committed_server, committed, ask, in_process):
    feeds = request(5, 3)
    (answer,) = ask(committed_server, "embedder", {"IMAGE": feeds["IMAGE"]})
    right, _ = step_by_step(committed, in_process, feeds)
    np.testing.assert_allclose(answer["ASPECTS"], right["ASPECTS"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(answer["MAPS"], right["MAPS"], rtol=1e-4, atol=1e-7)


def test_without_a_picture_the_ranker_is_asked(committed_server, ask):
    feeds = request(7, 1) | {
        "ASPECTS": np.zeros((1, 8, 64), np.float32),
        "MAPS": np.zeros((1, 8, 49), np.float32),
    }
    del feeds["IMAGE"]
    (answer,) = ask(committed_server, "ranker", feeds)
    (alone,) = ask(committed_server, "fusion_scorer", feeds)
    for name, tensor in alone.items():
        np.testing.assert_array_equal(answer[name], tensor)
    assert answer["ITEM_ID"].shape == (1, 100)
    assert not answer["ATTENTION"].any()


def test_a_text_that_is_not_utf8_is_refused_alone(committed_server, ask):
    feeds = request(7, 1) | {
        "ASPECTS": np.zeros((1, 8, 64), np.float32),
        "MAPS": np.zeros((1, 8, 49), np.float32),
    }
    del feeds["IMAGE"]
    texts = (b"red", b"r\xff", b"\xed\xa0\x80", "красный".encode())  # the third is a single surrogate
    requests = [feeds | {"TEXT": np.array([[text]], dtype=object)} for text in texts]
    red, *refused, russian = ask(committed_server, "ranker", *requests)
    assert all("can't decode byte" in str(error) for error in refused)
    assert red["UNDERSTOOD"] == russian["UNDERSTOOD"] == 1
    assert red["ITEM_ID"].tolist() != russian["ITEM_ID"].tolist()


def test_another_machines_configs_are_used_where_a_model_has_them(committed, start, tmp_path):
    log = tmp_path / "log"
    with start(committed, models=("recommender",), model_config_name="cpu-16", log_file=log) as server:
        assert set(server.loaded()) == {"recommender", "encoder", "attention", "fusion_scorer"}
    lines = [line for line in log.read_text().splitlines() if "intra-op" in line]
    asked = {"encoder": (3, 4), "attention": (1, 1), "fusion_scorer": (2, 2)}
    for name, (instances, threads) in asked.items():
        mine = [line for line in lines if f'"{name} version 1' in line]
        assert len(mine) == instances
        assert all(f" {threads} intra-op" in line for line in mine)


def test_a_release_that_was_not_fused_is_not_served_as_one(committed, start):
    with pytest.raises(
        ServerFailed, match=r"fused\.pbtxt of recommender is for a graph that release 1 lacks"
    ):
        start(committed, model_config_name="fused").start()


def test_a_choice_that_no_model_has_is_named(committed, start):
    with pytest.raises(ServerFailed, match=r"no model in .* has a configs/typo\.pbtxt"):
        start(committed, model_config_name="typo").start()


@pytest.mark.skipif(Path("/dev/nvidia0").exists(), reason="shows what happens without a GPU")
def test_the_gpu_configs_say_what_they_lack_here(committed, start, tmp_path):
    with pytest.raises(ServerFailed, match=r"has kind KIND_GPU but no GPUs are available"):
        start(committed, model_config_name="gpu", log_file=tmp_path / "log").start()


@pytest.mark.parametrize("path", ALTERNATIVES, ids=lambda path: f"{path.parts[-3]}-{path.stem}")
def test_other_configs_differ_only_in_how_a_model_runs(path):
    usual, other = read(path.parents[1] / "config.pbtxt"), read(path)
    how = ["dynamic_batching", "instance_group", "optimization", "parameters"]
    if path.stem == "fused":  # one graph in place of an ensemble
        how += ["platform", "backend", "ensemble_scheduling", "version_policy", "model_warmup"]
    for config in (usual, other):
        for field in how:
            config.ClearField(field)
    assert other == usual


@pytest.mark.parametrize("model", ["encoder", "attention", "fusion_scorer"])
def test_every_model_has_a_gpu_config(model):
    groups = read(COMMITTED / model / "configs" / "gpu.pbtxt").instance_group
    assert [group.kind for group in groups] == [ModelInstanceGroup.KIND_GPU]


def test_a_repository_that_was_never_exported_to_says_so(start, tmp_path):
    shutil.copytree(COMMITTED, tmp_path / "fresh", ignore=shutil.ignore_patterns("[0-9]*", "*.json"))
    with pytest.raises(ServerFailed, match=rf"no versions of {', '.join(MODELS)} in .*: run `visrec export`"):
        start(tmp_path / "fresh").start()
