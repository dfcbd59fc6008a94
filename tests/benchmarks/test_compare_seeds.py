"""`python -m benchmarks.compare_seeds`: how often seeds of one configuration are told apart."""

import json

import numpy as np
import pytest
from benchmarks import compare_seeds
from benchmarks.compare_seeds import main, told_apart
from benchmarks.quality.visrec_run import _train
from tiny_shops import each, write_shop

from visrec_training import compare
from visrec_training.query_results import SectionResults


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(compare, "RESAMPLES", 200)
    monkeypatch.setattr(compare_seeds, "PAIRS", 5)


def seeds(rng, count, deviation):
    """What seeds reach, each a little better or worse for everybody by chance."""
    people, easy = np.arange(200), rng.random((200, 2))
    reached = [easy + deviation * rng.standard_normal() + 0.02 * rng.random((200, 2)) for _ in range(count)]
    return [{"warm": SectionResults(people, "asked", {"history": each})} for each in reached]


def test_seeds_that_differ_for_everybody_are_told_apart_by_people_alone():
    report = told_apart(seeds(np.random.default_rng(0), 8, deviation=0.05))
    singles, halves, strangers = (each["warm"]["ndcg@10"] for each in report.values())
    assert singles["pairs"] == len(singles["p"]) == 8 * 7 / 2
    assert halves["pairs"] == 5
    assert strangers["told apart"] > 14
    assert singles["told apart"] <= 3
    assert halves["told apart"] <= 1


def test_seeds_are_trained_once_and_compared(cache, tmp_path, capsys, monkeypatch):
    shop = write_shop(tmp_path / "shop", 6, each(24, 4), split=("train", "train", "valid", "test"))
    out = tmp_path / "seeds.json"
    words = ["--data", shop, "--cache", cache, "--work", tmp_path / "work", "--out", out, "--seeds", 4]
    words = [str(word) for word in (*words, "--set", "train.epochs=0")]
    monkeypatch.setattr(compare_seeds, "train_visrec", _train)  # in this process: it is quicker
    assert main(words) == 0
    report = json.loads(out.read_text())
    assert report["seeds"]["warm"]["ndcg@10"]["pairs"] == 6
    assert "of 6 pairs of seeds told apart" in capsys.readouterr().out
    monkeypatch.setattr(compare_seeds, "train_visrec", None)
    assert main(words) == 0
    assert json.loads(out.read_text()) == report


@pytest.mark.parametrize(
    ("words", "said"),
    [(["--data", "nowhere"], "no data folder"), (["--data", ".", "--set", "train.x=1"], "train.x")],
)
def test_errors_are_one_line(capsys, words, said):
    assert main(words) == 1
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
