"""From a picture in any common form to the square of pixels that the models take.

This is the only preprocessing of pictures in visrec: training, export and requests all call `load_picture`.

    >>> load_picture("photo.jpg").shape  # doctest: +SKIP
    (224, 224, 3)
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from visrec_client.errors import InvalidImage

PictureSource: TypeAlias = str | Path | bytes | Image.Image | npt.NDArray[np.uint8]

# AVIF stands last: Pillow before 11.3 does not know it, and finding a format ends there.
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF")
MAX_PIXELS = 2**28 // 3  # what 256 MiB hold as RGB: 89 megapixels, above which Pillow warns by default

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
    (of an open `PIL.Image`, the frame it stands at), 16-bit greys are scaled to 8 bits, and any colour
    space becomes RGB without regard to colour profiles. Large JPEGs are decoded at a reduced size.

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
    if isinstance(source, bytes):
        with _open(io.BytesIO(source), "picture") as picture:
            return _to_square(picture, size, "picture", may_draft=True)
    if isinstance(source, str | Path):
        name = f"picture '{source}'"
        with _open(_existing_file(Path(source), name), name) as picture:
            return _to_square(picture, size, name, may_draft=True)
    raise InvalidImage(
        f"a picture is a path, bytes, an image of Pillow or an array of uint8, not {type(source).__name__}"
    )


def _existing_file(path: Path, name: str) -> Path:
    try:
        if path.is_file():  # a pipe or a device could keep the caller waiting for ever
            return path
        reason = "is not a file" if path.exists() else "does not exist"
    except OSError as error:
        reason = f"cannot be read: {error.strerror}"
    raise InvalidImage(f"{name} {reason}")


def _from_array(pixels: npt.NDArray[np.uint8]) -> Image.Image:
    grey_or_colour = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (3, 4))
    if pixels.dtype != np.uint8 or not grey_or_colour or pixels.size == 0:
        raise InvalidImage(
            "an array of pixels is uint8 [H, W], [H, W, 3] or [H, W, 4], "
            f"not {pixels.dtype} {list(pixels.shape)}"
        )
    return Image.fromarray(np.ascontiguousarray(pixels))


def _open(file: Path | io.BytesIO, name: str) -> Image.Image:
    """Read the header. Pillow's own limit on pixels, where it is lower than ours, is honoured too."""
    try:
        return Image.open(file, formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InvalidImage(f"{name} is too large: {error}") from error
    except PermissionError as error:
        raise InvalidImage(f"{name} cannot be read: {error.strerror}") from error
    except Exception as error:  # on broken headers Pillow raises nearly anything
        raise InvalidImage(
            f"{name} is not a picture that can be read: expected a whole file of {', '.join(FORMATS)}"
        ) from error


def _to_square(
    picture: Image.Image, size: int, name: str, *, may_draft: bool = False
) -> npt.NDArray[np.uint8]:
    width, height = picture.size
    if not 0 < width * height <= MAX_PIXELS:
        raise InvalidImage(
            f"{name} has {width} x {height} pixels; at least 1 and at most {MAX_PIXELS:,} are allowed"
        )
    try:
        if may_draft:  # changes the image, so never the caller's; twice the size leaves bicubic its choice
            picture.draft(None, (2 * size, 2 * size))
        picture.load()
        turn = _TURNS.get(_orientation(picture))
        square = _resize(_eight_bits(picture, name), size)
        return np.array(square.transpose(turn) if turn is not None else square)
    except InvalidImage:
        raise
    except Exception as error:  # on broken pixels too: OSError, SyntaxError, struct.error, zlib.error...
        raise InvalidImage(f"{name} cannot be decoded: {error}") from error


def _orientation(picture: Image.Image) -> int:
    """EXIF orientation, 1 (upright) if there is none. Asked after loading: a TIFF turns itself then."""
    try:
        return int(picture.getexif().get(0x0112, 1))
    except Exception:  # broken metadata does not make the pixels wrong
        return 1


def _eight_bits(picture: Image.Image, name: str) -> Image.Image:
    """Bring 16-bit greys, which some versions of Pillow would clip, to 8 bits. Leave others as they are."""
    old_png = picture.mode == "I" and picture.format == "PNG"  # how Pillow before 11 opens 16-bit PNGs
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
