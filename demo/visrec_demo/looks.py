"""How a picture looks, in fifteen plain measures of its pixels.

A drawing on white is told from its ground by filling in from the border: what white the border does not reach
belongs to the drawing. Within the drawing are measured

- its colours: the share of the coloured pixels that is nearest to each of twelve named colours,
- its roundness: how far it and the disc of the same area around its centre overlap, 0 to 1,
- its line density: the share of it that is black line,
- its size: the share of the picture that it covers.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

PALETTE = {
    "red": (216, 60, 50),
    "orange": (230, 125, 40),
    "yellow": (250, 220, 40),
    "light green": (165, 200, 55),
    "dark green": (70, 140, 65),
    "light blue": (146, 211, 245),
    "dark blue": (40, 95, 175),
    "purple": (150, 115, 180),
    "pink": (250, 165, 190),
    "brown": (140, 95, 55),
    "light grey": (175, 175, 175),
    "dark grey": (63, 63, 63),
}
"""The named colours as RGB values."""

SHAPES = ("roundness", "line density", "size")
"""The other measures, in the order of the last columns."""

_SIDE = 56  # pixels; a quarter of the drawn size says as much and is sixteen times less work
_WHITE = 235  # a pixel whose darkest channel is at least this is white
_BLACK = 60  # a pixel whose brightest channel is at most this is black line


def measure(pictures: Sequence[Path]) -> npt.NDArray[np.float64]:
    """Measure pictures drawn on white.

    Args:
        pictures: N square picture files.

    Returns:
        float64 [N, 15]: twelve shares of the `PALETTE`'s colours (all 0 in a drawing without colour), then
        the `SHAPES`; all between 0 and 1.
    """
    pixels = np.stack([_small(path) for path in pictures])
    drawing = _drawings(pixels.min(axis=3) >= _WHITE)
    black = pixels.max(axis=3) <= _BLACK
    area = drawing.sum(axis=(1, 2))
    shapes = np.stack(
        [_roundness(drawing), (black & drawing).sum(axis=(1, 2)) / np.maximum(area, 1), area / _SIDE**2],
        axis=1,
    )
    return np.concatenate([_colours(pixels, drawing & ~black), shapes], axis=1)


def _small(path: Path) -> npt.NDArray[np.uint8]:
    with Image.open(path) as picture:
        # nearest: a mean of neighbours would make a brown of every red beside a black line
        return np.asarray(picture.convert("RGB").resize((_SIDE, _SIDE), Image.Resampling.NEAREST))


def _drawings(white: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """What white the border does not reach, and all that is not white: bool [N, side, side], in and out."""
    ground = white.copy()
    ground[:, 1:-1, 1:-1] = False
    while True:
        grown = ground.copy()
        grown[:, 1:] |= ground[:, :-1]
        grown[:, :-1] |= ground[:, 1:]
        grown[:, :, 1:] |= ground[:, :, :-1]
        grown[:, :, :-1] |= ground[:, :, 1:]
        grown &= white
        if (grown == ground).all():
            return ~ground
        ground = grown


def _roundness(drawing: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Intersection over union with the disc of the same area around the centre: float64 [N]."""
    rows, columns = np.mgrid[:_SIDE, :_SIDE]
    area = np.maximum(drawing.sum(axis=(1, 2)), 1)
    row = (drawing * rows).sum(axis=(1, 2)) / area
    column = (drawing * columns).sum(axis=(1, 2)) / area
    distance = (rows - row[:, None, None]) ** 2 + (columns - column[:, None, None]) ** 2
    disc = distance <= (area / np.pi)[:, None, None]
    overlap: npt.NDArray[np.float64] = (disc & drawing).sum(axis=(1, 2)) / (disc | drawing).sum(axis=(1, 2))
    return overlap


def _colours(pixels: npt.NDArray[np.uint8], counted: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Shares of the named colours among the counted pixels that are not white: float64 [N, 12]."""
    counted = counted & (pixels.min(axis=3) < _WHITE)
    palette = np.asarray(list(PALETTE.values()), dtype=np.float32)
    shares = np.zeros((len(pixels), len(palette)))
    for picture, (values, where) in enumerate(zip(pixels, counted, strict=True)):
        distance = ((values[where].astype(np.float32)[:, None] - palette) ** 2).sum(axis=2)
        shares[picture] = np.bincount(distance.argmin(axis=1), minlength=len(palette))
    total: npt.NDArray[np.float64] = shares.sum(axis=1, keepdims=True)
    return shares / np.maximum(total, 1)
