"""Shops as small and as uniform as they come, each a data folder written in code."""

import csv
from pathlib import Path

import numpy as np
from PIL import Image


def write_shop(
    folder: Path,
    items: int,
    done: list[tuple[int, int]] | None,
    *,
    pictures: str = "differ",
    words: bool = True,
    categories: tuple[str, ...] = ("things",),
    liked: int | None = None,
    split: tuple[str, ...] = (),
) -> Path:
    """Write a data folder.

    Args:
        folder: made.
        items: how many there are: i00, i01, …, so that their order is that of the catalogue.
        done: numbers of user and item, oldest first; None for no table of interactions.
        pictures: `differ`, are `alike`, or are `one` file.
        words: whether items have titles.
        categories: given to items in turn.
        liked: the same for each interaction; None for no such column.
        split: given to interactions in turn; empty for no such column.
    """
    folder.mkdir(parents=True)
    rng = np.random.default_rng(items)
    with (folder / "items.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["item_id", "image", "title", "category"])
        for item in range(items):
            name = "picture.png" if pictures == "one" else f"{item}.png"
            noise = rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)
            pixels = noise if pictures == "differ" else np.full_like(noise, 200)
            Image.fromarray(pixels).save(folder / name)
            title = f"thing number{item}" if words else ""
            table.writerow([f"i{item:02d}", name, title, categories[item % len(categories)]])
    if done is not None:
        columns = {"liked": [liked] if liked is not None else [], "split": list(split)}
        given = {name: values for name, values in columns.items() if values}
        with (folder / "interactions.csv").open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["user_id", "item_id", "timestamp", *given])
            for time, (user, item) in enumerate(done):
                table.writerow(
                    [
                        f"u{user}",
                        f"i{item:02d}",
                        time,
                        *(values[time % len(values)] for values in given.values()),
                    ]
                )
    return folder


def everybody(users: int, items: int) -> list[tuple[int, int]]:
    """Users who all did the same, in the same order."""
    return [(user, item) for user in range(users) for item in range(items)]


def each(users: int, count: int, items: int = 6) -> list[tuple[int, int]]:
    """Users who did `count` things each, not all the same."""
    return [(user, (user + step * step) % items) for user in range(users) for step in range(count)]


NAMELESS = {"words": False, "categories": ("",)}
SHOPS = {
    "one item that nobody met": {"items": 1, "done": None},
    "one item and a table of no rows": {"items": 1, "done": []},
    "one item and one person": {"items": 1, "done": [(0, 0)]},
    "one item and many people": {"items": 1, "done": everybody(5, 1)},
    "one item without words": {"items": 1, "done": [(0, 0)], **NAMELESS},
    "two items that nobody met": {"items": 2, "done": None},
    "two items and one person": {"items": 2, "done": everybody(1, 2)},
    "two items, a person each": {"items": 2, "done": [(0, 0), (1, 1)]},
    "one person who did everything": {"items": 6, "done": everybody(1, 6)},
    "people who all did everything": {"items": 6, "done": everybody(5, 6)},
    "people who all did the same": {"items": 6, "done": everybody(5, 3)},
    "one person among those who did everything did less": {
        "items": 6,
        "done": [*everybody(50, 6), (50, 0), (50, 1)],
    },
    "people who did one thing each": {"items": 6, "done": each(7, 1)},
    "people who did two things each": {"items": 6, "done": each(7, 2)},
    "people who did three things each": {"items": 6, "done": each(7, 3)},
    "people who all did one and the same thing": {"items": 6, "done": [(user, 2) for user in range(7)]},
    "a person who did one thing over and over": {"items": 6, "done": [(0, 2)] * 9},
    "people who liked nothing": {"items": 6, "done": everybody(5, 6), "liked": 0},
    "no words": {"items": 6, "done": each(7, 4), **NAMELESS},
    "no words, one thing each": {"items": 6, "done": each(7, 1), **NAMELESS},
    "pictures all alike": {"items": 6, "done": each(7, 4), "pictures": "alike"},
    "one picture for all": {"items": 6, "done": each(7, 4), "pictures": "one"},
    "items all alike": {"items": 6, "done": everybody(5, 6), "pictures": "alike", **NAMELESS},
    "items all alike that nobody met": {"items": 6, "done": None, "pictures": "alike", **NAMELESS},
    "two categories and nobody": {"items": 12, "done": None, "categories": ("round", "square")},
    "a split of train alone": {"items": 6, "done": everybody(5, 6), "split": ("train",)},
    "a split of test alone": {"items": 6, "done": everybody(5, 6), "split": ("test",)},
    "a split of one train a person": {
        "items": 6,
        "done": [pair for user in range(5) for pair in ((user, 0), (user, 1 + user))],
        "split": ("train", "cold"),
    },
}
