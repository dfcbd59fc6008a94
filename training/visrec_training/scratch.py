"""Arrays that may be larger than memory: beyond a gigabyte they lie in a file without a name.

The system keeps in memory what of them is used, as far as there is room; what is let go counts no longer as
memory of this process.
"""

from __future__ import annotations

import math
import mmap
import os
import tempfile
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

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


def let_go(array: npt.NDArray[Any]) -> None:
    """Give back the memory that an array of `zeros` takes if it lies in a file, which keeps what it holds."""
    base: Any = array
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, mmap.mmap):
        base.madvise(mmap.MADV_DONTNEED)


class Stored:
    """Numbers by row, float32 [N, ...], in memory or on a device; beyond a gigabyte float16, in a file."""

    def __init__(self, shape: tuple[int, ...], device: torch.device) -> None:
        """Make room for them, all 0.

        Raises:
            VisrecError: there is no room on the disk.
        """
        self.shape, self.device = shape, device
        in_file = device.type == "cpu" and 4 * math.prod(shape) > IN_MEMORY
        self._file = zeros(shape, np.float16) if in_file else None
        self._values = (
            torch.zeros(shape, device=device) if self._file is None else torch.from_numpy(self._file)
        )

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, chosen: Any) -> Tensor:  # noqa: ANN401  (whatever chooses of a tensor)
        found = self._values[chosen].float()
        self._let_go()
        return found

    def __setitem__(self, chosen: Any, values: Tensor) -> None:  # noqa: ANN401
        self._values[chosen] = values.to(self._values.dtype)
        self._let_go()

    def _let_go(self) -> None:
        if self._file is not None:
            let_go(self._file)
