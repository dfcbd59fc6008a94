"""Lists in one array do what lists of arrays would."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from visrec_training.rows import Ragged

LISTS = st.lists(st.lists(st.integers(0, 9), max_size=6), max_size=8)


def plain(ragged):
    return [each.tolist() for each in ragged]


@given(LISTS)
def test_lists_come_back_as_they_were_put_in(lists):
    ragged = Ragged.of(lists)
    assert plain(ragged) == lists
    assert ragged.owners.tolist() == [place for place, each in enumerate(lists) for _ in each]
    assert plain(ragged[1:4]) == lists[1:4]


@given(LISTS, st.data())
def test_some_of_the_lists_in_any_order(lists, data):
    places = st.lists(st.integers(0, len(lists) - 1)) if lists else st.just([])
    chosen = np.asarray(data.draw(places), dtype=np.int64)
    assert plain(Ragged.of(lists).part(chosen)) == [lists[place] for place in chosen]


@given(LISTS, st.integers(0, 7))
def test_the_beginning_and_the_end_of_each(lists, most):
    ragged = Ragged.of(lists)
    assert plain(ragged.first(ragged.sizes.clip(max=most))) == [each[:most] for each in lists]
    assert plain(ragged.last(most)) == [each[max(0, len(each) - most) :] for each in lists]


@given(LISTS)
def test_values_can_be_left_out_and_replaced(lists):
    ragged = Ragged.of(lists)
    assert plain(ragged.where(ragged.values > 4)) == [[item for item in each if item > 4] for each in lists]
    assert plain(ragged.replaced(ragged.values + 1)) == [[item + 1 for item in each] for each in lists]


@given(LISTS, LISTS)
def test_lists_grow_by_a_value_or_by_others(lists, others):
    ragged, every_other = Ragged.of(lists), np.arange(len(lists)) % 2 == 0
    grown = ragged.appended(np.arange(len(lists)), every_other)
    assert plain(grown) == [each + [place] * (place % 2 == 0) for place, each in enumerate(lists)]
    assert plain(ragged.then(Ragged.of(others))) == lists + others


def test_lists_of_nothing_and_of_one():
    assert plain(Ragged.empty(3)) == [[], [], []]
    assert plain(Ragged.single(np.asarray([4, 2]))) == [[4], [2]]
