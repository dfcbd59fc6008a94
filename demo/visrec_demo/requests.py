"""What the demo asks the server, and how the answers look in a terminal."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from visrec_client import Recommender, load_picture
from visrec_demo.catalogue import Item

COUNT = 10
"""How many items each request asks for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """A question to the shop; stickers by their titles."""

    title: str
    picture: str | None = None
    history: tuple[str, ...] = ()
    text: str = ""


REQUESTS = (
    Request(title="Something red and round", picture="red apple"),
    Request(
        title="The same apple, for a friend of animals",
        picture="red apple",
        history=("fox face", "octopus", "lady beetle", "crab", "rooster"),
    ),
    Request(
        title="The same apple, for somebody on the road",
        picture="red apple",
        history=("fire engine", "bus", "racing car", "rocket", "octagonal sign"),
    ),
    Request(
        title="A history alone: sweet things",
        history=("doughnut", "cookie", "honey pot", "pancakes", "custard"),
    ),
    Request(title="A text alone", text="birthday party"),
    Request(title="A word that no title has", text="puppy"),
    Request(title="A feeling", text="sad"),
    Request(title="Chinese: birthday", text="生日"),
    Request(title="Russian: red berry", text="красная ягода"),
    Request(title="A picture and a text", picture="red apple", text="heart"),
    Request(title="A picture of another kind", picture="spouting whale"),
    Request(
        title="A picture, a history and a text",
        picture="full moon symbol",
        history=("sunflower", "honeybee", "sun with face", "hatching chick"),
        text="face",
    ),
    Request(title="Nothing at all: a new visitor"),
)
"""One for each way of asking, three that show what a history changes, and texts that few titles hold."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Example:
    """A request and its answer, ready to be shown."""

    title: str
    picture: npt.NDArray[np.uint8] | None
    """uint8 [H, W, 3], what was looked at."""
    attention: npt.NDArray[np.float32] | None
    """float32 [7, 7], what in the picture decided."""
    history: list[str]
    """Item ids, oldest first."""
    text: str
    understood: float | None
    """The share of the text that the model understood; None without one."""
    is_popular: bool
    """Nothing of the request could be used."""
    items: list[tuple[str, float]] = field(default_factory=list)
    """Item ids and scores, best first."""


def ask(recommender: Recommender, request: Request, items: Mapping[str, Item]) -> Example:
    """Send one request; the sticker looked at and those of the history are not asked for.

    Raises:
        VisrecError: the server did not answer.
    """
    ids = {item.title: item_id for item_id, item in items.items()}
    viewed = None if request.picture is None else ids[request.picture]
    path = None if viewed is None else items[viewed].picture
    history = [ids[title] for title in request.history]
    answer = recommender.recommend(
        image=path, history=history, text=request.text, k=COUNT, exclude=[] if viewed is None else [viewed]
    )
    return Example(
        title=request.title,
        picture=None if path is None else load_picture(path),
        attention=answer.attention,
        history=history,
        text=request.text,
        understood=answer.understood,
        is_popular=answer.is_popular,
        items=[(item.item_id, item.score) for item in answer.items],
    )


def describe(request: Request) -> str:
    """What is sent, in a line."""
    parts = [
        f"picture: {request.picture}" if request.picture else "",
        f"history: {', '.join(request.history)}" if request.history else "",
        f'text: "{request.text}"' if request.text else "",
    ]
    return "; ".join(part for part in parts if part) or "nothing"


def note(example: Example) -> str | None:
    """What a reader should know of an answer: what was not understood, or that nothing was; else None."""
    sent = example.picture is not None or example.history or example.text
    if example.is_popular:
        return "nothing of this is known, so these are popular" if sent else "these are popular"
    if example.understood is not None and example.understood < 1:
        return f"{min(round(100 * example.understood), 99)}% of the text was understood"
    return None


def table(example: Example, items: Mapping[str, Item]) -> str:
    """The ranked items as lines of aligned columns: rank, title, category and score."""
    rows = [("", "title", "category", "score")]
    for rank, (item_id, score) in enumerate(example.items, start=1):
        rows.append((str(rank), items[item_id].title, items[item_id].category, f"{score:.4f}"))
    return aligned(rows, right=(0, 3))


def aligned(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Rows of cells as lines whose columns line up in a terminal, whatever the script.

    Args:
        rows: as many cells in each.
        right: the columns to align at their right.
    """
    widths = [max(width(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = []
        for column, cell in enumerate(row):
            padding = " " * (widths[column] - width(cell))
            cells.append(padding + cell if column in right else cell + padding)
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def width(text: str) -> int:
    """How many terminal cells a text takes: wide letters take two, combining marks none."""
    return sum(
        2 if unicodedata.east_asian_width(letter) in "WF" else 1
        for letter in text
        if not unicodedata.combining(letter) and unicodedata.category(letter) not in ("Cf", "Me")
    )
