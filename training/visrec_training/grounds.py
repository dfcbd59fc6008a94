"""Does attention lie on what is pictured, or on the plain ground around it?

Measured where it can be known: on pictures whose border is of one colour. A region's share is how much of it
shows something else than that colour; attention that lies on the object gathers more of it than a uniform
map does.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from visrec_training.bootstrap import FEWEST_PEOPLE, interval, resampled_means
from visrec_training.config import GRID

COLOUR_TOLERANCE = 10  # of 255: drawings and JPEGs blur their edges
PLAIN_BORDER = 0.9  # share of border pixels that have the ground's colour


def object_shares(pictures: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """How much of each region is not ground.

    Args:
        pictures: uint8 [n, S, S, 3]; S is a multiple of 7.

    Returns:
        float64 [n, 7, 7], from 0 to 1; NaN where a picture has no plain ground.
    """
    border = np.concatenate([pictures[:, 0], pictures[:, -1], pictures[:, :, 0], pictures[:, :, -1]], axis=1)
    ground = np.median(border, axis=1)
    plain = (_differs(border, ground[:, None]).mean(axis=1)) <= 1 - PLAIN_BORDER
    shown = _differs(pictures, ground[:, None, None])
    cell = pictures.shape[1] // GRID
    shares = shown.reshape(len(pictures), GRID, cell, GRID, cell).mean(axis=(2, 4))
    shares[~plain] = np.nan
    return shares


def attention_on_object(
    attention: npt.NDArray[np.float64], pictures: npt.NDArray[np.uint8]
) -> dict[str, float | list[float]]:
    """Compare attention with a uniform map.

    Args:
        attention: float [n, 7, 7], each summing to 1.
        pictures: uint8 [n, S, S, 3].

    Returns:
        The number of `pictures` with a plain ground, the mean share of attention `on the object`, the same
        for a `uniform map`, the share of pictures where attention is `above uniform`, and unless they are too
        few `on the object interval`, the ends of a 95% interval over pictures. Empty where most pictures have
        no plain ground: there it would mean nothing.
    """
    shares = object_shares(pictures)
    plain = ~np.isnan(shares).any(axis=(1, 2))
    if plain.mean() < 0.5:
        return {}
    attended = (attention[plain] * shares[plain]).sum(axis=(1, 2))
    uniform = shares[plain].mean(axis=(1, 2))
    told: dict[str, float | list[float]] = {
        "pictures": int(plain.sum()),
        "on the object": float(attended.mean()),
        "uniform map": float(uniform.mean()),
        "above uniform": float((attended > uniform).mean()),
    }
    if len(attended) >= FEWEST_PEOPLE:
        told["on the object interval"] = interval(
            resampled_means(attended, np.arange(len(attended)))
        ).tolist()
    return told


def _differs(pixels: npt.NDArray[np.uint8], colour: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    return (np.abs(pixels.astype(np.float32) - colour) > COLOUR_TOLERANCE).any(axis=-1)
