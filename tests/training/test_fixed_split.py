"""`visrec train` and `visrec evaluate` where the data brings its own split, with and without times."""

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

ROWS = {"nothing", "history", "history-1", "history-3", "history-5", "popularity", "random"}


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
    for section in ("warm", "cold alone", "cold", "mixed"):
        assert set(report[section]) == ROWS
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
