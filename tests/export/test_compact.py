"""A large catalogue is stored compactly, and ranks as it would have."""

import dataclasses
import os

import numpy as np
import onnxruntime
import pytest
from benchmarks.serving.simulated import simulate

from visrec_export.check import check, draw_requests
from visrec_export.compact import COMPACT_FROM
from visrec_export.errors import ExportRefused
from visrec_export.graphs import write_graphs
from visrec_serving.pins import MODELS
from visrec_training.checkpoint import Checkpoint
from visrec_training.text.graph import text_graph


@pytest.fixture(scope="module")
def checkpoint(run):
    return simulate(Checkpoint.load(run / "best.pt"), COMPACT_FROM, seed=0)


@pytest.fixture(scope="module")
def graphs(checkpoint, cache, tmp_path_factory):
    folder = tmp_path_factory.mktemp("graphs")
    write_graphs(checkpoint, checkpoint.model(), 1, folder, cache)
    return folder


@pytest.fixture(scope="module")
def requests(checkpoint):
    pictures = np.random.default_rng(0).integers(0, 255, (32, 224, 224, 3), dtype=np.uint8)
    return draw_requests(checkpoint, pictures, ["red"], 0)


def test_the_best_ten_are_practically_those_of_the_model(checkpoint, graphs, requests):
    figures = check(checkpoint, checkpoint.model(), 1, graphs, requests)
    assert figures["top 10 overlap"] >= 0.99
    assert figures["largest relative difference of a score"] < 0.05


def test_the_file_but_for_its_text_graph_is_smaller_than_the_catalogue_as_floats(checkpoint, graphs):
    config = checkpoint.model_config
    texts = text_graph(config.words, config.text_encoder).ByteSize()
    floats = 4 * sum(part.numel() for part in checkpoint.items)
    files = sum(file.stat().st_size for file in (graphs / "fusion_scorer").iterdir())
    assert files - texts < floats * 0.8


def test_an_answer_does_not_depend_on_what_it_was_batched_with(graphs, requests):
    session = onnxruntime.InferenceSession(graphs / "fusion_scorer" / "model.onnx")
    feeds = {
        "ASPECTS": np.random.default_rng(1).standard_normal((8, 8, 64), np.float32),
        "MAPS": np.full((8, 8, 49), 1 / 49, np.float32),
        "HISTORY": requests.history[:8],
        "TEXT": requests.text[:8],
    }
    ids, scores, _ = session.run(["ITEM_ID", "SCORE", "ATTENTION"], feeds)
    for row in range(8):
        alone = session.run(["ITEM_ID", "SCORE"], {name: t[row : row + 1] for name, t in feeds.items()})
        assert alone[0][0, :10].tolist() == ids[row, :10].tolist()
        assert alone[1][0] == pytest.approx(scores[row], rel=1e-4)
    assert (np.diff(scores) <= 0).all()
    assert all(len(set(row)) == 100 for row in ids)


def test_other_vectors_are_refused(checkpoint, graphs, requests):
    items = checkpoint.items
    other = dataclasses.replace(checkpoint, items=items._replace(vectors=items.vectors.flip(0)))
    with pytest.raises(ExportRefused, match=r"differs from PyTorch|top 10 hold"):
        check(other, checkpoint.model(), 1, graphs, requests)


def test_whoever_may_read_the_graph_may_read_its_weights(checkpoint, cache, tmp_path, monkeypatch):
    monkeypatch.setattr("visrec_export.graphs.EXTERNAL_DATA_BYTES", 1 << 20)
    before = os.umask(0o022)
    try:
        write_graphs(checkpoint, checkpoint.model(), 1, tmp_path, cache)
    finally:
        os.umask(before)
    files = [*(tmp_path / "fusion_scorer").iterdir()]
    assert {file.name for file in files} == {"model.onnx", "model.onnx.data"}
    assert {file.stat().st_mode & 0o777 for file in files} == {0o644}
    for model in MODELS:
        onnxruntime.InferenceSession(tmp_path / model / "model.onnx")
