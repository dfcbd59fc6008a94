"""What is chosen on validation weighs known and new items."""

import pytest

from visrec_training.tuning import NEW_SHARE, joint_quality


def test_a_gain_counts_by_its_ratio_and_by_the_share_of_its_kind():
    start = joint_quality([0.1, 0.4], [100, 100])
    assert joint_quality([0.2, 0.4], [100, 100]) / start == pytest.approx(2 ** (1 - NEW_SHARE))
    assert joint_quality([0.1, 0.8], [100, 100]) / start == pytest.approx(2**NEW_SHARE)
    assert joint_quality([0.1], [100]) == pytest.approx(0.1), "one ranking of both"


def test_where_nothing_is_found_of_one_kind_the_other_decides():
    assert joint_quality([0.2, 0.0], [100, 100]) > joint_quality([0.1, 0.0], [100, 100]) > 0
    assert joint_quality([0.2, 0.001], [100, 1_000]) > joint_quality([0.2, 0.0], [100, 1_000])
