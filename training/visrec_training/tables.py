"""Reading the tables of a data folder: Parquet or text with separators, whole or in parts, compressed or not.

Only the columns that are asked for are parsed. Text is UTF-8 (RFC 4180, or with quotes escaped by a backslash
as Spark and MySQL write them); what separates its cells is found from its header.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from visrec_training.columns import as_text
from visrec_training.errors import DataError
from visrec_training.table_files import TableFiles

SEPARATORS = ",;\t|"
MALFORMED = "with too few or too many cells"
"""Why a row can't be read."""
SAMPLE = 4 * 2**20
"""Bytes that are looked at to tell how a text is written."""
BLOCK, LARGEST_BLOCK = 2**24, 2**30
"""Bytes that are parsed at once; more where a single row is larger."""
_MAGIC = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}
_ZSTD, _ZIP, _PARQUET = b"\x28\xb5\x2f\xfd", b"PK\x03\x04", b"PAR1"
_UTF = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
_BACKSLASH_QUOTES = re.compile(rb'\\"[^",;|\t\r\n]')


@dataclass(frozen=True, slots=True)
class Table:
    """The columns of a table that somebody asked for."""

    source: str
    """Its files, as a person names them."""
    columns: Mapping[str, pa.ChunkedArray]
    """By the name that was asked for, [rows] each."""
    rows: int
    malformed: int
    """Further rows, which have too few or too many cells."""
    unused: tuple[str, ...]
    """Names of the columns that nobody asked for."""


@dataclass(frozen=True, slots=True)
class _Part:
    batches: list[pa.RecordBatch]
    """Columns by the name that was asked for."""
    names: tuple[str, ...]
    """Of all columns."""
    malformed: int = 0


def read_table(files: TableFiles, required: Sequence[str], optional: Sequence[str] = ()) -> Table:
    """Read some columns of a table; names may differ in case and in spaces around them.

    Raises:
        DataError: it can't be read, lacks a required column, or has two of one name.
    """
    wanted = (*required, *optional)
    chunks: dict[str, list[pa.Array]] = {name: [] for name in wanted}
    rows, malformed, unused, there = 0, 0, dict[str, None](), set[str]()
    for path in files.parts:
        constant = {name.strip().casefold(): value for name, value in files.partition(path).items()}
        try:
            part = _read(path, wanted)
        except (pa.ArrowException, OSError, EOFError, lzma.LZMAError, zipfile.BadZipFile) as error:
            raise DataError(f"can't read {path}: {str(error).splitlines()[0]}") from error
        names = {*map(normal_name, part.names), *constant}
        if missing := [name for name in required if name not in names]:
            raise DataError(
                f"{path} lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)};"
                f" it has {', '.join(part.names)}"
            )
        there |= names
        unused.update(dict.fromkeys(name for name in part.names if normal_name(name) not in wanted))
        malformed += part.malformed
        for batch in part.batches:
            rows += batch.num_rows
            for name in wanted:
                if name in batch.schema.names:
                    chunks[name].append(batch.column(name))
                else:
                    chunks[name].append(pa.array([constant.get(name)] * batch.num_rows, pa.large_string()))
    columns = {name: _one_type(chunks[name], name) for name in wanted if name in there}
    return Table(files.name, columns, rows, malformed, tuple(unused))


def column_names(files: TableFiles) -> set[str]:
    """The names of a table's columns, in lower case; empty where it can't be read."""
    try:
        return set(map(normal_name, _read(files.parts[0], ()).names))
    except (pa.ArrowException, OSError, DataError):
        return set()


def _one_type(chunks: list[pa.Array], name: str) -> pa.ChunkedArray:
    """The parts of a column as one; as text where parts have it in different types."""
    if len({chunk.type for chunk in chunks}) > 1:
        chunks = [chunk for each in chunks for chunk in as_text(pa.chunked_array([each]), name).chunks]
    return pa.chunked_array(chunks, None if chunks else pa.large_string())


def normal_name(name: str) -> str:
    """A column's name as names are compared: without spaces around it, in lower case."""
    return name.strip("\ufeff \t").casefold()


def _chosen(names: Sequence[str], wanted: Sequence[str], path: Path) -> dict[str, str]:
    """Column as the file names it → as it was asked for.

    Raises:
        DataError: two columns have one name.
    """
    chosen = {name: normal_name(name) for name in names if normal_name(name) in wanted}
    normal = [normal_name(name) for name in names]
    if twice := [name for name in wanted if normal.count(name) > 1]:
        raise DataError(f"{path} has two columns of one name: {', '.join(twice)}")
    return chosen


def _read(path: Path, wanted: Sequence[str]) -> _Part:
    with path.open("rb") as file:
        start = file.read(4)
    return _read_parquet(path, wanted) if start == _PARQUET else _read_text(path, wanted)


def _read_parquet(path: Path, wanted: Sequence[str]) -> _Part:
    with pa.parquet.ParquetFile(path) as file:
        names = tuple(file.schema_arrow.names)
        chosen = _chosen(names, wanted, path)
        batches = [
            batch.rename_columns([chosen[name] for name in batch.schema.names])
            for batch in file.iter_batches(columns=list(chosen))
        ]
    return _Part(batches, names)


def _read_text(path: Path, wanted: Sequence[str]) -> _Part:
    with _open(path) as file:
        sample = file.read(SAMPLE)
    if not sample.strip():
        raise DataError(f"{path} is empty")
    _check_encoding(sample, path)
    first, sample = _skip_excel_line(sample)
    separator, names = _header(sample, wanted, path)
    chosen = _chosen(names, wanted, path)
    if not chosen:
        return _Part([], names)
    malformed: list[int] = []

    def skip(row: Any) -> str:  # noqa: ANN401  (pyarrow's InvalidRow)
        malformed.append(row.actual_columns)
        return "skip"

    escape = "\\" if _BACKSLASH_QUOTES.search(sample) else False
    parse = pa.csv.ParseOptions(
        delimiter=separator, newlines_in_values=True, escape_char=escape, invalid_row_handler=skip
    )
    convert = pa.csv.ConvertOptions(
        include_columns=list(chosen),
        column_types=dict.fromkeys(chosen, pa.string()),
        strings_can_be_null=False,
    )
    block = BLOCK
    while True:
        read = pa.csv.ReadOptions(block_size=block, skip_rows=first, use_threads=False)
        malformed.clear()
        try:
            with _open(path) as file, pa.csv.open_csv(file, read, parse, convert) as reader:
                batches = [
                    batch.rename_columns([chosen[name] for name in batch.schema.names]) for batch in reader
                ]
            return _Part(batches, names, len(malformed))
        except pa.ArrowInvalid as error:
            if "straddling" in str(error) and block < LARGEST_BLOCK:  # a row larger than a block
                block *= 8
            elif "UTF8" in str(error):
                raise _not_utf8(path) from error
            else:
                raise


def _open(path: Path) -> IO[bytes]:
    """A file's bytes, unpacked whatever its name says."""
    with path.open("rb") as file:
        start = file.read(6)
    for magic, opener in _MAGIC.items():
        if start.startswith(magic):
            return cast(IO[bytes], opener(path, "rb"))  # type: ignore[operator]
    if start.startswith(_ZSTD):
        return pa.CompressedInputStream(pa.OSFile(str(path)), "zstd")
    if start.startswith(_ZIP):
        return _only_member(path)
    return path.open("rb")


def _only_member(path: Path) -> IO[bytes]:
    archive = zipfile.ZipFile(path)
    members = [info for info in archive.infolist() if not info.is_dir() and "__MACOSX" not in info.filename]
    if any(info.filename == "[Content_Types].xml" for info in members):
        raise DataError(f"{path} is an Excel workbook: save the table as CSV")
    if len(members) != 1:
        raise DataError(f"{path} holds {len(members)} files: an archive of a table must hold that one table")
    return archive.open(members[0])


def _check_encoding(sample: bytes, path: Path) -> None:
    """Refuse what is UTF-16: its letters would be read with zeros between."""
    if sample[:2] in _UTF or b"\0" in sample[:SAMPLE]:
        raise DataError(
            f"{path} is UTF-16, or no text: write it as UTF-8, for instance by"
            f" `iconv -f UTF-16 -t UTF-8 {path.name}`"
        )


def _not_utf8(path: Path) -> DataError:
    """Say where a text stops being UTF-8, and what it may be."""
    offset = 0
    with _open(path) as file:
        for line in file:
            try:
                line.decode()
            except UnicodeDecodeError as error:
                near = slice(max(0, error.start - 12), error.end + 8)
                shown = line[near].decode("cp1252", "replace").strip()
                return DataError(
                    f"{path} is not UTF-8: byte 0x{line[error.start]:02X} at position"
                    f" {offset + error.start:,} (read as Latin-1 or Windows-1252: …{shown}…): write it as"
                    f" UTF-8, for instance by `iconv -f WINDOWS-1252 -t UTF-8 {path.name}`"
                )
            offset += len(line)
    return DataError(f"{path} is not UTF-8: write it as UTF-8")


def _skip_excel_line(sample: bytes) -> tuple[int, bytes]:
    """Pass over `sep=;`, by which Excel notes the separator: rows to skip, and the rest."""
    head, _, rest = sample.partition(b"\n")
    is_note = re.fullmatch(rb"(\xef\xbb\xbf)?sep=.\r?", head) is not None
    return (1, rest) if is_note else (0, sample)


def _header(sample: bytes, wanted: Sequence[str], path: Path) -> tuple[str, tuple[str, ...]]:
    """The separator, and the names of the columns: the reading that has most of what is wanted."""
    try:
        text = sample.decode("utf-8-sig", "strict" if len(sample) < SAMPLE else "ignore")
    except UnicodeDecodeError:
        text = sample.decode("utf-8-sig", "replace")

    def read(separator: str) -> tuple[str, ...]:
        rows: Iterator[list[str]] = csv.reader(io.StringIO(text), delimiter=separator)
        return tuple(next((row for row in rows if any(cell.strip() for cell in row)), []))

    csv.field_size_limit(2**31 - 1)
    try:
        readings = {separator: read(separator) for separator in SEPARATORS}
    except csv.Error as error:
        raise DataError(f"can't read the header of {path}: {error}") from error
    best = max(
        readings,
        key=lambda separator: (
            sum(normal_name(n) in wanted for n in readings[separator]),
            len(readings[separator]),
        ),
    )
    return best, readings[best]
