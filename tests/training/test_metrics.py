"""Ranking metrics, against values worked out by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from visrec_training.metrics import random_metrics, ranking_metrics


def test_a_target_in_third_place():
    ranked = np.arange(20)[None]
    metrics = ranking_metrics(ranked, np.asarray([2]))
    assert metrics["recall@10"] == 1
    assert metrics["mrr@10"] == pytest.approx(1 / 3)
    assert metrics["ndcg@10"] == pytest.approx(1 / 2)  # 1 / log2(1 + 3)


def test_a_target_in_fifteenth_place_counts_at_20_only():
    metrics = ranking_metrics(np.arange(20)[None], np.asarray([14]))
    assert metrics["recall@10"] == metrics["ndcg@10"] == 0
    assert metrics["ndcg@20"] == pytest.approx(1 / 4)


def test_no_queries_give_zeros():
    assert set(ranking_metrics(np.zeros((0, 20), np.int64), np.zeros(0, np.int64)).values()) == {0}


def test_chance_is_certainty_among_few():
    chance = random_metrics(np.asarray([1, 1]))
    assert chance["recall@10"] == chance["ndcg@20"] == chance["mrr@10"] == 1
    assert random_metrics(np.asarray([3]))["ndcg@20"] < 1


@given(st.integers(30, 200), st.integers(0, 2**32 - 1))
def test_chance_is_what_random_rankings_reach(items, seed):
    rng = np.random.default_rng(seed)
    ranked = np.argsort(rng.random((4000, items)), axis=1)[:, :20]
    reached = ranking_metrics(ranked, np.zeros(4000, np.int64))
    expected = random_metrics(np.full(4000, items))
    assert reached["recall@20"] == pytest.approx(expected["recall@20"], abs=0.05)
    assert reached["ndcg@10"] == pytest.approx(expected["ndcg@10"], abs=0.05)
