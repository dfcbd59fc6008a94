"""Whatever file people have, `load_picture` gives the right square or one clear error."""

from __future__ import annotations

import io
import os
import struct
import warnings
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from visrec_client.errors import InvalidImage
from visrec_client.picture import MAX_PIXELS, load_picture

RED, GREEN, BLUE, WHITE, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0)
QUADRANTS = [RED, GREEN, BLUE, BLACK]  # top left, top right, bottom left, bottom right


def quadrants(width: int = 60, height: int = 40) -> Image.Image:
    picture = Image.new("RGB", (2, 2))
    picture.putdata(QUADRANTS)
    return picture.resize((width, height), Image.Resampling.NEAREST)


def encoded(picture: Image.Image, file_format: str, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, file_format, **options)
    return file.getvalue()


def png(width: int, height: int, depth: int, colour: int, pixels: bytes, before: bytes = b"") -> bytes:
    """A PNG as bytes, with any header over any data."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    data = png_chunk(b"IDAT", zlib.compress(pixels))
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + before + data + png_chunk(b"IEND", b"")


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def colours(square: np.ndarray) -> list[tuple[int, ...]]:
    """The colour in the middle of each quadrant, in reading order."""
    near, far = square.shape[0] // 4, square.shape[0] * 3 // 4
    return [tuple(int(value) for value in square[y, x]) for y in (near, far) for x in (near, far)]


def assert_colours(square: np.ndarray, expected: list[tuple[int, int, int]], tolerance: int = 0) -> None:
    assert square.dtype == np.uint8
    assert square.shape == (224, 224, 3)
    np.testing.assert_allclose(np.array(colours(square)), np.array(expected), atol=tolerance)


@pytest.mark.parametrize(
    ("file_format", "tolerance"), [("PNG", 0), ("BMP", 0), ("GIF", 0), ("TIFF", 0), ("JPEG", 6), ("WEBP", 6)]
)
def test_the_whole_picture_is_stretched_to_a_square(file_format: str, tolerance: int) -> None:
    assert_colours(load_picture(encoded(quadrants(), file_format)), QUADRANTS, tolerance)


@pytest.mark.skipif(".avif" not in Image.registered_extensions(), reason="this Pillow reads no AVIF")
def test_avif_is_read() -> None:
    assert_colours(load_picture(encoded(quadrants(), "AVIF", quality=95)), QUADRANTS, 12)


def test_path_text_bytes_image_and_array_give_the_same_square(tmp_path) -> None:
    path = tmp_path / "picture.png"
    quadrants().save(path)
    expected = load_picture(path)
    for source in (str(path), path.read_bytes(), Image.open(path), np.asarray(Image.open(path))):
        np.testing.assert_array_equal(load_picture(source), expected)


def test_the_size_is_the_callers() -> None:
    assert load_picture(quadrants(), 32).shape == (32, 32, 3)


def test_the_square_may_be_written_to() -> None:
    square = load_picture(quadrants())
    square[0, 0] = 7
    assert square[0, 0].tolist() == [7, 7, 7]


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize(
    ("orientation", "stored"),
    [  # how the upright picture is stored, by what EXIF says must be done to it
        (1, None),
        (2, Image.Transpose.FLIP_LEFT_RIGHT),
        (3, Image.Transpose.ROTATE_180),
        (4, Image.Transpose.FLIP_TOP_BOTTOM),
        (5, Image.Transpose.TRANSPOSE),
        (6, Image.Transpose.ROTATE_90),
        (7, Image.Transpose.TRANSVERSE),
        (8, Image.Transpose.ROTATE_270),
    ],
)
def test_exif_orientation_is_applied_once(
    orientation: int, stored: Image.Transpose | None, file_format: str
) -> None:
    picture = quadrants() if stored is None else quadrants().transpose(stored)
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(picture, file_format, exif=exif)
    assert_colours(load_picture(data), QUADRANTS, 6)
    assert_colours(load_picture(Image.open(io.BytesIO(data))), QUADRANTS, 6)


def test_broken_exif_does_not_cost_the_picture() -> None:
    assert_colours(load_picture(encoded(quadrants(), "JPEG", exif=b"Exif\0\0nonsense")), QUADRANTS, 6)


def test_a_large_jpeg_looks_like_its_small_version() -> None:
    ramp = np.linspace(0, 255, 2000).astype(np.uint8)
    large = Image.fromarray(
        np.stack(np.broadcast_arrays(ramp[:, None], ramp[None, :], np.uint8(128)), axis=-1)
    )
    exact = np.asarray(large.resize((224, 224), Image.Resampling.BOX))
    np.testing.assert_allclose(load_picture(encoded(large, "JPEG")).astype(int), exact, atol=4)


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr"])
def test_a_jpeg_in_another_colour_space_is_seen_in_rgb(mode: str) -> None:
    assert_colours(load_picture(encoded(quadrants().convert(mode), "JPEG")), QUADRANTS, 8)


def test_a_palette_is_looked_up() -> None:
    picture = quadrants().quantize(4)
    assert picture.mode == "P"
    assert_colours(load_picture(encoded(picture, "PNG")), QUADRANTS)


@pytest.mark.parametrize("file_format", ["PNG", "GIF"])
def test_a_transparent_palette_entry_is_white(file_format: str) -> None:
    picture = quadrants().quantize(4)
    black = picture.getpixel((59, 39))
    data = encoded(picture, file_format, transparency=black)
    assert_colours(load_picture(data), [RED, GREEN, BLUE, WHITE])


def test_alpha_is_laid_on_white() -> None:
    picture = quadrants().convert("RGBA")
    alpha = Image.new("L", (2, 2))
    alpha.putdata([255, 0, 51, 102])
    picture.putalpha(alpha.resize(picture.size, Image.Resampling.NEAREST))
    expected = [RED, WHITE, (204, 204, 255), (153, 153, 153)]
    assert_colours(load_picture(encoded(picture, "PNG")), expected, 2)
    assert_colours(load_picture(np.asarray(picture)), expected, 2)


def test_colour_hidden_under_transparency_does_not_bleed() -> None:
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[:, :4] = (255, 255, 255, 255)
    pixels[:, 4:] = (255, 0, 0, 0)
    np.testing.assert_allclose(load_picture(pixels), 255, atol=1)


def test_grey_with_alpha() -> None:
    picture = Image.merge("LA", (Image.new("L", (4, 4), 0), Image.new("L", (4, 4), 51)))
    assert_colours(load_picture(encoded(picture, "PNG")), [(204, 204, 204)] * 4, 1)


def test_one_transparent_colour_of_an_opaque_png() -> None:
    data = encoded(quadrants(), "PNG", transparency=GREEN)
    assert_colours(load_picture(data), [RED, WHITE, BLUE, BLACK], 1)


def test_one_bit_and_grey() -> None:
    picture = Image.new("1", (2, 2))
    picture.putdata([0, 255, 255, 0])
    large = picture.resize((60, 40))
    for source in (
        encoded(large, "PNG"),
        encoded(large, "TIFF"),
        large.convert("L"),
        np.asarray(large.convert("L")),
    ):
        assert_colours(load_picture(source), [BLACK, WHITE, WHITE, BLACK])


@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled(file_format: str) -> None:
    values = np.repeat(np.array([[0, 257 * 100], [257 * 200, 65535]], np.uint16), 20, axis=0).repeat(
        20, axis=1
    )
    data = encoded(Image.fromarray(values), file_format)
    assert_colours(load_picture(data), [(value,) * 3 for value in (0, 100, 200, 255)])


def test_16_bit_grey_with_a_transparent_value() -> None:
    transparent = png_chunk(b"tRNS", struct.pack(">H", 30000))
    data = png(
        1, 2, 16, 0, b"\0" + struct.pack(">H", 30000) + b"\0" + struct.pack(">H", 257 * 64), transparent
    )
    assert_colours(load_picture(data), [WHITE, WHITE, (64,) * 3, (64,) * 3], 12)


def test_16_bit_colour_is_scaled() -> None:
    assert_colours(
        load_picture(png(1, 1, 16, 2, b"\0" + struct.pack(">3H", 65535, 25700, 0))), [(255, 100, 0)] * 4
    )


@pytest.mark.parametrize("file_format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_an_animation_the_first_frame_is_taken(file_format: str) -> None:
    others = [Image.new("RGB", (60, 40), colour) for colour in (GREEN, BLUE)]
    data = encoded(quadrants(), file_format, save_all=True, append_images=others)
    assert Image.open(io.BytesIO(data)).n_frames == 3
    assert_colours(load_picture(data), QUADRANTS, 8)


def test_a_single_pixel_fills_the_square() -> None:
    assert_colours(load_picture(encoded(Image.new("RGB", (1, 1), (10, 200, 30)), "PNG")), [(10, 200, 30)] * 4)


def test_a_very_long_picture() -> None:
    assert_colours(load_picture(quadrants(20_000, 2)), QUADRANTS, 1)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF"])
def test_a_truncated_file_is_refused(file_format: str) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    data = encoded(noise, file_format)
    for kept in (10, len(data) // 2):
        with pytest.raises(InvalidImage):
            load_picture(data[:kept])


def header_bombs() -> dict[str, Callable[[], bytes]]:
    def jpeg() -> bytes:
        data = bytearray(encoded(Image.new("RGB", (16, 16)), "JPEG"))
        frame = data.index(b"\xff\xc0")
        data[frame + 5 : frame + 9] = struct.pack(">HH", 20_000, 20_000)
        return bytes(data)

    def gif() -> bytes:
        data = bytearray(encoded(Image.new("P", (16, 16)), "GIF"))
        data[6:10] = struct.pack("<HH", 20_000, 20_000)
        return bytes(data)

    def bmp() -> bytes:
        data = bytearray(encoded(Image.new("RGB", (16, 16)), "BMP"))
        data[18:26] = struct.pack("<ii", 20_000, 20_000)
        return bytes(data)

    def tiff() -> bytes:
        data = encoded(Image.new("RGB", (16, 17)), "TIFF")
        for tag, size in ((256, 16), (257, 17)):
            for kind, form in ((3, "<HHIHH"), (4, "<HHII")):
                entry = struct.pack(form, tag, kind, 1, size, *([0] if kind == 3 else []))
                data = data.replace(entry, struct.pack("<HHII", tag, 4, 1, 20_000))
        return data

    return {
        "PNG": lambda: png(20_000, 20_000, 8, 2, b""),
        "JPEG": jpeg,
        "GIF": gif,
        "BMP": bmp,
        "TIFF": tiff,
    }


@pytest.mark.parametrize("file_format", header_bombs())
def test_a_small_file_with_a_huge_header_is_refused_by_its_size(file_format: str) -> None:
    data = header_bombs()[file_format]()
    assert len(data) < 5_000
    with pytest.raises(InvalidImage, match=r"too large|pixels"):
        load_picture(data)


@pytest.mark.parametrize("limit", [None, 100, 10**12])
def test_the_limit_holds_whatever_pillows_own_limit_is(limit: int | None, monkeypatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(InvalidImage, match=r"too large|pixels"):
        load_picture(png(20_000, 20_000, 8, 2, b""))
    assert limit == Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize("action", ["error", "ignore"])
def test_just_over_the_limit_is_refused_whether_or_not_warnings_are_errors(action: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter(action, Image.DecompressionBombWarning)
        with pytest.raises(InvalidImage, match=r"too large|pixels"):
            load_picture(png(MAX_PIXELS // 1000 + 1, 1000, 8, 2, b""))


def test_a_text_file_named_jpg_is_refused(tmp_path) -> None:
    path = tmp_path / "notes.jpg"
    path.write_text("Buy milk and a picture frame.\n" * 10)
    with pytest.raises(InvalidImage, match=r"notes\.jpg.*not a picture"):
        load_picture(path)


def test_formats_outside_the_list_are_refused() -> None:
    for file_format in ("PPM", "ICO", "TGA", "EPS"):
        with pytest.raises(InvalidImage, match="not a picture"):
            load_picture(encoded(quadrants(), file_format))


def test_what_is_no_readable_file_is_refused_by_name(tmp_path) -> None:
    with pytest.raises(InvalidImage, match=r"absent\.png.*does not exist"):
        load_picture(tmp_path / "absent.png")
    with pytest.raises(InvalidImage, match="is not a file"):
        load_picture(tmp_path)
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    with pytest.raises(InvalidImage, match="is not a file"):
        load_picture(pipe)
    with pytest.raises(InvalidImage, match="cannot be read"):
        load_picture("x" * 5000)
    (tmp_path / "empty.png").touch()
    for source in (tmp_path / "empty.png", b"", "bad\0name.png"):
        with pytest.raises(InvalidImage):
            load_picture(source)


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4, 3), np.uint16),
        np.zeros((4, 4, 3), bool),
        np.zeros((3, 8, 8), np.uint8),
        np.zeros((4, 4, 2), np.uint8),
        np.zeros((1, 4, 4, 3), np.uint8),
        np.zeros(4, np.uint8),
        np.zeros((0, 4, 3), np.uint8),
    ],
    ids=lambda pixels: f"{pixels.dtype}{list(pixels.shape)}",
)
def test_other_arrays_are_refused_by_dtype_and_shape(pixels: np.ndarray) -> None:
    with pytest.raises(InvalidImage) as refusal:
        load_picture(pixels)
    assert str(pixels.dtype) in str(refusal.value)
    assert str(list(pixels.shape)) in str(refusal.value)


def test_strided_arrays_are_read_as_they_look() -> None:
    pixels = np.asarray(quadrants())
    assert_colours(load_picture(pixels[::-1, ::-1]), QUADRANTS[::-1])


def test_a_form_that_is_not_read_is_refused_with_the_true_reason(tmp_path) -> None:
    cases = {
        b"": "the file is empty",
        b"hello": "its content is none of JPEG, PNG",
        b"\x89PNG\r\n\x1a\n" + bytes(30): "broken PNG",
        b"GIF89a": "broken GIF",
    }
    for data, reason in cases.items():
        with pytest.raises(InvalidImage, match=reason):
            load_picture(data)
        (tmp_path / "picture.png").write_bytes(data)
        with pytest.raises(InvalidImage, match=rf"picture\.png.*{reason}"):
            load_picture(tmp_path / "picture.png")


def test_broken_exif_is_told(caplog) -> None:
    data = png(1, 1, 8, 2, b"\0\1\2\3", png_chunk(b"eXIf", b"nonsense"))
    assert_colours(load_picture(data), [(1, 2, 3)] * 4)
    assert "picture has broken EXIF, and is taken as upright" in caplog.text


def oversized(kind: str) -> bytes:
    info = PngImagePlugin.PngInfo()
    if kind == "texts":
        for number in range(80):
            info.add_text(f"text {number}", "x" * 900_000, zip=True)
    elif kind != "profile":
        getattr(info, f"add_{kind}")("text", "x" * 3_000_000, zip=True)
    exif = Image.Exif()
    exif[0x0112] = 3
    options = {"icc_profile": b"x" * 3_000_000} if kind == "profile" else {}
    return encoded(quadrants().rotate(180), "PNG", pnginfo=info, exif=exif, **options)


@pytest.mark.parametrize("kind", ["text", "itxt", "texts", "profile"])
def test_a_png_with_oversized_metadata_is_read_without_it(kind: str) -> None:
    data = oversized(kind)
    with pytest.raises(ValueError, match="MAX_TEXT"):
        Image.open(io.BytesIO(data)).load()
    assert_colours(load_picture(data), QUADRANTS)


def test_a_png_whose_metadata_says_how_to_turn_it_but_is_oversized_is_refused() -> None:
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", "x" * 3_000_000, zip=True)
    with pytest.raises(InvalidImage, match=r"too large to read.*save it again without metadata"):
        load_picture(encoded(quadrants(), "PNG", pnginfo=info))


def test_large_metadata_of_other_formats_does_no_harm() -> None:
    exif = Image.Exif()
    exif[0x010E] = "x" * 60_000
    options = {"exif": exif, "icc_profile": b"x" * 500_000}
    for file_format in ("JPEG", "WEBP", "TIFF"):
        assert_colours(load_picture(encoded(quadrants(), file_format, **options)), QUADRANTS, 8)


def test_of_several_pictures_in_a_jpeg_the_first_is_taken() -> None:
    data = encoded(quadrants(), "MPO", save_all=True, append_images=[Image.new("RGB", (60, 40), GREEN)])
    assert_colours(load_picture(data), QUADRANTS, 6)


def test_a_path_of_any_kind_is_a_path(tmp_path) -> None:
    quadrants().save(tmp_path / "picture.png")

    class Place:
        def __fspath__(self) -> str:
            return str(tmp_path / "picture.png")

    data = (tmp_path / "picture.png").read_bytes()
    for source in (Place(), np.str_(tmp_path / "picture.png"), bytearray(data), memoryview(data)):
        assert_colours(load_picture(source), QUADRANTS)


@pytest.mark.parametrize("mode", ["I", "F"])
def test_32_bit_pixels_have_no_defined_white(mode: str) -> None:
    with pytest.raises(InvalidImage, match="32-bit"):
        load_picture(encoded(Image.new(mode, (4, 4)), "TIFF"))


def test_an_empty_image_and_other_things_are_refused() -> None:
    for source in (Image.new("RGB", (0, 5)), 17, None, ["a.png"]):
        with pytest.raises(InvalidImage):
            load_picture(source)


def test_the_callers_image_is_not_changed() -> None:
    picture = Image.open(io.BytesIO(encoded(quadrants(3000, 2000), "JPEG")))
    load_picture(picture)
    assert picture.size == (3000, 2000)
    assert_colours(load_picture(picture), QUADRANTS, 6)


NOISE = Image.fromarray(np.random.default_rng(1).integers(0, 256, (12, 12, 3), np.uint8))
WHOLE_FILES = [
    encoded(NOISE, "JPEG"),
    encoded(NOISE, "JPEG", progressive=True),
    encoded(NOISE, "PNG"),
    encoded(NOISE.quantize(16), "PNG", transparency=3),
    encoded(NOISE, "GIF", save_all=True, append_images=[NOISE.rotate(90)]),
    encoded(NOISE.convert("RGBA"), "WEBP", save_all=True, append_images=[NOISE.rotate(90)]),
    encoded(NOISE, "BMP"),
    encoded(NOISE, "TIFF", compression="tiff_lzw"),
]


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_damaged_files_give_a_square_or_one_kind_of_error(data: st.DataObject) -> None:
    damaged = bytearray(data.draw(st.sampled_from(WHOLE_FILES)))
    places = st.integers(0, len(damaged) - 1)
    for place, value in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), min_size=1, max_size=6)):
        damaged[place] = value
    try:
        square = load_picture(bytes(damaged), 32)
    except InvalidImage as error:
        assert "\n" not in str(error)
    else:
        assert (square.shape, square.dtype) == ((32, 32, 3), np.uint8)
