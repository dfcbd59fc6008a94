"""The temporal split and the held-out items: nothing that measures is ever learned from."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from visrec_training.data import Catalogue, Dataset, Interactions
from visrec_training.split import split

ITEMS = 40
sequences = st.lists(
    st.lists(st.integers(0, ITEMS - 1), min_size=1, max_size=12, unique=True), min_size=1, max_size=8
)


def dataset(sequences):
    users = np.concatenate([np.full(len(s), user) for user, s in enumerate(sequences)]).astype(np.int64)
    items = np.concatenate(sequences).astype(np.int64)
    columns = [tuple(f"{n}" for n in range(ITEMS))] * 5
    return Dataset(Catalogue(*columns), Interactions(users, items))


def test_the_last_item_tests_and_the_one_before_validates():
    parts = split(dataset([[1, 2, 3, 4, 5]]), cold_share=0, seed=0)
    assert [s.tolist() for s in parts.train] == [[1, 2, 3]]
    assert (parts.valid.histories[0].tolist(), parts.valid.viewed[0], parts.valid.targets[0]) == (
        [1, 2],
        3,
        4,
    )
    assert (parts.test.histories[0].tolist(), parts.test.viewed[0], parts.test.targets[0]) == (
        [1, 2, 3],
        4,
        5,
    )


def test_a_short_history_is_learned_from_but_not_measured():
    parts = split(dataset([[1, 2, 3]]), cold_share=0, seed=0)
    assert [s.tolist() for s in parts.train] == [[1, 2, 3]]
    assert len(parts.valid) == len(parts.test) == 0


@given(sequences, st.floats(0, 0.5), st.integers(0, 5))
def test_training_never_sees_what_measures(sequences, cold_share, seed):
    parts = split(dataset(sequences), cold_share=cold_share, seed=seed)
    assert parts.is_cold.sum() == round(cold_share * ITEMS)
    learned = np.concatenate([*parts.train, np.zeros(0, dtype=np.int64)])
    assert not parts.is_cold[learned].any()
    for queries in (parts.valid, parts.test):
        for history, viewed, target in zip(queries.histories, queries.viewed, queries.targets, strict=True):
            assert not parts.is_cold[[*history, viewed, target]].any()
            assert target not in history
    assert parts.is_cold[parts.cold.targets].all()
    assert not parts.is_cold[parts.cold.viewed].any()


@given(sequences)
def test_the_same_seed_splits_the_same_way(sequences):
    first, second = (split(dataset(sequences), cold_share=0.2, seed=3) for _ in range(2))
    assert first.is_cold.tolist() == second.is_cold.tolist()
    assert [s.tolist() for s in first.train] == [s.tolist() for s in second.train]


def test_without_behaviour_nothing_is_held_out():
    bare = Dataset(dataset([[0]]).catalogue, None)
    parts = split(bare, cold_share=0.1, seed=0)
    assert not parts.is_cold.any()
    assert parts.train == []


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_cold_queries_look_at_warm_items(share):
    parts = split(dataset([list(range(ITEMS))]), cold_share=share, seed=1)
    assert len(parts.cold) > 0
    for history, viewed, target in zip(
        parts.cold.histories, parts.cold.viewed, parts.cold.targets, strict=True
    ):
        assert viewed < target, "the picture is of something seen before"
        assert all(item < viewed for item in history)
