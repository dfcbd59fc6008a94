"""The caller's rules on a ranked answer: exclude, cap, diversify."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from visrec_client.errors import InvalidRequest
from visrec_client.ranking import RankedItem, rank

IDS = st.text("abcde", min_size=1, max_size=2)


@st.composite
def answers(draw: st.DrawFn) -> list[RankedItem]:
    ids = draw(st.lists(IDS, max_size=20))
    scores = draw(st.lists(st.floats(0, 1), min_size=len(ids), max_size=len(ids)))
    return [
        RankedItem(item_id, score) for item_id, score in zip(ids, sorted(scores, reverse=True), strict=True)
    ]


@st.composite
def rules(draw: st.DrawFn, answer: list[RankedItem]) -> dict[str, object]:
    ids = sorted({item.item_id for item in answer})
    random = np.random.default_rng(draw(st.integers(0, 99)))
    return {
        "exclude": draw(st.sets(IDS)),
        "categories": {item_id: item_id[0] for item_id in ids if len(item_id) > 1},
        "max_per_category": draw(st.none() | st.integers(1, 3)),
        "vectors": {item_id: random.normal(size=3) for item_id in ids},
        "diversity": draw(st.sampled_from([0.0, 0.3, 1.0])),
    }


@given(st.data(), answers(), st.integers(1, 12))
def test_every_rule_holds(data: st.DataObject, answer: list[RankedItem], k: int) -> None:
    chosen_rules = data.draw(rules(answer))
    ranked = rank(answer, k, **chosen_rules)
    ids = [item.item_id for item in ranked]
    assert set(ranked) <= set(answer)
    assert len(set(ids)) == len(ids) <= k
    assert not set(ids) & chosen_rules["exclude"]
    counts = Counter(chosen_rules["categories"].get(item_id) for item_id in ids)
    counts.pop(None, None)
    assert max(counts.values(), default=0) <= (chosen_rules["max_per_category"] or k)


@given(st.data(), answers(), st.integers(1, 12))
def test_without_diversity_the_order_stays_and_no_place_is_left_empty(
    data: st.DataObject, answer: list[RankedItem], k: int
) -> None:
    chosen_rules = data.draw(rules(answer)) | {"diversity": 0.0}
    ranked = rank(answer, k, **chosen_rules)
    plain = rank(
        answer, k, **{name: chosen_rules[name] for name in ("exclude", "categories", "max_per_category")}
    )
    assert ranked == plain
    places = [[item.item_id for item in answer].index(item.item_id) for item in ranked]
    assert places == sorted(places)
    if chosen_rules["max_per_category"] is None:
        left = {item.item_id for item in answer} - chosen_rules["exclude"]
        assert len(ranked) == min(k, len(left))


@given(answers(), st.integers(1, 12), st.floats(0.01, 1))
def test_diversity_returns_as_many_and_starts_with_the_best(
    answer: list[RankedItem], k: int, diversity: float
) -> None:
    vectors = {item.item_id: np.array([len(item.item_id), ord(item.item_id[0]) - 96.0]) for item in answer}
    ranked = rank(answer, k, vectors=vectors, diversity=diversity)
    assert len(ranked) == len(rank(answer, k))
    assert ranked[:1] == rank(answer, 1)


def test_diversity_follows_the_formula() -> None:
    answer = [
        RankedItem("a", np.exp(-1.0)),
        RankedItem("a2", np.exp(-1.5)),
        RankedItem("b", np.exp(-2.0)),
        RankedItem("z", np.exp(-3.0)),
    ]
    vectors = {
        "a": np.array([1.0, 0]),
        "a2": np.array([2.0, 0]),
        "b": np.array([0, 1.0]),
        "z": np.array([0, 0]),
    }
    # Relevance is 1, 0.75, 0.5, 0. After "a", a2 is worth 0.75 (1-d) - d and b 0.5 (1-d): equal at d = 0.2.
    assert [item.item_id for item in rank(answer, 3, vectors=vectors, diversity=0.19)] == ["a", "a2", "b"]
    assert [item.item_id for item in rank(answer, 3, vectors=vectors, diversity=0.21)] == ["a", "b", "a2"]
    # Then a2 is still worth 0.75 (1-d) - d, and z, which is like nothing, 0: equal at d = 3/7.
    assert [item.item_id for item in rank(answer, 3, vectors=vectors, diversity=0.45)] == ["a", "b", "z"]


def test_a_score_of_zero_is_the_least_relevant_not_an_error() -> None:
    answer = [RankedItem("a", 0.9), RankedItem("b", 0.0)]
    vectors = {"a": np.ones(2), "b": np.ones(2)}
    assert rank(answer, 2, vectors=vectors, diversity=0.5) == tuple(answer)


def test_items_without_a_category_are_not_capped() -> None:
    answer = [RankedItem(name, 0.1) for name in ("a", "b", "c")]
    assert len(rank(answer, 3, categories={"a": "x", "b": "x"}, max_per_category=1)) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": 0}, "k is 0"),
        ({"max_per_category": 2}, "needs categories"),
        ({"max_per_category": 0, "categories": {}}, "max_per_category is 0"),
        ({"diversity": 0.5}, "needs vectors"),
        ({"diversity": 1.5, "vectors": {}}, "diversity is 1.5"),
        ({"diversity": float("nan"), "vectors": {}}, "diversity is nan"),
        ({"diversity": 0.5, "vectors": {"a": np.ones(2)}}, "1 are missing, first b"),
        ({"diversity": 0.5, "vectors": {"a": np.ones(2), "b": np.ones(3)}}, "one shape"),
        ({"diversity": 0.5, "vectors": {"a": np.ones(2), "b": np.full(2, np.nan)}}, "finite"),
        ({"exclude": "a"}, "collection of ids"),
    ],
)
def test_what_is_missing_or_wrong_is_named(arguments: dict[str, object], message: str) -> None:
    answer = [RankedItem("a", 0.6), RankedItem("b", 0.4)]
    with pytest.raises(InvalidRequest, match=message):
        rank(answer, **{"k": 2, **arguments})


def test_diversity_needs_probabilities() -> None:
    with pytest.raises(InvalidRequest, match="probabilities"):
        rank([RankedItem("a", -1.0)], 1, vectors={"a": np.ones(2)}, diversity=0.5)


def test_excluded_items_need_no_vector() -> None:
    answer = [RankedItem("a", 0.6), RankedItem("b", 0.4)]
    assert rank(answer, 2, exclude=["b"], vectors={"a": np.ones(2)}, diversity=0.5) == (answer[0],)
