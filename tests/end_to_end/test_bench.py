"""`visrec bench` against a real server: every file is there, and the limit computes what is served."""

import json

import numpy as np

from visrec_bench.limit import Pipeline
from visrec_bench.requests import draw_requests
from visrec_client import Recommender
from visrec_training.data import read_dataset


def test_an_operator_measures_their_server(server, repository, small_shop, visrec, tmp_path, capsys):
    words = ["--url", server.grpc_url, "--data", small_shop, "--repository", repository, "--out", tmp_path]
    words += ["--concurrency", "1,4", "--rate", "25%,3", "--seconds", "4.5", "--requests", "32"]
    assert visrec("bench", *words) == 0
    printed = capsys.readouterr().out
    assert "perf_analyzer -m recommender" in printed
    report = json.loads((tmp_path / "bench.json").read_text())
    measured = report["measurements"]
    assert [m["load"]["concurrency"] for m in measured] == [1, 4, None, None]
    assert measured[3]["load"]["rate"] == 3
    for m in measured:
        assert m["clients"]["throughput"] > 0
        assert m["clients"]["p50_ms"] <= m["clients"]["p99_ms"]
        assert set(m["steps"]) == {"recommender", "encoder", "attention", "fusion_scorer"}
    best = max(m["clients"]["throughput"] for m in measured)
    assert report["ratios"]["saturated/limit"] == best / report["limit"]["throughput"]
    for chart in ("throughput.svg", "throughput.png", "steps.svg", "steps.png"):
        assert (tmp_path / chart).stat().st_size > 1000


def test_the_limit_computes_what_is_served(server, repository, small_shop):
    dataset = read_dataset(small_shop)
    shapes = {"IMAGE": [224, 224, 3], "HISTORY": [50], "TEXT": [1]}
    request = draw_requests(dataset, shapes, 1)
    history = [item_id for item_id in request["HISTORY"][0] if item_id]
    with Recommender(server.grpc_url, timeout=30) as recommender:
        here = Pipeline(repository, "recommender")(request)
        there = recommender.recommend(
            request["IMAGE"][0], history, request["TEXT"][0, 0], k=20, exclude_history=False
        )
    assert [item.item_id for item in there.items] == here["ITEM_ID"][0][:20].tolist()
    assert np.allclose([item.score for item in there.items], here["SCORE"][0][:20], atol=1e-6)


def test_a_server_that_is_not_there_is_one_line(small_shop, visrec, tmp_path, capsys):
    assert visrec("bench", "--url", "localhost:1", "--data", small_shop, "--out", tmp_path) == 1
    assert "no server answers at localhost:1" in capsys.readouterr().err
