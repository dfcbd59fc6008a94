"""Ranking metrics, against values worked out by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visrec_training.metrics import means, query_metrics, random_metrics, ranking_metrics
from visrec_training.rows import Ragged


def test_a_target_in_third_place():
    metrics = ranking_metrics(np.arange(20)[None], Ragged.of([[2]]))
    assert metrics["recall@10"] == 1
    assert metrics["mrr@10"] == pytest.approx(1 / 3)
    assert metrics["ndcg@10"] == pytest.approx(1 / 2)  # 1 / log2(1 + 3)


def test_a_target_in_fifteenth_place_counts_at_20_only():
    metrics = ranking_metrics(np.arange(20)[None], Ragged.of([[14]]))
    assert metrics["recall@10"] == metrics["ndcg@10"] == 0
    assert metrics["ndcg@20"] == pytest.approx(1 / 4)


def test_three_right_answers_of_which_two_are_found():
    metrics = ranking_metrics(np.arange(20)[None], Ragged.of([[0, 2, 99]]))
    assert metrics["recall@10"] == pytest.approx(2 / 3)
    assert metrics["mrr@10"] == 1, "the first one counts"
    ideal = 1 + 1 / np.log2(3) + 1 / 2
    assert metrics["ndcg@10"] == pytest.approx((1 + 1 / 2) / ideal)


def test_all_right_is_perfect_however_many_there_are():
    metrics = ranking_metrics(np.arange(20)[None], Ragged.of([range(200)]))
    assert metrics["ndcg@10"] == pytest.approx(1)
    assert metrics["ndcg@20"] == pytest.approx(1)
    assert metrics["recall@20"] == pytest.approx(20 / 200)


@given(st.lists(st.integers(0, 40), min_size=1, max_size=30))
def test_one_right_answer_is_worth_what_its_rank_says(places):
    """The values of the single-target definitions: hit, 1 / log2(1 + rank), 1 / rank."""
    ranked = np.tile(np.arange(20), (len(places), 1))
    reached = query_metrics(ranked, Ragged.single(np.asarray(places)))
    for cutoff in (10, 20):
        inside = np.asarray(places) < cutoff
        ranks = np.asarray(places) + 1
        np.testing.assert_allclose(reached[f"recall@{cutoff}"], inside)
        np.testing.assert_allclose(reached[f"ndcg@{cutoff}"], inside / np.log2(1 + ranks))
        np.testing.assert_allclose(reached[f"mrr@{cutoff}"], inside / ranks)


def test_missing_answers_are_wrong_answers():
    ranked = np.full((1, 20), -1)
    ranked[0, 0] = 7
    assert ranking_metrics(ranked, Ragged.of([[7, 8]]))["recall@20"] == 1 / 2


def test_a_right_answer_to_another_query_is_wrong():
    ranked = np.tile(np.arange(20), (2, 1))
    reached = query_metrics(ranked, Ragged.of([[3], [40]]))
    assert reached["recall@20"].tolist() == [1, 0]


def test_no_queries_give_zeros():
    assert set(ranking_metrics(np.zeros((0, 20), np.int64), Ragged.empty(0)).values()) == {0}


def test_chance_is_certainty_among_few():
    chance = means(random_metrics(np.asarray([1, 1]), np.asarray([1, 1])))
    assert chance["recall@10"] == chance["ndcg@20"] == chance["mrr@10"] == 1
    chance = random_metrics(np.asarray([25]), np.asarray([25]))
    assert chance["mrr@10"] == chance["ndcg@20"] == pytest.approx(1)
    assert random_metrics(np.asarray([3]), np.asarray([1]))["ndcg@20"] < 1


@settings(deadline=None, max_examples=20)
@given(st.integers(30, 200), st.integers(1, 29), st.integers(0, 2**32 - 1))
def test_chance_is_what_random_rankings_reach(items, targets, seed):
    rng = np.random.default_rng(seed)
    ranked = np.argsort(rng.random((4000, items)), axis=1)[:, :20]
    reached = ranking_metrics(ranked, Ragged.of([range(targets)] * 4000))
    expected = random_metrics(np.full(4000, items), np.full(4000, targets))
    for name, value in means(expected).items():
        assert reached[name] == pytest.approx(value, abs=0.05), name
