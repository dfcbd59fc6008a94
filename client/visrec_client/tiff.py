"""TIFFs that Pillow misreads or refuses: what is black and what is white is said by their tags.

Pillow reads some of them as they are stored, some not at all, and 16-bit colours in separate planes wrongly.
"""

from __future__ import annotations

import io
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2, TiffImageFile

# Tags of TIFF 6.0
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER = 256, 257, 258, 259, 262, 266
_STRIP_OFFSETS, _ORIENTATION, _SAMPLES, _STRIP_ROWS, _STRIP_BYTES, _PLANES = 273, 274, 277, 278, 279, 284
_PREDICTOR, _TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_BYTES = 317, 322, 323, 324, 325
_SAMPLE_FORMAT, _LEAST, _GREATEST = 339, 340, 341

_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB = 0, 1, 2
_UNSIGNED, _SIGNED = 1, 2
_LOSSLESS = frozenset({1, 5, 8, 32773, 32946, 34925, 50000})  # none, LZW, deflate, PackBits, LZMA, Zstandard
_KEPT = (_COMPRESSION, _FILL_ORDER, _STRIP_ROWS, _PREDICTOR, _TILE_HEIGHT)

Values = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Layout:
    """How the first picture of a TIFF is stored."""

    tags: ImageFileDirectory_v2
    width: int
    height: int
    bits: tuple[int, ...]
    """Of each sample of a pixel."""
    photometric: int
    sample_format: int
    separate: bool
    """Each sample in a plane of its own."""

    @property
    def needs_unpacking(self) -> bool:
        """Whether Pillow refuses it, or would misread it."""
        if self.sample_format != _UNSIGNED or self.tags.get(_COMPRESSION, 1) not in _LOSSLESS:
            return False
        if len(self.bits) == 1 and self.photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO):
            (bits,) = self.bits
            native = bits in (1, 2, 4) or (bits in (8, 16) and self.photometric == _BLACK_IS_ZERO)
            return 1 < bits <= 16 and not native
        return self.separate and self.photometric == _RGB and self.bits == (16, 16, 16)


def read_layout(file: BinaryIO) -> Layout | None:
    """Read the tags of a file's first picture; None where the file is no TIFF.

    Raises:
        ValueError: it is a kind of TIFF that Pillow knows, but does not read.
    """
    file.seek(0)
    start = file.read(16)
    if not start.startswith(_MAGIC):
        return None
    if start.startswith(b"MM\0+"):
        raise ValueError("a BigTIFF of big-endian byte order is not supported: save it as another TIFF")
    big = b"+" in start[2:4]
    tags = ImageFileDirectory_v2(start if big else start[:8])
    file.seek(tags.next)
    tags.load(file)
    samples = tags.get(_SAMPLES, 1)
    bits = tuple(tags.get(_BITS, (1,)))
    return Layout(
        tags=tags,
        width=int(tags.get(_WIDTH, 0)),
        height=int(tags.get(_HEIGHT, 0)),
        bits=bits * samples if len(bits) == 1 and samples <= 4 else bits,
        photometric=tags.get(_PHOTOMETRIC, _WHITE_IS_ZERO),
        sample_format=_first(tags.get(_SAMPLE_FORMAT), _UNSIGNED),
        separate=tags.get(_PLANES, 1) == 2,
    )


def describe(file: BinaryIO) -> str:
    """What kind of TIFF a file is, for an error; "" where it is none or its tags are broken."""
    try:
        layout = read_layout(file)
    except Exception:  # the error to be explained says as much
        return ""
    if layout is None:
        return ""
    kind = {1: "unsigned", 2: "signed", 3: "floating-point"}.get(layout.sample_format, "undefined")
    bits = " + ".join(map(str, layout.bits))
    return f" (photometric {layout.photometric}, {bits} bits, {kind})"


def unpack(file: BinaryIO, layout: Layout) -> Image.Image:
    """Decode a picture whose layout needs unpacking.

    Returns:
        An image of 8 bits, L or RGB, which knows its orientation as EXIF does.
    """
    file.seek(0)
    data = file.read()
    planes = [_plane(data, layout, number) for number in range(len(layout.bits))]
    bands = [
        Image.fromarray(_to_eight_bits(plane, layout.bits[0], layout.photometric == _WHITE_IS_ZERO))
        for plane in planes
    ]
    picture = bands[0] if len(bands) == 1 else Image.merge("RGB", bands)
    picture.getexif()[_ORIENTATION] = layout.tags.get(_ORIENTATION, 1)
    return picture


def has_wide_grey(picture: TiffImageFile) -> bool:
    """Whether a TIFF that Pillow opened holds one sample a pixel that isn't plainly 8 bits or fewer."""
    return picture.mode in ("I", "F") or picture.mode.startswith("I;16") or _is_signed_byte(picture)


def scale_grey(picture: TiffImageFile) -> Image.Image:
    """Scale such a picture to 8 bits, L, black at 0.

    Raises:
        ValueError: what is black and what is white is not defined; the text goes on "the picture has ...".
    """
    tags: Any = picture.tag_v2
    values = np.asarray(picture)
    inverted = tags.get(_PHOTOMETRIC, _WHITE_IS_ZERO) == _WHITE_IS_ZERO
    bits = _first(tags.get(_BITS), 1)
    sample_format = _first(tags.get(_SAMPLE_FORMAT), _UNSIGNED)
    if sample_format == _UNSIGNED and bits <= 16:
        return Image.fromarray(_to_eight_bits(values, bits, inverted))
    if sample_format == _UNSIGNED and values.dtype == np.int32:
        values = values.view(np.uint32)
    kind = "signed " if sample_format == _SIGNED else ""
    least, greatest = (_first(tags.get(tag), math.nan) for tag in (_LEAST, _GREATEST))
    if not (math.isfinite(least) and math.isfinite(greatest) and least < greatest):
        raise ValueError(f"{kind}{bits}-bit pixels, whose black and white are not defined")
    share = (values.astype(np.float64) - least) / (greatest - least)
    if not np.isfinite(share).all():
        raise ValueError("pixels that are no numbers (NaN or infinity)")
    grey = np.rint(255 * np.clip(share, 0, 1)).astype(np.uint8)
    return Image.fromarray(255 - grey if inverted else grey)


def _is_signed_byte(picture: TiffImageFile) -> bool:
    tags: Any = picture.tag_v2
    return picture.mode == "L" and _first(tags.get(_SAMPLE_FORMAT), _UNSIGNED) == _SIGNED


def _to_eight_bits(values: Values, bits: int, inverted: bool) -> npt.NDArray[np.uint8]:
    """Unsigned values of so many bits; the least becomes 0 and the greatest 255, or the other way round."""
    wide = values.astype(np.uint32)
    grey = (wide >> (bits - 8) if bits > 8 else wide * 255 // (2**bits - 1)).astype(np.uint8)
    return np.invert(grey) if inverted else grey


def _plane(data: bytes, layout: Layout, number: int) -> Values:
    """The values of one sample, [height, width].

    Pillow decodes the same strips or tiles under tags that it knows: as grey of 16 bits, or, for other
    widths, as bytes, of which each row is then cut into samples.
    """
    bits = layout.bits[0]
    picture = Image.open(io.BytesIO(_retagged(data, layout, number)), formats=("TIFF",))
    rows = np.asarray(picture)
    if bits in (8, 16):
        return rows
    # rows start at whole bytes, and the first bit is the highest whatever the order of bytes
    flags = np.unpackbits(rows, axis=1, count=layout.width * bits).reshape(layout.height, layout.width, bits)
    values: Values = np.zeros(flags.shape[:2], np.uint16)
    for bit in range(bits):
        values = (values << 1) | flags[:, :, bit]
    return values


def _retagged(data: bytes, layout: Layout, number: int) -> bytes:
    """The file again, with a directory at its end that knows one plane only."""
    tags, bits = layout.tags, layout.bits[0]
    if bits not in (8, 16) and tags.get(_PREDICTOR, 1) != 1:
        raise ValueError(f"a predictor over samples of {bits} bits")
    new: dict[int, tuple[int, ...]] = {tag: (int(tags[tag]),) for tag in _KEPT if tag in tags}
    new |= {_PHOTOMETRIC: (_BLACK_IS_ZERO,), _SAMPLES: (1,), _HEIGHT: (layout.height,)}
    new |= {_BITS: (16 if bits == 16 else 8,), _WIDTH: (_stored_width(layout.width, bits),)}
    if _TILE_WIDTH in tags:
        new[_TILE_WIDTH] = (_stored_width(tags[_TILE_WIDTH], bits),)
    for tag in (_STRIP_OFFSETS, _STRIP_BYTES, _TILE_OFFSETS, _TILE_BYTES):
        if tag in tags:
            new[tag] = _part(tags[tag], number, len(layout.bits))
    order = "<" if data.startswith(b"II") else ">"
    end = len(data) + len(data) % 2  # directories start at even places
    head = data[:2] + struct.pack(f"{order}HI", 42, end)
    return head + data[len(head) :].ljust(end - len(head), b"\0") + _directory(new, order, end)


def _directory(tags: dict[int, tuple[int, ...]], order: str, start: int) -> bytes:
    """A directory that stands at `start`: an entry for each tag, then the values that have no place there."""
    long = 4
    after = start + 2 + 12 * len(tags) + 4
    entries, values = [], b""
    for tag, numbers in sorted(tags.items()):
        packed = struct.pack(f"{order}{len(numbers)}I", *numbers)
        if len(numbers) > 1:
            place = struct.pack(f"{order}I", after + len(values))
            values += packed
        else:
            place = packed
        entries.append(struct.pack(f"{order}HHI", tag, long, len(numbers)) + place)
    return struct.pack(f"{order}H", len(tags)) + b"".join(entries) + bytes(4) + values


def _stored_width(width: int, bits: int) -> int:
    return width if bits == 16 else math.ceil(width * bits / 8)


def _part(values: Sequence[int], number: int, parts: int) -> tuple[int, ...]:
    """Strips and tiles of the first plane come first, then those of the next."""
    each = len(values) // parts
    return tuple(values[number * each : (number + 1) * each])


def _first(value: Any, default: float) -> Any:  # noqa: ANN401  (numbers of any kind)
    """The value of a tag that Pillow gives as a number or, as one for each sample, as a tuple."""
    if value is None:
        return default
    return value[0] if isinstance(value, tuple) else value
