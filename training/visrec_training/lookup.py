"""Where some rows of a catalogue stand among others."""

from __future__ import annotations

import torch
from torch import Tensor


def find(rows: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Where rows of the catalogue stand among ascending ones, and whether they do; -1 does not.

    Args:
        rows: int64 [k], ascending, one or more.
        wanted: int64 of any shape.
    """
    place = torch.searchsorted(rows, wanted).clamp_max(len(rows) - 1)
    return place, rows[place] == wanted
