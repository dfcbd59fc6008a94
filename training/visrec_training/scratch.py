"""Arrays that may be larger than memory: beyond a gigabyte they lie in a file without a name.

The system keeps in memory what of them is used, as far as there is room.
"""

from __future__ import annotations

import math
import os
import tempfile
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from visrec_client.errors import VisrecError

Number = TypeVar("Number", bound=np.generic)
IN_MEMORY = 2**30
"""Bytes of an array that is not worth a file."""


def zeros(shape: tuple[int, ...], dtype: type[Number]) -> npt.NDArray[Number]:
    """An array of zeros that can be written, in memory or in the folder for temporary files (TMPDIR).

    Raises:
        VisrecError: there is no room on the disk.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size <= IN_MEMORY:
        return np.zeros(shape, dtype)
    try:
        with tempfile.TemporaryFile(prefix="visrec-") as file:
            os.posix_fallocate(file.fileno(), 0, size)  # else a full disk would end the process by a signal
            return np.asarray(np.memmap(file, dtype, "r+", shape=shape))
    except OSError as error:
        raise VisrecError(
            f"{size / 1e9:.1f} GB of what is seen in pictures can't be kept in {tempfile.gettempdir()}"
            f" ({error.strerror or error}): set TMPDIR to a folder with more room"
        ) from error
