"""Columns of free text, known by what they hold: what shops say of an item has many names.

`detail`, `features`, `plot`, `mechanics`: where values are of several words, they are read with the
description.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

import numpy as np
import pyarrow as pa

from visrec_training.columns import texts
from visrec_training.errors import DataError
from visrec_training.table_files import TableFiles
from visrec_training.tables import normal_name, read_table

FEWEST_WORDS = 3.0
"""Words of a distinct value, on average; a brand, a colour, a path or a URL has fewer."""
LOOKED_AT = 1_000
"""Distinct values that tell whether a column is free text."""
LETTERS_A_WORD = 2  # of scripts that set no spaces between words
_UNSPACED = re.compile("[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff]")
"""Letters of Thai, Lao, Japanese and Chinese."""
_TWO_LETTERS = re.compile(r"[^\W\d_].*[^\W\d_]")


def read_free_text(files: TableFiles, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Those of a table's columns that hold free text, by name in alphabetical order, [rows] each.

    A column that can't be read as text is passed over.
    """
    try:
        columns = read_table(files, (), list(map(normal_name, names))).columns
    except DataError:
        if len(names) == 1:
            return {}
        return {name: text for each in sorted(names) for name, text in read_free_text(files, [each]).items()}
    found = {}
    for name in sorted(columns):
        if _may_hold_text(columns[name].type):
            values = texts(columns[name], name)
            if is_free_text(values):
                found[name] = values
    return found


def joined(columns: Collection[Sequence[str]], rows: int) -> tuple[str, ...]:
    """What several columns say of each row."""
    said = zip(*columns, strict=True) if columns else iter([()] * rows)
    return tuple(" ".join(filter(None, each)) for each in said)


def is_free_text(values: Sequence[str]) -> bool:
    """Whether values differ, and have several words."""
    distinct = sorted(set(values) - {""})
    if len(distinct) < 2:  # says nothing of an item
        return False
    drawn = np.linspace(0, len(distinct) - 1, min(LOOKED_AT, len(distinct))).astype(int)
    return float(np.mean([_words(distinct[place]) for place in drawn])) >= FEWEST_WORDS


def _words(value: str) -> int:
    spaced = [piece for piece in _UNSPACED.sub(" ", value).split() if _TWO_LETTERS.search(piece)]
    return len(spaced) + len(_UNSPACED.findall(value)) // LETTERS_A_WORD


def _may_hold_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind) or isinstance(kind, pa.ListType | pa.LargeListType):
        return _may_hold_text(kind.value_type)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))
