"""The measures say of well-known stickers what anybody would say."""

import pytest

from visrec_demo.catalogue import Item
from visrec_demo.looks import PALETTE, SHAPES, measure

NAMES = [*PALETTE, *SHAPES]


@pytest.fixture(scope="module")
def look(items: dict[str, Item]):
    titles = {item.title: item.picture for item in items.values()}

    def look_of(title: str) -> dict[str, float]:
        return dict(zip(NAMES, measure([titles[title]])[0], strict=True))

    return look_of


@pytest.mark.parametrize(
    ("title", "colour"),
    [
        ("red apple", "red"),
        ("green heart", "light green"),
        ("blue heart", "dark blue"),
        ("large orange circle", "orange"),
        ("full moon symbol", "yellow"),
        ("pig face", "pink"),
        ("cookie", "brown"),
    ],
)
def test_the_dominant_colour_is_the_one_a_person_names(look, title: str, colour: str) -> None:
    shares = {name: look(title)[name] for name in PALETTE}
    assert max(shares, key=shares.__getitem__) == colour
    assert sum(shares.values()) == pytest.approx(1)


def test_the_moon_is_rounder_than_the_trident(look) -> None:
    assert look("full moon symbol")["roundness"] > 0.95
    assert look("trident emblem")["roundness"] < 0.6


def test_a_snowflake_is_more_line_than_a_balloon(look) -> None:
    assert look("snowflake")["line density"] > 2 * look("balloon")["line density"]


def test_white_inside_belongs_to_the_drawing(look) -> None:
    """A ghost is white in an outline, and as large as it looks."""
    assert 0.2 < look("ghost")["size"] < 0.5


def test_all_measures_are_shares(items: dict[str, Item]) -> None:
    looks = measure([item.picture for item in list(items.values())[::10]])
    assert looks.shape[1] == len(NAMES)
    assert looks.min() >= 0
    assert looks.max() <= 1
    assert (looks.std(axis=0) > 0.03).all(), "every measure tells stickers apart"
