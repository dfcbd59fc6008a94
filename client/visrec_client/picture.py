"""From a picture in any common form to the square of pixels that the models take.

This is the only preprocessing of pictures in visrec: training, export and requests all call `load_picture`.

    >>> load_picture("photo.jpg").shape  # doctest: +SKIP
    (224, 224, 3)
"""

from __future__ import annotations

import io
import logging
import os
from pathlib import Path
from typing import BinaryIO, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from visrec_client import png, tiff
from visrec_client.errors import InvalidImage

PictureSource: TypeAlias = (
    str | os.PathLike[str] | bytes | bytearray | memoryview | Image.Image | npt.NDArray[np.uint8]
)

DECODER = 2
"""Raised whenever `load_picture` makes other pixels of the same file: caches depend on it."""
# AVIF stands last: Pillow before 11.3 does not know it, and finding a format ends there.
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF")
MAX_PIXELS = 2**28 // 3  # what 256 MiB hold as RGB: 89 megapixels, above which Pillow warns by default
_LOG = logging.getLogger(__name__)

_TURNS = {  # EXIF orientation: how to turn the stored pixels upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def load_picture(source: PictureSource, size: int = 224) -> npt.NDArray[np.uint8]:
    """Load a picture, upright and on white, stretched to a square.

    The whole picture is kept: nothing is cropped, so a place in the square is a place in the picture.
    EXIF orientation is applied, transparency is laid on white, of an animation the first frame is taken
    (of an open `PIL.Image`, the frame it stands at), greys of any number of bits are scaled to 8, and any
    colour space becomes RGB without regard to colour profiles. Large JPEGs are decoded at a reduced size.

    Args:
        source: a path; the bytes of a file; an image of Pillow; or uint8 pixels [H, W] (grey), [H, W, 3]
            (RGB) or [H, W, 4] (RGBA). Files may be JPEG, PNG, GIF, WebP, BMP, TIFF, and AVIF where Pillow
            reads it.
        size: side of the square in pixels.

    Returns:
        uint8 [size, size, 3], RGB.

    Raises:
        InvalidImage: the source is missing, is no picture, is broken, has more than `MAX_PIXELS` pixels
            (found from its header, before any of them is decoded), or has no one meaning as RGB.
    """
    if isinstance(source, Image.Image):
        return _to_square(source, size, "picture")
    if isinstance(source, np.ndarray):
        return _to_square(_from_array(source), size, "picture")
    if isinstance(source, bytes | bytearray | memoryview):
        return decode(io.BytesIO(source), size, "picture")
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        with open_file(path) as file:
            return decode(file, size, name_of(path))
    raise InvalidImage(
        f"a picture is a path, bytes, an image of Pillow or an array of uint8, not {type(source).__name__}"
    )


def name_of(path: Path) -> str:
    """What errors call the picture at a path."""
    return f"picture '{path}'"


def open_file(path: Path) -> io.BufferedReader:
    """Open the file of a picture.

    Raises:
        InvalidImage: it is missing, is no file, or cannot be read.
    """
    try:
        if path.is_file():  # a pipe or a device could keep the caller waiting for ever
            return path.open("rb")
        reason = "is not a file" if path.exists() else "does not exist"
    except OSError as error:
        reason = f"cannot be read: {error.strerror}"
    except ValueError as error:  # a NUL in the name
        reason = f"cannot be read: {error}"
    raise InvalidImage(f"{name_of(path)} {reason}")


def decode(file: BinaryIO, size: int, name: str) -> npt.NDArray[np.uint8]:
    """Load a picture from an open file, from where it stands at 0, as `load_picture` does.

    Args:
        file: can seek.
        size: side of the square in pixels.
        name: what errors call the picture.

    Raises:
        InvalidImage: as `load_picture`.
    """
    try:
        with _open(file, name) as picture:
            return _to_square(picture, size, name, may_draft=True)
    except _TooMuchMetadata:
        with _open(png.without_metadata(file), name) as picture:
            return _to_square(picture, size, name, may_draft=True)


class _TooMuchMetadata(InvalidImage):
    """Texts or a colour profile of a PNG are larger than Pillow decompresses."""


def _from_array(pixels: npt.NDArray[np.uint8]) -> Image.Image:
    grey_or_colour = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (3, 4))
    if pixels.dtype != np.uint8 or not grey_or_colour or pixels.size == 0:
        raise InvalidImage(
            "an array of pixels is uint8 [H, W], [H, W, 3] or [H, W, 4], "
            f"not {pixels.dtype} {list(pixels.shape)}"
        )
    return Image.fromarray(np.ascontiguousarray(pixels))


def _open(file: BinaryIO, name: str) -> Image.Image:
    """Read the header. Pillow's own limit on pixels, where it is lower than ours, is honoured too."""
    try:
        layout = tiff.read_layout(file)
        if layout is not None and layout.needs_unpacking:
            _check_size(layout.width, layout.height, name)
            return tiff.unpack(file, layout)
        file.seek(0)
        return Image.open(file, formats=FORMATS)
    except InvalidImage:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InvalidImage(f"{name} is too large: {error}") from error
    except Exception as error:  # on broken headers Pillow raises nearly anything
        if png.is_too_much_metadata(error):
            raise _too_much_metadata(name, error) from error
        raise InvalidImage(f"{name} is not a picture that can be read: {_reason(file, error)}") from error


def _too_much_metadata(name: str, error: Exception) -> _TooMuchMetadata:
    return _TooMuchMetadata(
        f"{name} holds texts or a colour profile that are too large to read ({error}): "
        "save it again without metadata"
    )


def _reason(file: BinaryIO, error: Exception) -> str:
    """Why a file could not be opened: `Image.open` itself says only that no format took it."""
    if not isinstance(error, UnidentifiedImageError):
        return _one_line(error)
    file.seek(0)
    if not (start := file.read(16)):
        return "the file is empty"
    for form in FORMATS:
        factory, accept = Image.OPEN.get(form, (None, None))
        if factory is None or accept is None or accept(start) is not True:
            continue
        file.seek(0)
        try:
            factory(file, "")
        except Exception as cause:  # this is what is looked for
            return f"a broken {form}, or one of an unknown kind: {_one_line(cause)}{tiff.describe(file)}"
    return f"its content is none of {', '.join(FORMATS)}"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _check_size(width: int, height: int, name: str) -> None:
    if not 0 < width * height <= MAX_PIXELS:
        raise InvalidImage(
            f"{name} has {width} x {height} pixels; at least 1 and at most {MAX_PIXELS:,} are allowed"
        )


def _to_square(
    picture: Image.Image, size: int, name: str, *, may_draft: bool = False
) -> npt.NDArray[np.uint8]:
    _check_size(*picture.size, name)
    try:
        if may_draft:  # changes the image, so never the caller's; twice the size leaves bicubic its choice
            picture.draft(None, (2 * size, 2 * size))
        picture.load()
        turn = _TURNS.get(_orientation(picture, name))
        square = _resize(_eight_bits(picture, name), size)
        return np.array(square.transpose(turn) if turn is not None else square)
    except InvalidImage:
        raise
    except Exception as error:  # on broken pixels too: OSError, SyntaxError, struct.error, zlib.error...
        if png.is_too_much_metadata(error):
            raise _too_much_metadata(name, error) from error
        raise InvalidImage(f"{name} cannot be decoded: {_one_line(error)}") from error


def _orientation(picture: Image.Image, name: str) -> int:
    """EXIF orientation, 1 (upright) if there is none. Asked after loading: a TIFF turns itself then."""
    try:
        return int(picture.getexif().get(0x0112, 1))
    except Exception as error:  # on broken metadata too Pillow raises nearly anything; the pixels are right
        _LOG.warning("%s has broken EXIF, and is taken as upright: %s", name, _one_line(error))
        return 1


def _eight_bits(picture: Image.Image, name: str) -> Image.Image:
    """Bring greys of more than 8 bits, which Pillow would clip, to 8 bits. Leave others as they are."""
    old_png = picture.mode == "I" and picture.format == "PNG"  # how Pillow before 11 opens 16-bit PNGs
    if isinstance(picture, TiffImageFile) and tiff.has_wide_grey(picture):
        try:
            return tiff.scale_grey(picture)
        except ValueError as error:
            raise InvalidImage(f"{name} has {error}: scale it to 8 bits first") from error
    if picture.mode in ("I", "F") and not old_png:
        raise InvalidImage(
            f"{name} has 32-bit pixels (mode {picture.mode}), whose black and white are not defined: "
            "scale it to 8 bits first"
        )
    if not old_png and not picture.mode.startswith("I;16"):
        return picture
    values = np.asarray(picture)
    grey = Image.fromarray((values >> 8).astype(np.uint8))
    if (transparent := picture.info.get("transparency")) is None:
        return grey
    return Image.merge(
        "LA", (grey, Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8)))
    )


def _resize(picture: Image.Image, size: int) -> Image.Image:
    """Stretch to a square of RGB on white, averaging colours by their opacity."""
    transparent = picture.has_transparency_data
    # RGBa is RGBA with colours already multiplied by alpha: what lies under full transparency cannot bleed
    pixels = picture.convert("RGBA").convert("RGBa") if transparent else picture.convert("RGB")
    square = pixels.resize((size, size), Image.Resampling.BICUBIC, reducing_gap=2.0)
    if not transparent:
        return square
    white = Image.new("RGBA", square.size, "white")
    return Image.alpha_composite(white, square.convert("RGBA")).convert("RGB")
