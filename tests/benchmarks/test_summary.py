"""What the results file says of models: means, intervals, and one model next to the best of others."""

import numpy as np
import pytest
from benchmarks.quality.measure import METRICS, Measured
from benchmarks.quality.summary import against_best, summarise

RNG = np.random.default_rng(0)
SURE = pytest.approx(2 / 1001)  # no sample says otherwise
PEOPLE = RNG.random(200)  # how easily each is answered


def measured(**rows):
    """One training, whose metrics are all the same."""
    return Measured({row: dict.fromkeys(METRICS, np.asarray(values)) for row, values in rows.items()}, {}, {})


def test_an_interval_holds_the_mean_over_people_and_seeds():
    figure = summarise([measured(warm=PEOPLE), measured(warm=PEOPLE / 2)])["warm"]["ndcg@10"]
    assert figure["mean"] == pytest.approx(0.75 * PEOPLE.mean())
    assert figure["seeds"] == pytest.approx([PEOPLE.mean(), PEOPLE.mean() / 2])
    assert figure["low"] < figure["mean"] < figure["high"]
    deviation = 0.75 * PEOPLE.std() / len(PEOPLE) ** 0.5
    assert figure["high"] - figure["low"] == pytest.approx(2 * 1.96 * deviation, rel=0.1)


def test_the_best_of_each_row_is_compared_with():
    others = {
        "one": [measured(warm=PEOPLE, cold=PEOPLE / 4)],
        "other": [measured(warm=PEOPLE / 2, cold=PEOPLE / 2)],
        "knows no new items": [measured(warm=PEOPLE / 3)],
    }
    said = against_best([measured(warm=PEOPLE / 2, cold=PEOPLE)], others)
    assert said["warm"] == {"model": "one", "ratio": pytest.approx(0.5), "p": SURE}
    assert said["cold"] == {"model": "other", "ratio": pytest.approx(2), "p": SURE}


def test_people_are_paired():
    """A gain is small next to how people differ, and yet sure, if everybody has it; equals gain nothing."""
    others = {"other": [measured(warm=PEOPLE)]}
    assert against_best([measured(warm=PEOPLE + 0.001)], others)["warm"]["p"] == SURE
    assert against_best([measured(warm=PEOPLE)], others)["warm"]["p"] == 1
    assert against_best([measured(warm=RNG.permutation(PEOPLE))], others)["warm"]["p"] > 0.05


def test_seeds_count_by_their_mean():
    others = {"other": [measured(warm=PEOPLE)]}
    ours = [measured(warm=PEOPLE * 1.5), measured(warm=PEOPLE * 0.9)]
    assert against_best(ours, others)["warm"]["ratio"] == pytest.approx(1.2)


def test_a_row_that_nobody_else_is_right_in_is_left_out():
    others = {"other": [measured(warm=0 * PEOPLE)]}
    assert against_best([measured(warm=PEOPLE, cold=PEOPLE)], others) == {}
