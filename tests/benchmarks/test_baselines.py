"""The baselines: what their papers say, and that each knows more than chance on shoppers with taste."""

import dataclasses

import numpy as np
import pytest
from benchmarks.quality import cornac_baselines
from benchmarks.quality.baselines import (
    Blend,
    Centroid,
    ItemToItem,
    Popularity,
    best,
    validated,
    with_newcomers,
)

from visrec_client.errors import VisrecError
from visrec_training.metrics import ranking_metrics
from visrec_training.retrieval import rank_scores
from visrec_training.split import Queries, Section, Split


def split_of(*sequences, items=4):
    """A split of nothing but training sequences."""
    nobody = Queries(np.zeros(0, np.int64), [], np.zeros(0, np.int64), [], [])
    train = [np.asarray(sequence, dtype=np.int64) for sequence in sequences]
    flags = np.zeros(items, dtype=bool)
    return Split(train, *[nobody] * 4, flags, ~flags, has_order=False, is_fixed=True)


def asking(*history):
    rows = np.asarray(history, dtype=np.int64)
    return Queries(np.zeros(1, np.int64), [rows], np.full(1, -1), [rows[:0]], [rows])


def reached(baseline, section):
    ranked = rank_scores(baseline.scores(section.queries), section)
    return ranking_metrics(ranked, section.queries.targets)["ndcg@10"]


def test_popularity_counts_who_liked_what():
    scores = Popularity.fit(split_of([0, 1], [1], [1, 2])).scores(asking(0))[0]
    assert np.argsort(-scores)[0] == 1
    assert np.argsort(-scores)[-1] == 3


def test_a_neighbour_is_whom_the_same_people_like():
    model = ItemToItem.item_knn(split_of([0, 1], [0, 1], [1, 2]), neighbours=1)
    scores = model.scores(asking(0))[0]
    assert scores[1] == pytest.approx(2 / (2 * 3) ** 0.5)
    assert scores[[0, 2, 3]].tolist() == [0, 0, 0]


def test_ease_is_the_ridge_regression_without_a_diagonal():
    """Its weights are those of the regression of each item on all others."""
    rng = np.random.default_rng(0)
    sequences = [np.flatnonzero(rng.random(6) < 0.5) for _ in range(40)]
    weights = ItemToItem.ease(split_of(*sequences, items=6), ridge=3).weights
    chosen = np.stack([np.isin(np.arange(6), sequence) for sequence in sequences]).astype(float)
    for item in range(6):
        others = np.delete(np.arange(6), item)
        x = chosen[:, others]
        solved = np.linalg.solve(x.T @ x + 3 * np.eye(5), x.T @ chosen[:, item])
        np.testing.assert_allclose(weights[others, item], solved, atol=1e-5)
        assert weights[item, item] == 0


def test_each_beats_popularity_where_people_have_taste(prepared):
    section = prepared.split.sections()["warm"]
    popular = reached(Popularity.fit(prepared.split), section)
    assert reached(ItemToItem.ease(prepared.split, 100), section) > popular
    assert reached(ItemToItem.item_knn(prepared.split, 50), section) > popular
    assert reached(Centroid.fit(prepared, words=1, pictures=1), section) > popular


@pytest.mark.parametrize("shares", [{"words": 1, "pictures": 0}, {"words": 0, "pictures": 1}])
def test_content_finds_new_items(prepared, shares):
    section = prepared.split.sections()["cold alone"]
    chance = reached(Popularity.fit(prepared.split), section)  # nobody knows them
    assert reached(Centroid.fit(prepared, **shares), section) > 1.2 * chance


def test_what_is_best_on_validation_is_taken(prepared):
    """Of one neighbour that says nothing and many, and never by the people who test."""

    def fit(neighbours):
        return ItemToItem(np.zeros((items, items), np.float32)) if neighbours == 1 else good

    items, good = len(prepared.split.is_cold), ItemToItem.item_knn(prepared.split, 50)
    untested = dataclasses.replace(prepared.split, test=None, cold=None, mixed=None)
    assert validated((1, 50), fit, untested) == 50
    assert validated((50, 1), fit, untested) == 50


def test_where_nothing_can_be_validated_the_first_option_is_taken():
    split = split_of([0, 1], [1, 2])
    section = Section(split.valid, split.candidates)
    assert best((3, 1, 2), lambda _: np.zeros((0, 4), np.float32), section) == 3


def test_newcomers_are_known_by_nobody_and_asked_for_by_who_liked_them(prepared):
    split = prepared.split
    earlier, section = with_newcomers(split)
    met = np.bincount(np.concatenate(earlier.train), minlength=len(split.is_cold))
    is_new = split.candidates & (met == 0)
    assert is_new.sum() == pytest.approx(split.candidates.sum() / 10, abs=1)
    valid = dict(zip(split.valid.users.tolist(), split.valid.targets, strict=True))
    asked = section.queries
    for user, history, right, seen in zip(
        asked.users.tolist(), asked.histories, asked.targets, asked.seen, strict=True
    ):
        liked = split.train[user]
        assert history.tolist() == liked[~is_new[liked]].tolist()
        assert {*right.tolist()} == {*liked[is_new[liked]].tolist(), *valid.get(user, liked[:0]).tolist()}
        assert not {*right.tolist()} & {*seen.tolist()}


def test_a_blend_answers_for_known_and_new_items(prepared):
    split, sections = prepared.split, prepared.split.sections()
    content, ease = Centroid.fit(prepared, words=1, pictures=1), ItemToItem.ease(split, 100)
    blend = Blend.fit(split, 100, content)
    assert reached(blend, sections["cold alone"]) == reached(content, sections["cold alone"])
    assert reached(blend, sections["cold"]) > reached(ease, sections["cold"]) == 0
    assert len({*blend.weights[split.candidates]}) == len({*blend.weights[split.is_cold]}) == 1
    assert reached(blend, sections["warm"]) > reached(content, sections["warm"])
    assert reached(blend, sections["mixed"]) > reached(ease, sections["mixed"])


def test_a_missing_environment_is_told_with_its_remedy(prepared, tmp_path):
    with pytest.raises(VisrecError, match=r"venv .*/none && .*/pip install cornac torch") as error:
        cornac_baselines.train("BPR", prepared, 0, tmp_path / "none" / "bin" / "python")
    assert "\n" not in str(error.value)


def test_factors_score_by_who_asks():
    factors = cornac_baselines.Factors(
        users=np.asarray([[1.0, 0.0]], np.float32),
        items=np.asarray([[1.0, 5.0], [2.0, 0.0]], np.float32),
        bias=np.asarray([0.5, 0.0], np.float32),
    )
    queries = Queries(np.asarray([0, 7]), [], np.full(2, -1), [np.zeros(0, np.int64)] * 2, [])
    assert factors.scores(queries).tolist() == [[1.5, 2.0], [0.5, 0.0]]
