"""How sure a mean over queries is, and how easily chance alone gives a difference."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from visrec_training import bootstrap
from visrec_training.bootstrap import interval, p_value, resampled_means

few = settings(deadline=None, max_examples=25)
metrics = arrays(np.float64, st.integers(20, 60), elements=st.floats(0, 1, width=32))


def everybody_once(values):
    return resampled_means(values, np.arange(len(values)))


def test_people_are_drawn_with_all_that_they_asked():
    values = np.repeat([0.0, 1.0], 50)
    low, high = interval(everybody_once(values))
    assert 0.3 < low < values.mean() < high < 0.7
    two = resampled_means(values, np.repeat([0, 1], 50))
    assert interval(two).tolist() == [0, 1], "two people who each asked the same 50 times"


def test_an_interval_is_as_long_as_theory_says():
    values = np.random.default_rng(1).random(500)
    low, high = interval(everybody_once(values))
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 500**0.5, rel=0.1)


@few
@given(metrics)
def test_an_interval_holds_the_mean_between_the_extremes(values):
    low, high = interval(everybody_once(values))
    assert values.min() - 1e-9 <= low <= values.mean() + 1e-9
    assert values.mean() - 1e-9 <= high <= values.max() + 1e-9


@few
@given(metrics)
def test_swapping_two_turns_their_difference_around_and_is_as_likely(values):
    other = values[::-1]
    one, two = everybody_once(values - other), everybody_once(other - values)
    np.testing.assert_allclose(one, -two)
    assert p_value(one) == p_value(two)
    assert 0 < p_value(one) <= 1


@few
@given(metrics, st.floats(0.125, 1))
def test_what_everybody_gains_is_sure_and_what_nobody_does_is_not(values, gain):
    assert p_value(everybody_once(values + gain - values)) == pytest.approx(2 / 1001)
    assert p_value(everybody_once(values - values)) == 1


def test_p_is_below_5_percent_where_the_interval_leaves_0_out():
    rng = np.random.default_rng(2)
    for shift in np.linspace(0, 0.3, 40):
        means = everybody_once(rng.standard_normal(100) + shift)
        low, high = interval(means)
        assert (p_value(means) < 0.05) == (low > 0 or high < 0)


def test_samples_are_the_same_each_time_for_all_that_is_asked_together(monkeypatch):
    values = np.random.default_rng(3).random((50, 2, 3))
    people = np.arange(50) // 2
    means = resampled_means(values, people)
    assert means.shape == (1000, 2, 3)
    np.testing.assert_allclose(means[:, 1, 2], resampled_means(values[:, 1, 2], people))
    monkeypatch.setattr(bootstrap, "_AT_ONCE", 60)
    np.testing.assert_allclose(means, resampled_means(values, people), err_msg="drawn in small blocks")


def test_p_is_even_where_nothing_differs():
    """Of two models that people find equally good, one in twenty pairs is told apart."""
    rng = np.random.default_rng(4)
    told = [p_value(everybody_once(rng.standard_normal(200))) < 0.05 for _ in range(400)]
    assert np.mean(told) == pytest.approx(0.05, abs=0.03)
