"""PNGs whose metadata is larger than Pillow decompresses: read without it, as pixels do not depend on it."""

from __future__ import annotations

import io
import struct
from typing import BinaryIO

_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_PROFILE = b"iCCP"
# Texts in which Pillow finds how to turn a picture upright.
_TURNING = (b"XML:com.adobe.xmp\0", b"Raw profile type exif\0", b"Raw profile type APP1\0")
_SIGNATURE_LENGTH, _AROUND_DATA = 8, 12


def is_too_much_metadata(error: Exception) -> bool:
    """Whether this is how Pillow refuses texts or a colour profile for their size."""
    return isinstance(error, ValueError) and "MAX_TEXT" in str(error)


def without_metadata(file: BinaryIO) -> BinaryIO:
    """The same PNG without its colour profile, and without its texts but those about orientation."""
    file.seek(0)
    data = file.read()
    kept = [data[:_SIGNATURE_LENGTH]]
    start = _SIGNATURE_LENGTH
    while start + _SIGNATURE_LENGTH <= len(data):
        length, kind = struct.unpack_from(">I4s", data, start)
        end = start + length + _AROUND_DATA
        turns = data.startswith(_TURNING, start + _SIGNATURE_LENGTH)
        if kind != _PROFILE and (kind not in _TEXTS or turns):
            kept.append(data[start:end])
        start = end
    return io.BytesIO(b"".join(kept))
