"""`visrec export --fused`: one graph that answers as the three do, one after the other."""

import json
import shutil

import numpy as np
import onnx
import pytest

from visrec_export.check import ANSWER, check_fused, draw_requests
from visrec_export.errors import ExportRefused
from visrec_export.fused import fuse
from visrec_export.repository import prune
from visrec_serving import history, pins
from visrec_serving.pins import MODELS
from visrec_training.checkpoint import Checkpoint
from visrec_training.prepare import read
from visrec_training.regions import load_pictures


@pytest.fixture(scope="module")
def checkpoint(run):
    return Checkpoint.load(run / "best.pt")


@pytest.fixture(scope="module")
def asked(checkpoint, small_shop):
    """Requests with every picture of the shop, and histories and words in turn."""
    pictures, _ = load_pictures(read(small_shop, None).catalogue.images, 224)
    return draw_requests(checkpoint, pictures, ["red", "face"], 0)


@pytest.fixture
def built(repository, tmp_path):
    """The three graphs of a release, as an export has them before it publishes."""
    for model in MODELS:
        shutil.copytree(repository / model / "1", tmp_path / model)
    return tmp_path


def names(path, kind):
    return [value.name for value in getattr(onnx.load(path, load_external_data=False).graph, kind)]


def test_one_graph_answers_as_the_three_do(built, asked):
    fuse(built)
    path = built / "recommender" / "model.onnx"
    onnx.checker.check_model(path, full_check=True)
    assert names(path, "input") == ["IMAGE", "HISTORY", "TEXT"]
    assert names(path, "output") == list(ANSWER)
    figures = check_fused(built, asked)
    assert figures["same top 10"] == figures["requests"] > 100
    assert max(figures["largest difference"].values()) < 1e-6


def test_a_fused_graph_of_another_encoder_is_refused(built, asked):
    fuse(built)
    encoder = onnx.load(built / "encoder" / "model.onnx")
    weight = max(encoder.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    values = onnx.numpy_helper.to_array(weight) * np.float32(1.2)
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    onnx.save(encoder, built / "encoder" / "model.onnx")
    with pytest.raises(ExportRefused, match=r"the fused graph's \w+ .*differs? from the three graphs"):
        check_fused(built, asked)


def test_a_catalogue_too_large_to_be_held_twice_is_refused(built, monkeypatch):
    monkeypatch.setattr("visrec_export.fused.MOST_BYTES", 1 << 20)
    with pytest.raises(ExportRefused, match="the whole catalogue for a second time"):
        fuse(built)
    assert not (built / "recommender").exists()


def test_releases_with_and_without_it_follow_each_other(
    repository, run, small_shop, visrec, tmp_path, capsys
):
    """A plain release that is served, a fused one in INT8 and a plain one."""
    folder = shutil.copytree(repository, tmp_path / "models")
    words = ("export", "--checkpoint", run / "best.pt", "--data", small_shop, "--repository", folder)
    int8 = ("--precision", "int8", "--max-ndcg-drop", 0.2)
    assert visrec(*words, "--check-requests", 16, "--fused", *int8) == 0
    said = capsys.readouterr().out
    assert "fused: one graph answers as the three do" in said
    report = json.loads((folder / "release-2.json").read_text())
    proof = report["fused against the three"]
    assert proof["same top 10"] == proof["requests"] == 8, "half of the requests send a picture"
    assert proof["largest difference"]["SCORE"] < 1e-6
    assert "recommender/2/model.onnx" in report["digests"]
    sizes = {
        model: (folder / model / "2" / "model.onnx").stat().st_size for model in (*MODELS, "recommender")
    }
    assert sizes.pop("recommender") == pytest.approx(sum(sizes.values()), rel=0.1)
    pins.serve(folder, 2)
    config = folder / "recommender" / "configs" / "fused.pbtxt"
    assert "specific { versions: [ 2 ] }" in config.read_text()
    ensemble = (folder / "recommender" / "config.pbtxt").read_text()
    assert "specific { versions: [ 1 ] }" in ensemble and "model_version: 2" in ensemble
    pins.serve(folder, 1)

    assert visrec(*words, "--check-requests", 8, "--keep", 1) == 0
    left = [path.name for path in (folder / "recommender").iterdir()]
    assert sorted(left) == ["1", "config.pbtxt", "configs"], "the ensemble's own version stays"


def test_the_first_release_shares_the_ensembles_folder(run, small_shop, visrec, tmp_path, capsys):
    words = ("export", "--checkpoint", run / "best.pt", "--data", small_shop, "--repository", tmp_path)
    assert visrec(*words, "--check-requests", 8, "--fused") == 0
    assert "--model-config-name fused`" in capsys.readouterr().out
    assert (tmp_path / "recommender" / "1" / "model.onnx").is_file()
    assert visrec(*words, "--check-requests", 8) == 0
    history.note(tmp_path, 2)
    history.note(tmp_path, 3)
    pins.load(tmp_path, [2, 3])
    pins.serve(tmp_path, 2)
    assert prune(tmp_path, keep=1) == [1]
    assert not list((tmp_path / "recommender" / "1").iterdir())
