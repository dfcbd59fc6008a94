"""The attention map over its picture."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from visrec_client.overlay import overlay


def peak(row: int, column: int) -> np.ndarray:
    attention = np.zeros((7, 7), np.float32)
    attention[row, column] = 1.0
    return attention


def warmth(pixels: np.ndarray) -> np.ndarray:
    return pixels[..., 0].astype(int) - pixels[..., 2]


@given(st.integers(0, 6), st.integers(0, 6))
def test_the_glow_lies_where_the_attention_is(row: int, column: int) -> None:
    picture = np.full((140, 70, 3), 200, np.uint8)
    warm = warmth(overlay(picture, peak(row, column)))
    y, x = np.unravel_index(warm.argmax(), warm.shape)
    assert abs(y - (row * 20 + 10)) <= 12
    assert abs(x - (column * 10 + 5)) <= 6
    far = np.ones_like(warm, bool)
    far[max(row - 2, 0) * 20 : (row + 3) * 20, max(column - 2, 0) * 10 : (column + 3) * 10] = False
    assert np.abs(warm[far]).max() <= 1


def test_without_attention_nothing_glows() -> None:
    picture = np.full((20, 30, 3), 77, np.uint8)
    np.testing.assert_array_equal(overlay(picture, np.zeros((7, 7), np.float32)), picture)


@pytest.mark.parametrize("level", [0, 128, 255])
def test_the_picture_stays_visible_under_the_strongest_glow(level: int) -> None:
    picture = np.full((70, 70, 3), level, np.uint8)
    picture[:, ::2] = 255 - level if level != 128 else 200
    glowing = overlay(picture, peak(3, 3))
    assert glowing.dtype == np.uint8
    assert np.abs(glowing[35, 34].astype(int) - glowing[35, 35]).max() >= 15


def test_only_the_pattern_of_attention_counts_not_its_total() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (28, 28, 3), np.uint8)
    attention = np.random.default_rng(1).random((7, 7)).astype(np.float32)
    np.testing.assert_allclose(
        overlay(picture, attention).astype(int), overlay(picture, attention / 49), atol=1
    )
