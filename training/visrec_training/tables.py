"""Tables of a data folder, Parquet or CSV, and their columns as Python and numpy values."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from visrec_training.errors import DataError

WORDS = ("user_id", "item_id", "image", "title", "category", "keywords", "split")
"""Columns that are text, whatever their values look like."""


def read_table(folder: Path, name: str, required: Sequence[str]) -> pa.Table | None:
    """Read NAME.parquet, else NAME.csv; None where there is neither.

    Raises:
        DataError: it can't be read, lacks a column, or has two of one name.
    """
    parquet, csv = folder / f"{name}.parquet", folder / f"{name}.csv"
    try:
        if parquet.is_file():
            path, table = parquet, pa.parquet.read_table(parquet)
        elif csv.is_file():
            options = pa.csv.ConvertOptions(column_types=dict.fromkeys(WORDS, pa.string()))
            path, table = csv, pa.csv.read_csv(csv, convert_options=options)
        else:
            return None
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"can't read {name} in {folder}: {str(error).splitlines()[0]}") from error
    if len(set(table.column_names)) < table.num_columns:
        raise DataError(f"{path} has two columns of one name: {', '.join(table.column_names)}")
    missing = [column for column in required if column not in table.column_names]
    if missing:
        raise DataError(
            f"{path} lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)};"
            f" it has {', '.join(table.column_names)}"
        )
    return table


def strings(table: pa.Table, column: str) -> tuple[str, ...]:
    """A column as text, "" where it is empty or there is no such column.

    Raises:
        DataError: it holds something that is no text.
    """
    if column not in table.column_names:
        return ("",) * table.num_rows
    values = table[column]
    try:
        if pa.types.is_list(values.type):  # such as keywords
            values = pc.binary_join(pc.cast(values, pa.list_(pa.string())), " ")
        return tuple(pc.fill_null(pc.cast(values, pa.string()), "").to_pylist())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(f"the column {column} holds {values.type}, which is no text") from error


def offenders(what: str, named: Sequence[str], shown: int = 3) -> str:
    """A line that counts what is wrong and names the first few: `2 WHAT: a, b`."""
    more = f", … (+{len(named) - shown})" if len(named) > shown else ""
    return f"{len(named)} {what}: {', '.join(map(str, named[:shown]))}{more}"
