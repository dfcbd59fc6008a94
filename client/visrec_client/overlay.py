"""An attention map laid over its picture, for people to look at."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

# The glow from faint to strong: how much attention (of the map's largest), then red, green, blue and opacity.
_GLOW = np.array(
    [
        [0.00, 255, 190, 60, 0.00],
        [0.25, 255, 160, 40, 0.12],
        [0.60, 250, 100, 20, 0.50],
        [1.00, 215, 20, 20, 0.72],
    ]
)


def overlay(
    picture: npt.NDArray[np.uint8], attention: npt.NDArray[np.floating[Any]]
) -> npt.NDArray[np.uint8]:
    """Lay a warm glow over a picture: the redder, the more that place decided.

    The picture is paled towards grey, so that its own reds are not taken for attention. The map is
    scaled to its largest value: a map that looks everywhere alike glows everywhere alike.

    Args:
        picture: uint8 [H, W, 3], RGB.
        attention: [rows, columns], not negative, stretched over the whole picture; zeros give no glow.

    Returns:
        uint8 [H, W, 3], RGB.
    """
    height, width = picture.shape[:2]
    largest = float(attention.max(initial=0.0))
    strength = np.asarray(attention, np.float32) / (largest or 1.0)
    smooth = np.asarray(Image.fromarray(strength).resize((width, height), Image.Resampling.BICUBIC))
    glow = np.stack([np.interp(smooth, _GLOW[:, 0], column) for column in _GLOW[:, 1:].T], axis=-1)
    colour, opacity = glow[..., :3], glow[..., 3:]
    grey = picture.mean(axis=-1, keepdims=True)
    paled = 0.35 * picture + 0.65 * grey
    blended: npt.NDArray[np.float64] = paled * (1 - opacity) + colour * opacity
    return np.rint(blended).astype(np.uint8)
