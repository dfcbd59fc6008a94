"""`visrec export`: a release is proven, complete and numbered, or it is not published at all."""

import dataclasses
import json
import resource
import shutil
import signal
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from visrec_export.check import check, draw_requests
from visrec_export.errors import ExportRefused
from visrec_export.graphs import write_encoder, write_graphs
from visrec_export.quality import measured
from visrec_export.repository import ensure_configs, next_release
from visrec_serving import history, pins
from visrec_serving.canary_requests import CanaryRequests
from visrec_serving.lock import locked
from visrec_serving.pins import MODELS
from visrec_serving.releases import file_digest
from visrec_serving.status_cli import describe_repository
from visrec_training.checkpoint import Checkpoint


@pytest.fixture(scope="module")
def checkpoint(run):
    return Checkpoint.load(run / "best.pt")


@pytest.fixture
def copy(repository, tmp_path):
    return shutil.copytree(repository, tmp_path / "model_repository")


def test_a_release_is_three_models_of_one_number_and_a_report(repository):
    for model in MODELS:
        assert (repository / model / "1" / "model.onnx").is_file()
    report = json.loads((repository / "release-1.json").read_text())
    compared = report["against PyTorch"]
    assert compared["same top 10"] == compared["requests"] == 64
    assert compared["largest difference"]["SCORE"] < 1e-4


@pytest.fixture(scope="module")
def evaluated(run, small_shop, cache, visrec, tmp_path_factory):
    """A folder with the run's checkpoint and its evaluation."""
    folder = tmp_path_factory.mktemp("evaluated")
    shutil.copy(run / "best.pt", folder)
    assert visrec("evaluate", "--data", small_shop, "--cache", cache, "--checkpoint", folder / "best.pt") == 0
    return folder


def test_a_release_tells_what_was_measured_of_its_checkpoint(evaluated, small_shop, visrec, tmp_path, capsys):
    words = ("--checkpoint", evaluated / "best.pt", "--data", small_shop, "--repository", tmp_path)
    assert visrec("export", *words, "--check-requests", 8) == 0
    assert "no measured quality" not in capsys.readouterr().out
    evaluation = json.loads((evaluated / "evaluation.json").read_text())
    quality = json.loads((tmp_path / "release-1.json").read_text())["quality"]
    assert quality["ndcg@10"] == {
        "new items": evaluation["cold alone"]["history"]["ndcg@10"],
        "known items": evaluation["warm"]["history"]["ndcg@10"],
    }
    assert quality["pictures"] == evaluation["worth of pictures"]
    said = describe_repository(tmp_path)
    assert f"NDCG@10 by history {quality['ndcg@10']['new items']:.4f} for new items, " in said
    assert quality["pictures"][0] in said


def test_an_evaluation_of_another_checkpoint_is_not_taken_along(evaluated, run, tmp_path):
    last = Checkpoint.load(run / "last.pt")
    shutil.copy(run / "last.pt", tmp_path)
    shutil.copy(evaluated / "evaluation.json", tmp_path)
    changed = dataclasses.replace(last, item_ids=tuple(reversed(last.item_ids)))
    assert measured(changed, tmp_path / "last.pt") is None
    assert measured(last, tmp_path / "nowhere" / "last.pt") is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"items": 3}'])
def test_what_is_no_evaluation_is_left_out_with_a_line(checkpoint, tmp_path, capsys, text):
    (tmp_path / "evaluation.json").write_text(text)
    assert measured(checkpoint, tmp_path / "best.pt") is None
    assert "evaluation.json is no evaluation of this version of visrec" in capsys.readouterr().err


def test_graphs_declare_what_the_configs_say_with_a_free_batch(repository):
    def shapes(values):
        return {
            value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
            for value in values
        }

    scorer = onnx.load(repository / "fusion_scorer" / "1" / "model.onnx").graph
    inputs, outputs = shapes(scorer.input), shapes(scorer.output)
    assert {name: dims[1:] for name, dims in inputs.items()} == {
        "ASPECTS": [8, 64],
        "MAPS": [8, 49],
        "HISTORY": [50],
        "TEXT": [1],
    }
    assert {name: dims[1:] for name, dims in outputs.items()} == {
        "ITEM_ID": [100],
        "SCORE": [100],
        "ATTENTION": [7, 7],
        "KNOWN": [50],
        "RELEASE": [1],
        "UNDERSTOOD": [1],
    }
    assert all(isinstance(dims[0], str) for dims in (*inputs.values(), *outputs.values()))


def test_ids_and_words_are_looked_up_inside_the_graph(repository, checkpoint):
    session = onnxruntime.InferenceSession(repository / "fusion_scorer" / "1" / "model.onnx")
    nothing = {
        "ASPECTS": np.zeros((1, 8, 64), np.float32),
        "MAPS": np.zeros((1, 8, 49), np.float32),
        "HISTORY": np.full((1, 50), "", object),
        "TEXT": np.array([[""]], object),
    }
    plain = session.run(None, nothing)
    unknown = {**nothing, "HISTORY": np.full((1, 50), "never heard of", object)}
    assert session.run(None, unknown)[1] == pytest.approx(plain[1])
    assert not session.run(["KNOWN"], unknown)[0].any()
    assert session.run(["UNDERSTOOD"], nothing)[0].tolist() == [[0]]
    strange = {**nothing, "TEXT": np.array([["\U0001f600\U0001f680"]], object)}
    assert session.run(["UNDERSTOOD"], strange)[0].tolist() == [[0]]
    assert session.run(None, strange)[1] == pytest.approx(plain[1])
    red = {**nothing, "TEXT": np.array([["rouge"]], object)}
    assert session.run(["UNDERSTOOD"], red)[0].tolist() == [[1]], "in a language that no title is in"
    assert session.run(None, red)[1] != pytest.approx(plain[1])
    known = nothing["HISTORY"].copy()
    known[0, 0] = checkpoint.item_ids[7]
    assert session.run(None, {**nothing, "HISTORY": known})[1] != pytest.approx(plain[1])
    assert session.run(["KNOWN"], {**nothing, "HISTORY": known})[0].tolist() == [[True] + [False] * 49]
    assert set(plain[0][0]) <= set(checkpoint.item_ids)


def test_the_next_export_stands_beside_what_is_served(copy, run, small_shop, visrec, capsys):
    words = ("export", "--checkpoint", run / "best.pt", "--data", small_shop, "--repository", copy)
    before = pins.texts(copy)
    assert visrec(*words, "--keep", 1, "--check-requests", 8) == 0
    said = capsys.readouterr().out
    assert f"release 1 stays the one that is served until `visrec release 2 --repository {copy}`" in said
    assert pins.texts(copy) == before, "a restart of the server must not serve what was never released"
    session = onnxruntime.InferenceSession(copy / "fusion_scorer" / "2" / "model.onnx")
    sizes = {"ASPECTS": (3, 8, 64), "MAPS": (3, 8, 49)}
    feeds = {name: np.zeros(shape, np.float32) for name, shape in sizes.items()}
    feeds |= {"HISTORY": np.full((3, 50), "", object), "TEXT": np.full((3, 1), "", object)}
    assert session.run(["RELEASE"], feeds)[0].tolist() == [[2], [2], [2]], "answers carry the number"

    assert visrec(*words, "--keep", 1, "--check-requests", 8) == 0
    assert "removed release 2" in capsys.readouterr().out
    for model in MODELS:
        kept = sorted(path.name for path in (copy / model).glob("[0-9]*"))
        assert kept == ["1", "3"], "what is served is not removed"
    assert not (copy / "release-2.json").exists() and not (copy / "canary-2.npz").exists()
    assert not list(copy.glob(".export-*")), "nothing half-made is left"


def test_an_encoder_that_is_the_same_is_not_traced_again(
    repository, checkpoint, cache, tmp_path, monkeypatch
):
    """However often a shop trains anew, and whatever repository it exports to."""
    encoder, exported = checkpoint.model().encoder, repository / "encoder" / "1" / "model.onnx"
    kept = shutil.copytree(cache, tmp_path / "cache")

    class TracedAgain(Exception):
        pass

    def trace(*_):
        raise TracedAgain

    def written(name, size=224):
        write_encoder(encoder, size, tmp_path / name, kept)
        return file_digest(tmp_path / name / "encoder" / "model.onnx")

    monkeypatch.setattr("visrec_export.graphs._trace", trace)
    assert written("same") == file_digest(exported)
    with pytest.raises(TracedAgain):
        written("for pictures of another size", size=256)
    for path in kept.glob("encoder-*.onnx"):
        path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(TracedAgain):
        written("changed since")
    kept = cache
    with torch.no_grad():
        next(encoder.parameters()).mul_(1.01)
    with pytest.raises(TracedAgain):
        written("of other weights")


def test_a_release_carries_requests_and_the_digests_of_its_files(repository):
    digests = json.loads((repository / "release-1.json").read_text())["digests"]
    assert set(digests) == {*(f"{model}/1/model.onnx" for model in MODELS), "canary-1.npz"}
    assert all(file_digest(repository / name) == digest for name, digest in digests.items())
    canary = CanaryRequests.load(repository / "canary-1.npz")
    assert canary.image.shape == (3, 224, 224, 3)
    assert [bool(history[0]) for history in canary.history] == [False, True, True]
    assert [bool(text[0]) for text in canary.text] == [False, False, True]
    assert (repository / "canary-1.npz").stat().st_size < 1e6
    assert [entry.release for entry in history.read(repository)] == [1]


def test_two_exports_at_once_are_one_too_many(copy, run, small_shop, visrec, capsys):
    words = ("export", "--checkpoint", run / "best.pt", "--data", small_shop, "--repository", copy)
    with locked(copy, "export"):
        assert visrec(*words) == 1
    assert f"another export is at work on {copy}" in capsys.readouterr().err


def test_a_full_disk_leaves_nothing_behind(copy, run, small_shop, visrec, capsys):
    """A limit on file size fails as a full disk does, in the middle of a file."""
    words = ("export", "--checkpoint", run / "best.pt", "--data", small_shop, "--repository", copy)
    before = {path.relative_to(copy) for path in copy.rglob("*")}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
    try:
        assert visrec(*words, "--check-requests", 8) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    error = capsys.readouterr().err
    assert "can't write" in error and "File too large" in error and error.count("\n") == 1
    assert {path.relative_to(copy) for path in copy.rglob("*")} - before <= {Path(".export.lock")}
    assert visrec(*words, "--check-requests", 8) == 0


def test_committed_configs_fit_the_default_model_as_they_are(repository, tmp_path):
    ensure_configs(tmp_path / "fresh")
    for config in (tmp_path / "fresh").rglob("*.pbtxt"):
        assert config.read_text() == (repository / config.relative_to(tmp_path / "fresh")).read_text()


def test_a_wider_backbone_changes_the_dims_and_nothing_else(small_shop, cache, visrec, tmp_path, repository):
    shop = ("--pictures", small_shop / "pictures")
    words = ("--cache", cache, "--out", tmp_path, "--epochs", 1)
    assert visrec("train", *shop, *words, "--backbone", "resnet18", "--weights", "random") == 0
    target = tmp_path / "models"
    assert visrec("export", *shop, "--checkpoint", tmp_path / "best.pt", "--repository", target) == 0
    width = 64 + 128 + 256 + 512
    for config in target.rglob("*.pbtxt"):
        before = (repository / config.relative_to(target)).read_text()
        assert config.read_text() == before.replace("49, 496", f"49, {width}")
    assert f"49, {width}" in (target / "attention" / "config.pbtxt").read_text()


def test_releases_of_other_shapes_do_not_mix(copy, small_shop, cache, visrec, tmp_path, capsys):
    shop = ("--pictures", small_shop / "pictures")
    words = ("--cache", cache, "--out", tmp_path, "--epochs", 1)
    assert visrec("train", *shop, *words, "--backbone", "resnet18", "--weights", "random") == 0
    assert visrec("export", *shop, "--checkpoint", tmp_path / "best.pt", "--repository", copy) == 1
    assert "other shapes" in capsys.readouterr().err
    assert next_release(copy) == 2


def test_a_model_that_differs_is_refused(checkpoint, cache, tmp_path):
    model = checkpoint.model()
    write_graphs(checkpoint, model, 1, tmp_path, cache)
    pictures = np.random.default_rng(0).integers(0, 255, (8, 224, 224, 3), dtype=np.uint8)
    requests = draw_requests(checkpoint, pictures, ["red"], 0)
    assert check(checkpoint, model, 1, tmp_path, requests)["same top 10"] == 8
    with torch.no_grad():
        model.query_tower.history.evidence.mul_(0.5)
    with pytest.raises(ExportRefused, match="differ"):
        check(checkpoint, model, 1, tmp_path, requests)


def test_a_refused_export_publishes_nothing(copy, run, small_shop, visrec, monkeypatch, capsys):
    monkeypatch.setattr("visrec_export.check.SCORE_TOLERANCE", -1.0)
    words = ("export", "--checkpoint", run / "best.pt", "--data", small_shop, "--repository", copy)
    assert visrec(*words, "--check-requests", 8) == 1
    assert "SCORE differs from PyTorch" in capsys.readouterr().err
    assert next_release(copy) == 2
    assert not list(copy.glob(".export-*"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--checkpoint", "none.pt", "--data", "."), "no checkpoint at none.pt"),
        (("--keep", 0, "--data", "."), "--keep is 0; allowed: at least 1"),
        (("--check-requests", 2, "--data", "."), "--check-requests is 2; allowed: at least 8"),
    ],
)
def test_errors_are_one_line(visrec, capsys, words, said):
    assert visrec("export", *words) == 1
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_a_file_in_the_repositorys_place_is_named(run, small_shop, visrec, tmp_path, capsys):
    (tmp_path / "taken").write_text("")
    words = ("--checkpoint", run / "best.pt", "--data", small_shop, "--repository", tmp_path / "taken")
    assert visrec("export", *words) == 1
    assert "is a file, not a model repository" in capsys.readouterr().err
