"""The page shows everything that was asked and answered, and loads nothing."""

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from visrec_client import load_picture
from visrec_demo.catalogue import Item
from visrec_demo.page import render, write_page
from visrec_demo.requests import Example

APPLE, PEAR, ROCKET = "openmoji-1f34e", "openmoji-1f350", "openmoji-1f680"
LOADING = {"src", "href", "srcset", "poster", "data", "action", "background"}


class Page(HTMLParser):
    """Collects what a browser would load, and what a person would read."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))

    @property
    def pictures(self) -> list[str]:
        return [str(attributes["src"]) for tag, attributes in self.tags if tag == "img"]


def pixels(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition("base64,")[2]))).convert("RGB"))


def example(title: str, ranked: list[tuple[str, float]], **sent: Any) -> Example:
    absent: dict[str, Any] = {"picture": None, "attention": None, "history": [], "text": ""}
    absent |= {"understood": None, "is_popular": False}
    return Example(title=title, items=ranked, **(absent | sent))


@pytest.fixture(scope="module")
def examples(items: dict[str, Item]) -> list[Example]:
    attention = np.zeros((7, 7), dtype=np.float32)
    attention[3, 3] = 1
    ranked = [(PEAR, 0.25), (ROCKET, 0.125)]
    picture = load_picture(items[APPLE].picture)
    return [
        example("A picture & more", ranked, picture=picture, attention=attention, history=[ROCKET]),
        example("Words alone", ranked, text="<b>fruit</b>", understood=0.75),
        example("Nothing", ranked[:1], is_popular=True),
    ]


@pytest.fixture(scope="module")
def html(examples: list[Example], items: dict[str, Item]) -> str:
    return render(examples, items)


def test_nothing_is_loaded_from_anywhere(html: str) -> None:
    page = Page(html)
    assert page.open == []
    for tag, attributes in page.tags:
        assert tag not in ("script", "iframe", "object", "embed")
        for name, value in attributes.items():
            assert name not in LOADING or str(value).startswith("data:"), (tag, name, value)
            assert not name.startswith("on")
    assert "@import" not in html
    assert "url(" not in html
    assert not re.search(r"(https?:)?//[a-z]", re.sub(r"base64,[^\"]*", "", html))


def test_all_that_was_sent_and_came_back_is_shown(html: str, examples: list[Example]) -> None:
    text = Page(html).text
    assert all(shown.title in text for shown in examples)
    assert "“<b>fruit</b>”" in text, "texts are shown as they were typed, not run as HTML"
    assert "75% understood" in text
    assert "these are popular" in text
    assert text.count("1. pear") == 3
    assert text.count("2. rocket") == 2
    assert "25.00%" in text
    assert "12.50%" in text
    assert text.count("Food & Drink") == 3


def test_the_attention_lies_over_the_picture_where_it_was(html: str, items: dict[str, Item]) -> None:
    """Of the red apple: the picture, its overlay, the history's rocket, then the ranked ones."""
    pictures = Page(html).pictures
    assert len(pictures) == 3 + 2 + 2 + 1
    apple, overlaid, rocket = (pixels(uri) for uri in pictures[:3])
    assert (apple == load_picture(items[APPLE].picture)).all()
    assert (rocket == load_picture(items[ROCKET].picture)).all()
    assert overlaid.shape == apple.shape
    # the glow is on the square that was attended to, and the white corner is still white
    change = np.abs(overlaid.astype(int) - apple.astype(int)).sum(axis=2)
    assert change[112, 112] > 60
    assert change[:20, :20].max() < 10


def test_credits_and_the_simulation_are_told(html: str) -> None:
    text = Page(html).text
    assert "OpenMoji" in text
    assert "CC BY-SA 4.0" in text
    assert "simulated" in text


def test_a_picture_without_a_map_is_shown_alone(examples: list[Example], items: dict[str, Item]) -> None:
    alone = example("x", [], picture=examples[0].picture)
    assert len(Page(render([alone], items)).pictures) == 1


def test_the_file_holds_the_page(tmp_path: Path, examples: list[Example], items: dict[str, Item]) -> None:
    path = tmp_path / "new" / "page.html"
    write_page(path, examples, items)
    assert path.read_text("utf-8") == render(examples, items)
    assert [file.name for file in path.parent.iterdir()] == ["page.html"]
