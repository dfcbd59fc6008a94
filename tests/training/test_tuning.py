"""What is chosen on validation weighs known and new items alike."""

import pytest

from visrec_training.tuning import joint_quality


def test_a_percent_of_one_kind_is_worth_a_percent_of_the_other():
    assert joint_quality([0.1, 0.4], [100, 100]) == pytest.approx(0.2)
    assert joint_quality([0.11, 0.4], [100, 100]) == pytest.approx(joint_quality([0.1, 0.44], [100, 100]))
    assert joint_quality([0.1], [100]) == pytest.approx(0.1)


def test_where_nothing_is_found_of_one_kind_the_other_decides():
    assert joint_quality([0.2, 0.0], [100, 100]) > joint_quality([0.1, 0.0], [100, 100]) > 0
    assert joint_quality([0.2, 0.001], [100, 1_000]) > joint_quality([0.2, 0.0], [100, 1_000])
