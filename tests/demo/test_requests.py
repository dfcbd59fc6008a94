from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visrec_demo.catalogue import Item
from visrec_demo.requests import REQUESTS, Example, aligned, describe, note, table, width

NOTHING: dict[str, Any] = {
    "title": "x",
    "picture": None,
    "attention": None,
    "history": [],
    "text": "",
    "understood": None,
    "is_popular": False,
}


def test_every_way_of_asking_is_asked_once() -> None:
    ways = {(request.picture is not None, bool(request.history), bool(request.text)) for request in REQUESTS}
    assert {(True, False, False), (True, True, False), (False, True, False), (False, False, True)} <= ways
    assert {(True, False, True), (True, True, True), (False, False, False)} <= ways
    assert len({request.title for request in REQUESTS}) == len(REQUESTS)


def test_every_sticker_that_is_sent_exists(items: dict[str, Item]) -> None:
    titles = {item.title for item in items.values()}
    for request in REQUESTS:
        assert set(request.history) <= titles
        assert request.picture is None or request.picture in titles


def test_a_request_is_described_by_what_is_sent() -> None:
    described = {describe(request) for request in REQUESTS}
    assert "picture: red apple" in described
    assert 'picture: red apple; text: "heart"' in described
    assert "nothing" in described


@pytest.mark.parametrize(
    ("answered", "told"),
    [
        ({"text": "red", "understood": 1.0}, None),
        ({"text": "red zq", "understood": 0.4}, "40% of the text was understood"),
        ({"text": "red zq", "understood": 0.999}, "99% of the text was understood"),
        (
            {"text": "zq", "understood": 0.0, "is_popular": True},
            "nothing of this is known, so these are popular",
        ),
        ({"is_popular": True}, "these are popular"),
    ],
)
def test_what_was_not_understood_is_told(answered: dict[str, Any], told: str | None) -> None:
    assert note(Example(**(NOTHING | answered))) == told


def test_a_table_tells_rank_title_category_and_score(items: dict[str, Item]) -> None:
    ranked = [("openmoji-1f34e", 0.25), ("openmoji-1f680", 0.125)]
    example = Example(**NOTHING, items=ranked)
    assert table(example, items).splitlines() == [
        "   title      category          score",
        "1  red apple  Food & Drink     0.2500",
        "2  rocket     Travel & Places  0.1250",
    ]


@pytest.mark.parametrize(
    ("text", "cells"),
    [("apple", 5), ("りんご", 6), ("Côte", 4), ("Co\u0302te", 4), ("🍎", 2)],
)
def test_width_counts_cells_of_a_terminal(text: str, cells: int) -> None:
    assert width(text) == cells


WORDS, NUMBERS = st.text("aé漢🍎\u0302", min_size=1), st.text("0123456789.", min_size=1)


@given(st.lists(st.tuples(WORDS, NUMBERS), min_size=1))
def test_columns_line_up_whatever_the_script(rows: list[tuple[str, str]]) -> None:
    lines = aligned(rows, right=(1,)).split("\n")
    assert len({width(line) for line in lines}) == 1
    assert [line.split()[-1] for line in lines] == [number for _, number in rows]
