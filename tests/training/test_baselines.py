"""The baselines: what their papers say, and that each knows more than chance on shoppers with taste."""

import dataclasses

import numpy as np
import pytest

from visrec_training.baselines import (
    ItemToItem,
    Popularity,
    best,
    best_ease,
    best_item_knn,
    liked_together,
    rank,
    validated,
)
from visrec_training.centroids import Centroid
from visrec_training.metrics import ranking_metrics
from visrec_training.queries import Queries, Section
from visrec_training.rows import Ragged
from visrec_training.split import Split


def split_of(*sequences, items=4):
    """A split of nothing but training sequences."""
    train, nobody = Ragged.of(sequences), Queries.none()
    flags = np.zeros(items, dtype=bool)
    return Split(train, *[nobody] * 4, flags, ~flags, has_order=False, is_fixed=True)


def asking(*history):
    told = Ragged.of([history])
    return Queries(np.zeros(1, np.int64), told, np.full(1, -1), Ragged.empty(1), told)


def reached(baseline, section):
    return ranking_metrics(rank(baseline, section), section.queries.targets)["ndcg@10"]


def test_popularity_counts_who_liked_what():
    scores = Popularity.fit(split_of([0, 1], [1], [1, 2])).scores(asking(0))[0]
    assert np.argsort(-scores)[0] == 1
    assert np.argsort(-scores)[-1] == 3


def test_a_neighbour_is_whom_the_same_people_like():
    model = ItemToItem.item_knn(liked_together(split_of([0, 1], [0, 1], [1, 2])), neighbours=1)
    scores = model.scores(asking(0))[0]
    assert scores[1] == pytest.approx(2 / (2 * 3) ** 0.5)
    assert scores[[0, 2, 3]].tolist() == [0, 0, 0]


def test_ease_is_the_ridge_regression_without_a_diagonal():
    """Its weights are those of the regression of each item on all others."""
    rng = np.random.default_rng(0)
    sequences = [np.flatnonzero(rng.random(6) < 0.5) for _ in range(40)]
    weights = ItemToItem.ease(liked_together(split_of(*sequences, items=6)), ridge=3).weights
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
    assert reached(best_ease(prepared.split), section) > popular
    assert reached(best_item_knn(prepared.split), section) > popular
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

    items, good = len(prepared.split.is_cold), ItemToItem.item_knn(liked_together(prepared.split), 50)
    untested = dataclasses.replace(prepared.split, test=None, cold=None, mixed=None)
    assert validated((1, 50), fit, untested) == 50
    assert validated((50, 1), fit, untested) == 50


def test_where_nothing_can_be_validated_the_first_option_is_taken():
    split = split_of([0, 1], [1, 2])
    section = Section(split.valid, split.candidates)
    assert best((3, 1, 2), lambda _: np.zeros((0, 4), np.float32), section) == 3


def test_an_item_liked_twice_by_one_person_counts_once():
    together = liked_together(split_of([0, 1, 0], [1, 2]))
    assert together.tolist() == [[1, 1, 0, 0], [1, 2, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]]


def test_what_is_looked_at_ends_the_history():
    model = ItemToItem.item_knn(liked_together(split_of([0, 1], [0, 1], [2, 3])), neighbours=4)
    looking = dataclasses.replace(asking(0), viewed=np.asarray([2]))
    ranked = rank(model, Section(looking, np.ones(4, dtype=bool)))
    assert set(ranked[0, :2]) == {1, 3}, "neighbours of what was liked and of what is looked at"


def test_queries_are_answered_the_same_in_blocks_of_any_size(prepared, monkeypatch):
    section = prepared.split.sections()["warm"]
    whole = rank(best_item_knn(prepared.split), section)
    monkeypatch.setattr("visrec_training.baselines.BLOCK", 7)
    assert (rank(best_item_knn(prepared.split), section) == whole).all()
