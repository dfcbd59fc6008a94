"""`visrec export --precision int8`: a smaller encoder that answers nearly as FP32 does, or no release."""

import json
import shutil

import numpy as np
import onnx
import onnxruntime
import pyarrow.parquet as pq
import pytest

from visrec_export.answers import Answers, overlap, read_questions
from visrec_export.errors import ExportRefused
from visrec_export.int8 import Bounds
from visrec_export.repository import next_release
from visrec_serving.pins import MODELS
from visrec_training.checkpoint import Checkpoint
from visrec_training.config import ConfigError
from visrec_training.prepare import read
from visrec_training.regions import load_pictures


@pytest.fixture(scope="module")
def words(run, small_shop):
    return ("export", "--precision", "int8", "--checkpoint", run / "best.pt", "--data", small_shop)


@pytest.fixture(scope="module")
def releases(repository, words, visrec, tmp_path_factory):
    """A repository whose release 1 is FP32 and whose release 2 is INT8, of one checkpoint."""
    folder = shutil.copytree(repository, tmp_path_factory.mktemp("int8") / "model_repository")
    # some two hundred queries: chance alone moves NDCG by more than a shop would allow
    assert visrec(*words, "--repository", folder, "--max-ndcg-drop", 0.2) == 0
    return folder


@pytest.fixture(scope="module")
def pictures(small_shop):
    return load_pictures(read(small_shop, None).catalogue.images, 224)[0]


def test_a_release_says_what_int8_cost(releases):
    report = json.loads((releases / "release-2.json").read_text())
    figures = report["against FP32"]
    assert report["precision"] == "int8"
    assert figures["top 10 overlap"] >= 0.9
    assert 0 <= figures["float layers"] < figures["layers"] == 48
    assert figures["ndcg@10"]["queries"] > 100
    assert figures["ndcg@10"]["ours"] == pytest.approx(
        figures["ndcg@10"]["theirs"] * (1 + figures["ndcg@10"]["change"])
    )
    assert report["against PyTorch"]["same top 10"] == 64, "what INT8 was made from was proven first"


def test_the_encoder_is_small_and_looks_the_same_from_outside(releases):
    def outside(release):
        session = onnxruntime.InferenceSession(releases / "encoder" / release / "model.onnx")
        tensors = (*session.get_inputs(), *session.get_outputs())
        return [(tensor.name, tensor.type, tensor.shape[1:]) for tensor in tensors]

    assert outside("1") == outside("2")
    for model in MODELS:
        before, after = ((releases / model / release / "model.onnx").stat().st_size for release in ("1", "2"))
        assert after < before / 3 if model == "encoder" else after == before


def test_weights_are_quantized_by_channel_and_activations_as_a_whole(releases):
    graph = onnx.load(releases / "encoder" / "2" / "model.onnx").graph
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    restored = [node for node in graph.node if node.op_type == "DequantizeLinear"]
    weights = [node for node in restored if len(tensors.get(node.input[0], onnx.TensorProto()).dims) == 4]
    assert len(weights) > 24
    for node in weights:
        values, scale = tensors[node.input[0]], tensors[node.input[1]]
        assert values.data_type == onnx.TensorProto.INT8
        assert list(scale.dims) == [values.dims[0]]
    quantized = [node for node in graph.node if node.op_type == "QuantizeLinear"]
    assert {tensors[node.input[2]].data_type for node in quantized} == {onnx.TensorProto.UINT8}
    assert all(list(tensors[node.input[1]].dims) == [] for node in quantized)


def test_both_answer_alike_on_all_pictures_of_the_shop(releases, run, pictures, tmp_path):
    for model in MODELS:
        shutil.copytree(releases / model / "1", tmp_path / model)
    answers = Answers(Checkpoint.load(run / "best.pt"), tmp_path)
    ranked = [
        answers.rank(answers.see(releases / "encoder" / release / "model.onnx", pictures))
        for release in ("1", "2")
    ]
    assert 0.9 <= overlap(*ranked) < 1
    assert overlap(ranked[0], ranked[0]) == 1


def test_onnxruntimes_optimizations_leave_the_float_layers_as_they_are(releases, pictures):
    def regions(level):
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = level
        # CPUs without VNNI sum pairs of products in 16 bits, which overflow: that is not what is asked here
        options.add_session_config_entry("session.x64quantprecision", "1")
        session = onnxruntime.InferenceSession(releases / "encoder" / "2" / "model.onnx", options)
        return session.run(None, {"IMAGE": pictures[:8]})[0]

    plain = regions(onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL)
    fast = regions(onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL)
    assert np.square(fast - plain).mean() < 1e-3 * np.square(plain).mean()


def test_an_int8_release_that_differs_too_much_is_not_published(releases, words, visrec, capsys):
    assert visrec(*words, "--repository", releases, "--min-overlap", 1) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("visrec: error: INT8 keeps 0.")
    assert error.endswith("of FP32's top 10; at least 1 is allowed (--min-overlap)")
    assert next_release(releases) == 3
    assert not list(releases.glob(".export-*"))


def test_without_behaviour_the_top_10_are_the_proof(run, small_shop, visrec, tmp_path, capsys):
    words = ("export", "--precision", "int8", "--checkpoint", run / "best.pt")
    data = ("--pictures", small_shop / "pictures", "--repository", tmp_path)
    assert visrec(*words, *data) == 0
    assert "NDCG@10 not measured" in capsys.readouterr().out
    figures = json.loads((tmp_path / "release-1.json").read_text())["against FP32"]
    assert figures["ndcg@10"] == {}
    assert figures["top 10 overlap"] >= 0.9


def test_questions_are_what_training_held_out(run, small_shop):
    """Each asks with a picture; the right answers and what was seen are the split's own."""
    checkpoint, dataset = Checkpoint.load(run / "best.pt"), read(small_shop, None)
    rows = np.arange(0, len(dataset.catalogue), 2)
    questions = read_questions(checkpoint, dataset, rows)
    assert len(questions) > 100
    ids = np.asarray(checkpoint.item_ids, dtype=object)
    for picture, history, seen, right in zip(
        questions.pictures, questions.history, questions.seen, questions.targets, strict=True
    ):
        sent = [item for item in history if item]
        assert {*sent, ids[rows[picture]]} <= {*ids[seen]}
        assert len(right) and not {*ids[right]} & {*ids[seen]}


def test_data_with_a_split_of_its_own_has_no_questions_with_pictures(run, small_shop, add_split, tmp_path):
    shop = shutil.copytree(small_shop, tmp_path / "shop")
    done = pq.read_table(shop / "interactions.parquet")
    pq.write_table(add_split(done, np.random.default_rng(0)), shop / "interactions.parquet")
    dataset = read(shop, None)
    every = np.arange(len(dataset.catalogue))
    assert len(read_questions(Checkpoint.load(run / "best.pt"), dataset, every)) == 0


def test_bounds_refuse_a_loss_and_welcome_a_gain():
    bounds = Bounds(max_ndcg_drop=0.01, min_overlap=0.9)

    def figures(same, change):
        return {"top 10 overlap": same, "ndcg@10": {"change": change, "standard error": 0.002}}

    bounds.check(figures(0.9, -0.01))
    bounds.check(figures(1.0, 0.5))
    bounds.check({"top 10 overlap": 0.95, "ndcg@10": {}})
    with pytest.raises(ExportRefused, match=r"loses 1\.50% of FP32's NDCG@10 \(standard error 0\.20%\)"):
        bounds.check(figures(0.95, -0.015))
    with pytest.raises(ExportRefused, match=r"keeps 0\.899"):
        bounds.check(figures(0.899, 0.0))
    with pytest.raises(ConfigError, match=r"min_overlap is 1\.5; allowed: from 0 to 1"):
        Bounds(min_overlap=1.5)
