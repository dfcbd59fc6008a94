"""`visrec train` and `visrec evaluate` where the data brings its own split, with and without times."""

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

OURS = {"nothing", "history", "history-1", "history-3", "history-5"}
CONTENT = {"centroid of words", "centroid of pictures", "centroid of both"}
BEHAVIOUR = {"item-kNN", "EASE"}


@pytest.mark.parametrize("timed", [True, False])
def test_evaluation_follows_the_split_of_the_data(
    small_shop, add_split, cache, visrec, tmp_path, capsys, timed
):
    shop = shutil.copytree(small_shop, tmp_path / "shop")
    rng = np.random.default_rng(0)
    done = add_split(pq.read_table(shop / "interactions.parquet"), rng)
    done = done.append_column("liked", pa.array((rng.random(len(done)) < 0.8).astype(int)))
    pq.write_table(done if timed else done.drop_columns("timestamp"), shop / "interactions.parquet")
    words = ("--data", shop, "--cache", cache)
    assert visrec("train", *words, "--out", tmp_path, "--epochs", 4) == 0
    measured = ("evaluate", *words, "--checkpoint", tmp_path / "best.pt", "--out", tmp_path / "figures.json")
    assert visrec(*measured) == 0
    report = json.loads((tmp_path / "figures.json").read_text())
    beside = set() if report["model"] == "closed form" else {"closed form"}
    others = {"popularity", "random"} | CONTENT | beside
    for section in ("warm", "mixed"):
        assert set(report[section]) == OURS | others | BEHAVIOUR
    for section in ("cold alone", "cold"):
        assert set(report[section]) == OURS | others, "behaviour can't tell new items apart"
    assert set(report["short histories"]) == {"model", "popularity"} | CONTENT | BEHAVIOUR | beside
    ours = report["short histories"]["model"]
    assert ours == {row: report["warm"][row]["ndcg@10"] for row in ("history-1", "history-3", "history-5")}
    assert report["warm"]["history"]["ndcg@10"] > report["warm"]["random"]["ndcg@10"]
    assert report["cold alone"]["history"]["recall@20"] > report["cold"]["history"]["recall@20"]
    assert report["cold"]["popularity"]["recall@20"] == 0, "nobody has met a new item"
    assert report["queries"]["mixed"] >= max(report["queries"]["warm"], report["queries"]["cold"])
    first, *_ = report["new among known"].values()
    assert 0 < first["share new"] < 1
    assert first["known right"] > 0
    assert 0 < report["beyond accuracy"]["history"]["coverage"] <= 1
    assert 0 <= report["calibration"]["history"]["expected calibration error"] < 1
    assert "history-3" in capsys.readouterr().out
    assert visrec(*measured) == 0
    assert json.loads((tmp_path / "figures.json").read_text()) == report, "short histories are drawn by seed"


@pytest.fixture(scope="module")
def trained(split_shop, cache, visrec, tmp_path_factory):
    """The out folder of a run that was trained by gradient, with its closed form beside it."""
    out = tmp_path_factory.mktemp("trained")
    words = ("train", "--data", split_shop, "--cache", cache)
    assert visrec(*words, "--out", out / "closed", "--epochs", 0) == 0
    assert visrec(*words, "--out", out, "--epochs", 1) == 0
    shutil.copy(out / "closed" / "best.pt", out / "closed_form.pt")
    return out


@pytest.fixture
def evaluate(split_shop, cache, visrec, tmp_path):
    """Evaluates a checkpoint of the shop with a split; gives the report."""

    def run(checkpoint):
        words = ("--checkpoint", checkpoint, "--out", tmp_path / "evaluation.json")
        assert visrec("evaluate", "--data", split_shop, "--cache", cache, *words) == 0
        return json.loads((tmp_path / "evaluation.json").read_text())

    return run


def test_a_trained_model_stands_beside_its_closed_form(trained, evaluate):
    report, alone = evaluate(trained / "last.pt"), evaluate(trained / "closed" / "best.pt")
    assert report["model"] == "trained, epoch 1"
    assert alone["model"] == "closed form"
    for section in ("warm", "cold alone", "cold", "mixed"):
        assert report[section]["closed form"] == alone[section]["history"]
        assert report[section]["EASE" if section == "warm" else "centroid of both"]
    assert report["short histories"]["closed form"] == alone["short histories"]["model"]
    assert "closed form" not in alone["warm"], "it needs no comparison with itself"


def test_a_closed_form_of_other_data_is_not_compared_with(trained, run, evaluate, tmp_path):
    shutil.copy(trained / "last.pt", tmp_path)
    shutil.copy(run / "last.pt", tmp_path / "closed_form.pt")
    report = evaluate(tmp_path / "last.pt")
    assert "closed form" not in report["warm"]
    assert "closed form, because none of this data is beside the checkpoint" in report["not measured"]


def test_a_catalogue_too_large_for_dense_baselines_is_measured_without_them(trained, evaluate, monkeypatch):
    for module in ("references", "evaluate"):
        monkeypatch.setattr(f"visrec_training.{module}.MOST_ITEMS", 100)
    report = evaluate(trained / "last.pt")
    assert set(report["warm"]) == OURS | {"popularity", "closed form", "random"}
    (line,) = (line for line in report["not measured"] if line.startswith("baselines"))
    assert line.endswith("items are too large: at most 100")
