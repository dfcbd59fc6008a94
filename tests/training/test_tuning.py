"""What is chosen on validation weighs known and new items, and each way of asking."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from visrec_training.balance import Balance, choose
from visrec_training.queries import Queries, Section
from visrec_training.rows import Ragged
from visrec_training.tuning import NEW_SHARE, joint_quality, some_items


def test_a_gain_counts_by_its_ratio_and_by_the_share_of_its_kind():
    start = joint_quality([0.1, 0.4], [100, 100])
    assert joint_quality([0.2, 0.4], [100, 100]) / start == pytest.approx(2 ** (1 - NEW_SHARE))
    assert joint_quality([0.1, 0.8], [100, 100]) / start == pytest.approx(2**NEW_SHARE)
    assert joint_quality([0.1], [100]) == pytest.approx(0.1), "one ranking of both"


def test_where_nothing_is_found_of_one_kind_the_other_decides():
    assert joint_quality([0.2, 0.0], [100, 100]) > joint_quality([0.1, 0.0], [100, 100]) > 0
    assert joint_quality([0.2, 0.001], [100, 1_000]) > joint_quality([0.2, 0.0], [100, 1_000])


def test_how_much_content_counts_for_a_history_alone_says_nothing_of_pictures_and_words():
    balance = Balance()
    alone, with_picture, with_words = told = torch.tensor(
        [[0, 1.1, 0, 0, 1], [1, 1.4, 0, 1.1, 0], [0, 1.4, 1, 0, 0]]
    )
    before = balance(told).content
    balance.weigh_content(lambda: -balance(alone).content.item())
    assert balance(alone).content < 0.1 * before[0]
    for row, asked in ((1, with_picture), (2, with_words)):
        assert balance(asked).content == before[row]


@given(st.lists(st.integers(0, 5), min_size=1))
def test_the_best_of_all_options_is_taken_and_of_equals_the_first(worth):
    taken = []
    best = choose(range(len(worth)), taken.append, lambda: worth[taken[-1]])
    assert best == taken[-1] == worth.index(max(worth))


def test_among_very_many_items_some_are_ranked_beside_all_that_questions_name():
    histories, targets, seen = (Ragged.of(each) for each in ([[7], []], [[999], [7]], [[7, 50], []]))
    asked = Queries(np.asarray([0, 3]), histories, np.asarray([50, -1]), targets, seen)
    section = Section(asked, np.arange(1_000) > 40)
    assert some_items([section], 1_000).tolist() == list(range(1_000))
    chosen = some_items([section], 100)
    assert 100 <= len(chosen) <= 103
    assert (chosen == some_items([section], 100)).all(), "always the same ones"
    few = section.among(chosen)
    asked = few.queries
    named = [chosen[each].tolist() for each in (*asked.histories, *asked.targets, *asked.seen)]
    assert named == [[7], [], [999], [7], [7, 50], []]
    assert chosen[asked.viewed[0]] == 50
    assert asked.viewed[1] == -1
    assert (few.ranked == (chosen > 40)).all()
