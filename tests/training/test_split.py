"""The temporal split, the data's own split and the held-out items: nothing that measures is learned from."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from visrec_training.data import Catalogue, Dataset
from visrec_training.interactions import PARTS, Interactions
from visrec_training.rows import Ragged
from visrec_training.split import split

ITEMS = 40
sequences = st.lists(
    st.lists(st.integers(0, ITEMS - 1), min_size=1, max_size=12, unique=True), min_size=1, max_size=8
)


def dataset(sequences):
    users = np.concatenate([np.full(len(s), user) for user, s in enumerate(sequences)]).astype(np.int64)
    items = np.concatenate(sequences).astype(np.int64)
    columns = [tuple(f"{n}" for n in range(ITEMS))] * 6
    return Dataset(Catalogue(*columns), Interactions(users, items, np.ones(len(items), dtype=bool)))


def fixed(rows, *, has_order=True):
    """A data set of (user, item, liked, part), users in order."""
    users, items, liked, parts = (np.asarray(column) for column in zip(*rows, strict=True))
    codes = np.asarray([PARTS.index(part) for part in parts], dtype=np.int8)
    catalogue = dataset([[0]]).catalogue
    return Dataset(catalogue, Interactions(users, items, liked.astype(bool), codes, has_order))


def told(queries):
    """Each query as plain lists: user, history, viewed, targets, seen."""
    return [
        (int(user), history.tolist(), int(viewed), targets.tolist(), seen.tolist())
        for user, history, viewed, targets, seen in zip(
            queries.users, queries.histories, queries.viewed, queries.targets, queries.seen, strict=True
        )
    ]


def test_the_last_item_tests_and_the_one_before_validates():
    parts = split(dataset([[1, 2, 3, 4, 5]]), cold_share=0, seed=0)
    assert [s.tolist() for s in parts.train] == [[1, 2, 3]]
    assert told(parts.valid) == [(0, [1, 2], 3, [4], [1, 2, 3])]
    assert told(parts.test) == [(0, [1, 2, 3], 4, [5], [1, 2, 3, 4])]
    assert np.flatnonzero(parts.candidates).tolist() == [1, 2, 3]


def test_a_short_history_is_learned_from_but_not_measured():
    parts = split(dataset([[1, 2, 3]]), cold_share=0, seed=0)
    assert [s.tolist() for s in parts.train] == [[1, 2, 3]]
    assert len(parts.valid) == len(parts.test) == 0


@given(sequences, st.floats(0, 0.5), st.integers(0, 5))
def test_training_never_sees_what_measures(sequences, cold_share, seed):
    parts = split(dataset(sequences), cold_share=cold_share, seed=seed)
    assert parts.is_cold.sum() == round(cold_share * ITEMS)
    learned = parts.train.values
    assert not parts.is_cold[learned].any()
    for queries in (parts.valid, parts.test):
        for user, history, viewed, targets, seen in told(queries):
            assert len(targets) == 1
            assert not parts.is_cold[[*history, viewed, *targets]].any()
            assert seen == [*history, viewed]
            assert targets[0] not in seen
            assert set(parts.train[user].tolist()) <= {*history, viewed}
    assert all(parts.is_cold[targets].all() for targets in parts.cold.targets)
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
    assert not len(parts.train)


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_cold_queries_look_at_warm_items(share):
    parts = split(dataset([list(range(ITEMS))]), cold_share=share, seed=1)
    assert len(parts.cold) > 0
    for _, history, viewed, (target,), _ in told(parts.cold):
        assert viewed < target, "the picture is of something seen before"
        assert all(item < viewed for item in history)


def test_a_temporal_split_ranks_the_whole_catalogue():
    parts = split(dataset([list(range(20))]), cold_share=0.25, seed=0)
    sections = parts.sections()
    assert sections["warm"].ranked.all()
    assert sections["cold"].ranked.all()
    assert sections["cold alone"].ranked.tolist() == parts.is_cold.tolist()


ROWS = [
    (0, 1, 1, "train"),
    (0, 2, 0, "train"),
    (0, 3, 1, "valid"),
    (0, 4, 0, "valid"),
    (0, 5, 1, "test"),
    (0, 6, 1, "test"),
    (0, 7, 1, "test"),
    (0, 9, 1, "cold"),
    (1, 3, 1, "train"),
    (1, 5, 1, "train"),
    (1, 6, 1, "train"),
    (1, 1, 0, "test"),
    (2, 2, 0, "train"),
    (2, 5, 1, "test"),
    (2, 9, 1, "cold"),
    (3, 9, 1, "cold"),
]


def test_a_split_that_the_data_brings_holds():
    parts = split(fixed(ROWS), cold_share=0.5, seed=0)
    assert [s.tolist() for s in parts.train] == [[1], [3, 5, 6], [], []]
    assert np.flatnonzero(parts.is_cold).tolist() == [9]
    assert np.flatnonzero(parts.candidates).tolist() == [1, 3, 5, 6]
    assert told(parts.valid) == [(0, [1], -1, [3], [1, 2])]
    # 7 was liked by nobody in training; user 1 disliked what tests them
    assert told(parts.test) == [(0, [1], -1, [5, 6], [1, 2, 3, 4]), (2, [], -1, [5], [2])]
    # users 2 and 3 liked nothing to find a new item by
    assert told(parts.cold) == [(0, [1], -1, [9], [1, 2, 3, 4])]


def test_known_and_new_answers_are_asked_for_together():
    parts = split(fixed(ROWS), cold_share=0, seed=0)
    assert told(parts.mixed) == [
        (0, [1], -1, [5, 6, 9], [1, 2, 3, 4]),
        (2, [], -1, [5, 9], [2]),
        (3, [], -1, [9], []),
    ]
    assert "mixed" in parts.sections()


def test_items_that_are_taken_for_new_are_asked_of_all_who_liked_them():
    parts = split(fixed(ROWS), cold_share=0, seed=0)
    (asked,) = parts.validation_with_new(np.isin(np.arange(ITEMS), [2, 5]))
    assert told(asked.queries) == [(0, [1], -1, [3], [1]), (1, [3, 6], -1, [5], [3, 6])]
    assert asked.ranked.tolist() == parts.candidates.tolist()


def test_in_time_order_known_items_and_those_taken_for_new_are_asked_for_apart():
    parts = split(dataset([[1, 2, 3, 4, 5, 6], [4, 3, 1, 6, 2]]), cold_share=0, seed=0)
    known, new = parts.validation_with_new(np.isin(np.arange(ITEMS), [3, 5]))
    assert told(known.queries) == [(1, [4], 1, [6], [4, 1])]
    assert told(new.queries) == [(0, [1], 2, [3], [1, 2])]


def test_where_nothing_is_new_or_time_splits_nothing_is_mixed():
    without_new = split(fixed([row for row in ROWS if row[3] != "cold"]), cold_share=0, seed=0)
    assert list(without_new.sections()) == ["warm"]
    temporal = split(dataset([list(range(ITEMS))]), cold_share=0.1, seed=1)
    assert list(temporal.sections()) == ["warm", "cold alone", "cold"]


def test_a_fixed_split_ranks_what_somebody_liked():
    sections = split(fixed(ROWS), cold_share=0, seed=0).sections()
    ranked = {name: np.flatnonzero(section.ranked).tolist() for name, section in sections.items()}
    among_all = [1, 3, 5, 6, 9]
    assert ranked == {"warm": [1, 3, 5, 6], "cold alone": [9], "cold": among_all, "mixed": among_all}


def test_what_was_met_before_is_no_right_answer():
    parts = split(fixed([(0, 1, 1, "train"), (0, 1, 1, "test"), (1, 2, 1, "train")]), cold_share=0, seed=0)
    assert len(parts.test) == 0


part = st.sampled_from(("train", "valid", "test"))
entries = st.lists(st.tuples(st.integers(0, 5), st.integers(0, ITEMS - 1), st.booleans(), part), min_size=1)


@given(entries, st.sets(st.integers(0, ITEMS - 1)), st.booleans())
def test_a_fixed_split_never_asks_for_what_it_does_not_rank(rows, cold, has_order):
    rows = [(u, i, liked, "cold" if i in cold else name) for u, i, liked, name in sorted(rows)]
    parts = split(fixed(rows, has_order=has_order), cold_share=0, seed=0)
    assert parts.has_order == has_order
    for section in (parts.validation, *parts.sections().values()):
        for user, history, viewed, targets, seen in told(section.queries):
            assert viewed == -1
            assert section.ranked[targets].all()
            assert targets
            assert not {*targets} & {*seen}
            assert {*history} <= {*seen}
            assert history == parts.train[user].tolist()


def test_short_histories_are_the_newest_or_a_fixed_draw():
    asked = split(dataset([list(range(20))]), cold_share=0, seed=0).test
    assert asked.with_recent(3).histories[0].tolist() == [15, 16, 17]
    assert asked.with_recent(0).histories[0].tolist() == []
    first, again = (asked.with_recent(3, np.random.default_rng(1)).histories[0].tolist() for _ in range(2))
    assert first == again
    assert len(set(first)) == 3
    assert {*first} < set(range(18))
    assert asked.with_recent(99).histories[0].tolist() == list(range(18))


def test_who_looks_at_nothing_can_be_shown_what_they_chose():
    asked = split(dataset([list(range(20))]), cold_share=0, seed=0).test
    assert asked.looking().viewed.tolist() == asked.viewed.tolist() == [18], "they look at something"
    asked = dataclasses.replace(asked, viewed=np.array([-1]))
    newest = asked.looking()
    assert newest.viewed.tolist() == [17]
    assert newest.histories[0].tolist() == list(range(17))
    drawn = asked.looking(np.random.default_rng(1))
    assert {*drawn.histories[0], *drawn.viewed} == set(range(18))
    nobody = dataclasses.replace(asked, histories=Ragged.empty(1)).looking()
    assert nobody.viewed.tolist() == [-1]
