"""Coverage, novelty, diversity, popularity and calibration, against values worked out by hand."""

import numpy as np
import pytest

from visrec_training.beyond_accuracy import (
    beyond_accuracy,
    calibration,
    category_vectors,
    new_among_known,
)
from visrec_training.rows import Ragged

EVERYTHING = np.ones(4, dtype=bool)
ALIKE = category_vectors(("red", "red", "red", "red"))


def padded(*rankings):
    ranked = np.full((len(rankings), 20), -1)
    for row, items in enumerate(rankings):
        ranked[row, : len(items)] = items
    return ranked


def test_the_same_answer_for_everybody_covers_little_and_is_uneven():
    popularity = np.asarray([6, 3, 2, 1])
    said = beyond_accuracy(padded([0], [0]), popularity, EVERYTHING, ALIKE)
    assert said["coverage"] == 1 / 4
    assert said["gini"] == pytest.approx(3 / 4)
    assert said["popularity"] == pytest.approx(7 / 8), "three are less popular, and itself counts half"
    assert said["novelty"] == pytest.approx(-np.log2(7 / 16))


def test_an_answer_of_everything_covers_all_evenly():
    said = beyond_accuracy(padded([0, 1], [3, 2]), np.asarray([6, 3, 2, 1]), EVERYTHING, ALIKE)
    assert said["coverage"] == 1
    assert said["gini"] == 0
    assert said["popularity"] == pytest.approx(1 / 2)


def test_only_what_could_be_ranked_counts():
    rankable = np.asarray([True, True, False, False])
    said = beyond_accuracy(padded([0], [1]), np.asarray([6, 3, 2, 1]), rankable, ALIKE)
    assert said["coverage"] == 1
    assert said["popularity"] == pytest.approx(1 / 2)


def test_diversity_is_how_little_categories_overlap():
    vectors = category_vectors(("Drama|War", "Drama", "Comedy", ""))

    def diversity(*items):
        return beyond_accuracy(padded(items), np.ones(4, np.int64), EVERYTHING, vectors)["diversity"]

    assert diversity(1, 2) == pytest.approx(1)
    assert diversity(0, 1) == pytest.approx(1 - 2**-0.5)
    assert diversity(1, 3) == pytest.approx(1), "what has no category is like nothing"
    assert diversity(0, 1, 2) == pytest.approx((1 - 2**-0.5 + 1 + 1) / 3)


def test_scores_that_come_true_are_calibrated():
    rng = np.random.default_rng(0)
    stated = rng.uniform(0, 1, 20_000).astype(np.float32)
    ranked, scores = np.full((20_000, 20), -1), np.zeros((20_000, 20), np.float32)
    ranked[:, 0], scores[:, 0] = 1, stated
    targets = Ragged.single(np.where(rng.random(20_000) < stated, 1, 2))
    assert calibration(ranked, scores, targets)["expected calibration error"] < 0.02
    boast = calibration(ranked, np.minimum(2 * scores, 1), targets)
    assert boast["expected calibration error"] > 0.15
    assert boast["mean score"] > boast["mean outcome"]


def test_several_right_answers_share_one_outcome():
    ranked, scores = padded([0, 1]), np.zeros((1, 20), np.float32)
    scores[0, :2] = 0.25
    said = calibration(ranked, scores, Ragged.of([[0, 1, 2, 3]]))
    assert said["expected calibration error"] == pytest.approx(0)


def test_new_items_are_told_from_the_known_ones_beside_them():
    """Items 2 and 3 are new."""
    is_new = np.asarray([False, False, True, True])
    ranked = padded([0, 2, 1], [2, 3, 0])
    table = new_among_known(ranked, Ragged.of([[2, 1], [0]]), is_new)
    assert table["ranks 1-5"] == {
        "share new": pytest.approx(3 / 6),
        "new right": pytest.approx(1 / 3),
        "known right": pytest.approx(2 / 3),
    }
    assert set(table["ranks 11-20"].values()) == {0}, "nothing stands there"


def test_new_items_are_judged_by_the_ranks_where_they_stand():
    ranked = np.arange(20)[None]
    table = new_among_known(ranked, Ragged.of([[7, 12]]), np.arange(20) >= 10)
    assert [row["share new"] for row in table.values()] == [0, 0, 1]
    assert [row["known right"] for row in table.values()] == [0, 1 / 5, 0]
    assert [row["new right"] for row in table.values()] == [0, 0, 1 / 10]
