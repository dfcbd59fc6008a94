"""Of a TIFF, black is 0 and white is 255, whatever its bits, its byte order and its way to say so."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from visrec_client.errors import InvalidImage
from visrec_client.picture import load_picture

SIDE = 12
NONE, DEFLATE = 1, 8
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB = 0, 1, 2
UNSIGNED, SIGNED, FLOAT = 1, 2, 3
LEAST, GREATEST = 340, 341


def packed(values: np.ndarray, bits: int, order: str, reverse: bool) -> bytes:
    """Rows of samples as a TIFF stores them."""
    if bits >= 16:
        return values.astype(values.dtype.newbyteorder(order)).tobytes()
    flags = (values[..., None].astype(np.uint32) >> np.arange(bits - 1, -1, -1)) & 1
    rows = flags.astype(np.uint8).reshape(len(values), -1)
    return np.packbits(rows, axis=1, bitorder="little" if reverse else "big").tobytes()


def tiff(
    planes: list[np.ndarray],
    bits: int,
    photometric: int,
    *,
    order: str = "<",
    compression: int = NONE,
    rows: int = SIDE,
    reverse: bool = False,
    sample_format: int = UNSIGNED,
    more: dict[int, bytes] | None = None,
    turn: int = 1,
) -> bytes:
    """A TIFF of one plane for each sample."""
    data, offsets, counts = b"", [], []
    for plane in planes:
        for start in range(0, SIDE, rows):
            strip = packed(plane[start : start + rows], bits, order, reverse)
            strip = zlib.compress(strip) if compression == DEFLATE else strip
            offsets.append(8 + len(data))
            counts.append(len(strip))
            data += strip + bytes(len(strip) % 2)
    short, long = "H", "I"
    tags = {
        **{256: (long, [SIDE]), 257: (long, [SIDE]), 258: (short, [bits] * len(planes))},
        **{259: (short, [compression]), 262: (short, [photometric]), 266: (short, [2 if reverse else 1])},
        **{273: (long, offsets), 274: (short, [turn]), 277: (short, [len(planes)]), 278: (long, [rows])},
        **{279: (long, counts), 284: (short, [2 if len(planes) > 1 else 1]), 339: (short, [sample_format])},
    }
    entries = {
        tag: struct.pack(f"{order}HHI", tag, 3 if kind == short else 4, len(numbers))
        + struct.pack(f"{order}{len(numbers)}{kind}", *numbers)
        for tag, (kind, numbers) in tags.items()
    }
    entries.update(more or {})
    start = 8 + len(data)
    after = start + 2 + 12 * len(entries) + 4
    directory, values = struct.pack(f"{order}H", len(entries)), b""
    for _, entry in sorted(entries.items()):
        head, value = entry[:8], entry[8:]
        if len(value) > 4:
            directory += head + struct.pack(f"{order}I", after + len(values))
            values += value
        else:
            directory += head + value.ljust(4, b"\0")
    magic = b"II*\0" if order == "<" else b"MM\0*"
    return magic + struct.pack(f"{order}I", start) + data + directory + bytes(4) + values


def seen(data: bytes) -> np.ndarray:
    square = load_picture(data, SIDE)
    assert (square == square[..., :1]).all()
    return square[..., 0]


@st.composite
def greys(draw: st.DrawFn) -> tuple[np.ndarray, int]:
    bits = draw(st.integers(1, 16))
    values = draw(
        st.lists(st.integers(0, 2**bits - 1), min_size=SIDE * SIDE, max_size=SIDE * SIDE)
        if draw(st.booleans())
        else st.integers(0, 2**32).map(
            lambda seed: np.random.default_rng(seed).integers(0, 2**bits, SIDE * SIDE).tolist()
        )
    )
    return np.array(values, np.uint8 if bits <= 8 else np.uint16).reshape(SIDE, SIDE), bits


@given(
    greys(),
    st.sampled_from([WHITE_IS_ZERO, BLACK_IS_ZERO]),
    st.sampled_from("<>"),
    st.sampled_from([NONE, DEFLATE]),
    st.integers(1, SIDE),
    st.booleans(),
)
def test_greys_of_1_to_16_bits(
    grey: tuple[np.ndarray, int], photometric: int, order: str, compression: int, rows: int, reverse: bool
) -> None:
    values, bits = grey
    reverse = reverse and bits != 16 and compression == NONE
    data = tiff([values], bits, photometric, order=order, compression=compression, rows=rows, reverse=reverse)
    expected = values.astype(float) * 255 / (2**bits - 1)
    if photometric == WHITE_IS_ZERO:
        expected = 255 - expected
    np.testing.assert_allclose(seen(data), expected, atol=1)
    np.testing.assert_array_equal(seen(data)[expected == 0], 0)
    np.testing.assert_array_equal(seen(data)[expected == 255], 255)


@pytest.mark.parametrize("bits", range(1, 17))
@pytest.mark.parametrize("photometric", [WHITE_IS_ZERO, BLACK_IS_ZERO])
@pytest.mark.parametrize("order", ["<", ">"])
def test_white_is_255_and_black_is_0(bits: int, photometric: int, order: str) -> None:
    values = np.zeros((SIDE, SIDE), np.uint16 if bits > 8 else np.uint8)
    values[:, SIDE // 2 :] = 2**bits - 1
    square = seen(tiff([values], bits, photometric, order=order))
    black, white = (square[:, : SIDE // 2], square[:, SIDE // 2 :])[:: 1 if photometric else -1]
    assert (black == 0).all()
    assert (white == 255).all()


@pytest.mark.parametrize("bits", [12, 16])
def test_an_image_that_the_caller_opened_is_scaled_too(bits: int) -> None:
    white = np.full((SIDE, SIDE), 2**bits - 1, np.uint16)
    for photometric, data in ((1, white), (0, 0 * white)):
        if (bits, photometric) != (12, 0):  # which Pillow does not open
            picture = Image.open(io.BytesIO(tiff([data], bits, photometric)))
            assert (load_picture(picture) == 255).all()


@pytest.mark.parametrize("bits", [12, 16])
def test_orientation_is_applied_once(bits: int) -> None:
    values = np.zeros((SIDE, SIDE), np.uint16)
    values[0] = 2**bits - 1
    square = seen(tiff([values], bits, WHITE_IS_ZERO, turn=6))
    assert (square[:, -1] == 0).all()
    assert (square[:, :-1] == 255).all()


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compression", [NONE, DEFLATE])
@pytest.mark.parametrize("rows", [5, SIDE])
def test_16_bit_colours_in_separate_planes(order: str, compression: int, rows: int) -> None:
    planes = list(np.random.default_rng(0).integers(0, 65536, (3, SIDE, SIDE)).astype(np.uint16))
    square = load_picture(tiff(planes, 16, RGB, order=order, compression=compression, rows=rows), SIDE)
    np.testing.assert_array_equal(square, np.stack(planes, axis=-1) >> 8)


def value_range(order: str, kind: int, form: str, least: float, greatest: float) -> dict[int, bytes]:
    return {
        tag: struct.pack(f"{order}HHI{form}", tag, kind, 1, value)
        for tag, value in ((LEAST, least), (GREATEST, greatest))
    }


@pytest.mark.parametrize(
    ("dtype", "sample_format", "kind", "form", "order"),
    [
        (np.uint32, UNSIGNED, 4, "I", "<"),
        *((np.int16, SIGNED, 8, "hxx", order) for order in "<>"),
        *((np.int32, SIGNED, 9, "i", order) for order in "<>"),
        *((np.float32, FLOAT, 11, "f", order) for order in "<>"),
    ],
)
def test_signed_wide_and_floating_greys_need_a_defined_range(
    dtype: type, sample_format: int, kind: int, form: str, order: str
) -> None:
    values = np.linspace(100, 1120, SIDE * SIDE).reshape(SIDE, SIDE).astype(dtype)
    bits = 8 * values.itemsize
    expected = np.clip((values.astype(float) - 110) / 1000 * 255, 0, 255)
    with pytest.raises(InvalidImage, match=f"{bits}-bit pixels, whose black and white are not defined"):
        load_picture(tiff([values], bits, BLACK_IS_ZERO, sample_format=sample_format, order=order))
    ranged = value_range(order, kind, form, 110, 1110)
    data = tiff([values], bits, BLACK_IS_ZERO, sample_format=sample_format, order=order, more=ranged)
    np.testing.assert_allclose(seen(data), expected, atol=0.6)


def test_floats_that_are_no_numbers_are_refused() -> None:
    values = np.full((SIDE, SIDE), np.nan, np.float32)
    data = tiff([values], 32, 1, sample_format=FLOAT, more=value_range("<", 11, "f", 0, 1))
    with pytest.raises(InvalidImage, match="no numbers"):
        load_picture(data)


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "P", "1", "L", "LA", "RGBA", "LAB"])
def test_white_in_any_colour_space_is_white(mode: str) -> None:
    picture = (
        Image.new("LAB", (8, 8), (255, 128, 128)) if mode == "LAB" else Image.new("RGB", (8, 8), "white")
    )
    file = io.BytesIO()
    picture.convert(mode).save(file, "TIFF")
    np.testing.assert_allclose(load_picture(file.getvalue()), 255, atol=2)


def test_what_is_not_supported_says_what_it_is() -> None:
    values = np.zeros((SIDE, SIDE), np.float64)
    with pytest.raises(InvalidImage, match=r"photometric 1, 64 bits, floating-point"):
        load_picture(tiff([values], 64, BLACK_IS_ZERO, sample_format=FLOAT))
    with pytest.raises(InvalidImage, match="BigTIFF of big-endian"):
        load_picture(b"MM\0+" + bytes(40))


@pytest.mark.filterwarnings("ignore")
@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=6), st.booleans())
def test_damaged_deep_tiffs_give_a_square_or_one_kind_of_error(
    changes: list[tuple[int, int]], colour: bool
) -> None:
    values = np.arange(SIDE * SIDE, dtype=np.uint16).reshape(SIDE, SIDE)
    damaged = bytearray(tiff([values] * 3, 16, RGB, rows=5) if colour else tiff([values], 12, 0, rows=5))
    for place, value in changes:
        damaged[place % len(damaged)] = value
    try:
        assert load_picture(bytes(damaged), 32).shape == (32, 32, 3)
    except InvalidImage as error:
        assert "\n" not in str(error)
