"""Columns of tables by what they hold: text, ids, times and flags, whatever types they are stored in.

Pandas, Spark, SQL dumps and spreadsheets write the same column as integers, floats, decimals, dictionaries,
UUIDs or text. Every column becomes text first; numbers and times are read from that text. Distinct values are
looked at once, so that the cost in Python grows with the number of ids and not with the number of rows.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from visrec_training.errors import DataError

MISSING = frozenset({"", "null", "nan", "na", "n/a", "#n/a", "none", "nil", "<na>", "nat", "\\n"})
"""Spellings of a missing value, whatever their case: those of pandas, Spark, SQL, R and spreadsheets."""
NUMBER, TIME = "number", "time"
_EXACT = 2**53  # above it, floating-point numbers skip integers
_EDGES = " \t\r\n\v\f\u00a0\u200b\u200e\u200f\u2060\u3000\ufeff"  # spaces, and marks that nobody sees
_WHOLE = re.compile(r"(-?\d+)\.0+")
_ISO = (
    r"^(?P<date>\d{4}-\d{2}-\d{2})"
    r"(?:[T ](?P<clock>\d{2}:\d{2})(?::(?P<second>\d{2})(?:[.,](?P<fraction>\d{1,9})\d*)?)?)?"
    r" ?(?P<zone>Z|z|UTC|GMT|[+-]\d{2}(?::?\d{2})?)?$"
)
_WHOLE_NUMBER = r"^[+-]?(\d{1,18}|[0-8]\d{18})(\.0*)?$"  # that int64 holds

Codes: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Ids:
    """A column of ids: distinct values, and which of them each row has."""

    values: tuple[str, ...]
    """Distinct ids as the table spells them, less spaces at their ends; 7 where all are written as 7.0."""
    codes: Codes
    """int64 [rows]: positions in `values`; -1 where the id is missing."""

    def keys(self) -> tuple[str, ...]:
        """What each of `values` is compared by."""
        return tuple(map(key, self.values))


def key(item_or_user: str) -> str:
    """What two spellings of an id have in common: "7" and "7.0" are one, "007" is another.

    A table with missing values often comes from a float column, where 7 was written as 7.0. Accents are
    compared in Unicode's composed form (NFC), which file systems and databases do not agree on.
    """
    whole = _WHOLE.fullmatch(item_or_user)
    return whole[1] if whole else unicodedata.normalize("NFC", item_or_user)


def ids(column: pa.ChunkedArray, name: str) -> Ids:
    """Read a column of ids.

    Args:
        column: of any type that can be text.
        name: the column's, for errors.

    Raises:
        DataError: it holds truth values, floating-point numbers too large to be told apart, or line breaks.
    """
    if pa.types.is_boolean(column.type):
        raise DataError(f"the column {name} holds truth values, which are no ids")
    if pa.types.is_floating(column.type) and column.type.bit_width < 64:
        column = pc.cast(column, pa.float64())
    if pa.types.is_floating(column.type):
        largest = pc.max(pc.abs(column.filter(pc.is_finite(column)))).as_py()
        if largest is not None and largest > _EXACT:
            raise DataError(
                f"the column {name} holds floating-point numbers above 2^53, such as {largest:.0f}, whose"
                " last digits are lost: write the ids as integers or as text"
            )
    encoded = as_text(column, name).dictionary_encode().combine_chunks()
    raw, codes = encoded.dictionary.to_pylist(), np.asarray(encoded.indices.fill_null(-1), dtype=np.int64)
    cleaned = [value.strip(_EDGES) for value in raw]
    if torn := [value for value in cleaned if "\n" in value or "\r" in value]:
        raise DataError(
            f"the column {name} holds line breaks, as after a quote that is not closed: {torn[0][:40]!r}"
        )
    known = [value for value in cleaned if value.casefold() not in MISSING]
    # only a float column writes all of them as 7.0
    spelt = key if known and all(map(_WHOLE.fullmatch, known)) else str
    values = tuple(dict.fromkeys(map(spelt, known)))
    place = {value: position for position, value in enumerate(values)}
    moved = np.asarray([*(place.get(spelt(value), -1) for value in cleaned), -1], dtype=np.int64)
    return Ids(values, moved[codes])


def texts(column: pa.ChunkedArray, name: str) -> tuple[str, ...]:
    """A column as text, less spaces at its ends; "" where it is missing."""
    encoded = as_text(column, name).dictionary_encode().combine_chunks()
    cleaned = [value.strip(_EDGES) for value in encoded.dictionary.to_pylist()]
    values = np.asarray(
        [*("" if value.casefold() in MISSING else value for value in cleaned), ""], dtype=object
    )
    return tuple(values[np.asarray(encoded.indices.fill_null(-1), dtype=np.int64)].tolist())


def as_text(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    """A column of any type as large strings; 7.0 in a column of numbers is "7", lists are joined by spaces.

    Raises:
        DataError: it holds something that is no text.
    """
    try:
        column = _plain(column)
        kind = column.type
        if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
            return pa.chunked_array([_joined(chunk) for chunk in column.chunks], pa.large_string())
        column = pc.cast(column, pa.large_string())
        if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
            column = pc.replace_substring_regex(column, pattern=r"^(-?[0-9]+)\.0+$", replacement=r"\1")
        return column
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise DataError(f"the column {name} holds {column.type}, which is no text: {_line(error)}") from error


def _joined(lists: pa.Array) -> pa.Array:
    """The words of each list with spaces between; without those that are null."""
    lists = pc.cast(lists, pa.large_list(pa.large_string()))
    words = pa.LargeListArray.from_arrays(lists.offsets, pc.fill_null(lists.values, ""), mask=lists.is_null())
    return pc.binary_join(words, pa.scalar(" ", pa.large_string()))


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column without the types that pyarrow's kernels do not take."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _plain(pc.cast(column, kind.value_type))
    if pa.types.is_run_end_encoded(kind):
        return _plain(
            pa.chunked_array([pc.run_end_decode(chunk) for chunk in column.chunks], kind.value_type)
        )
    if isinstance(kind, pa.BaseExtensionType):
        if kind.extension_name == "arrow.uuid":
            return pa.chunked_array(
                [[value and str(value) for value in column.to_pylist()]], pa.large_string()
            )
        stored = [chunk.storage for chunk in column.chunks]
        return _plain(pa.chunked_array(stored, kind.storage_type))
    if pa.types.is_floating(kind):
        column = pc.cast(column, pa.float64())
        column = pc.if_else(pc.is_finite(column), column, pa.scalar(None, pa.float64()))
        is_whole = pc.and_(pc.equal(pc.floor(column), column), pc.less_equal(pc.abs(column), float(_EXACT)))
        if pc.all(is_whole).as_py():  # None where nothing is there
            return pc.cast(column, pa.int64())
        return column
    if pa.types.is_null(kind):
        return pc.cast(column, pa.large_string())
    if str(kind).startswith(("list_view<", "large_list_view<")):
        return pa.chunked_array([column.to_pylist()], pa.large_list(pa.large_string()))
    return column


def numbers(text: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    """Numbers written as text, float64 [rows]; NaN where there is none."""
    values = pc.utf8_trim_whitespace(text)
    is_number = pc.match_substring_regex(values, r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$")
    values = pc.if_else(is_number, pc.utf8_ltrim(values, "+"), pa.scalar(None, values.type))
    return np.asarray(pc.fill_null(pc.cast(values, pa.float64()), np.nan), dtype=np.float64)


def flags(column: pa.ChunkedArray, name: str) -> npt.NDArray[np.float64]:
    """Truth values, float64 [rows]: 0 or 1, NaN where missing. 0, 1, 0.0, true and False are all taken.

    Raises:
        DataError: other values.
    """
    text = pc.utf8_lower(pc.utf8_trim_whitespace(as_text(column, name)))
    for word, digit in (("true", "1"), ("false", "0")):
        text = pc.if_else(pc.equal(text, word), pa.scalar(digit, text.type), text)
    values = numbers(text)
    is_known = np.isin(values, (0, 1)) | _is_missing(text)
    if not is_known.all():
        wrong = pc.unique(text.filter(pa.array(~is_known))).to_pylist()
        raise DataError(f"interactions: {name} is neither 0 nor 1: {', '.join(wrong[:3])}")
    return values


@dataclass(frozen=True, slots=True)
class Times:
    """When things happened, in numbers that sort as the times do."""

    values: npt.NDArray[Any]
    """int64 or float64 [rows]; nanoseconds where they are times of a calendar."""
    known: npt.NDArray[np.bool_]
    """bool [rows]: whether there is a time that can be read."""
    kind: str
    """`NUMBER` or `TIME`."""


def times(column: pa.ChunkedArray, name: str) -> Times:
    """Read times: numbers, dates, times, or either as text (ISO 8601, with any offset; without one, UTC).

    Raises:
        DataError: some are numbers and others dates, so that they can't be compared.
    """
    column = _plain(column)
    if pa.types.is_integer(column.type):
        return Times(np.asarray(pc.fill_null(column, 0)), np.asarray(pc.is_valid(column)), NUMBER)
    if pa.types.is_date(column.type) or pa.types.is_timestamp(column.type):
        moments = pc.cast(pc.cast(column, pa.timestamp("ns"), safe=False), pa.int64())
        return Times(np.asarray(pc.fill_null(moments, 0)), np.asarray(pc.is_valid(column)), TIME)
    text = pc.utf8_trim_whitespace(as_text(column, name))
    values = numbers(text)
    is_number = np.isfinite(values)
    moments, is_moment = _iso(text.combine_chunks())
    if is_number.any() and is_moment.any():
        raise DataError(f"interactions: some of {name} are numbers and others dates: write all in one form")
    if is_moment.any():
        return Times(moments, is_moment, TIME)
    whole = pc.match_substring_regex(text, _WHOLE_NUMBER)
    if is_number.any() and bool((np.asarray(pc.fill_null(whole, False)) | ~is_number).all()):
        # integers that float64 would round, such as nanoseconds
        digits = pc.replace_substring_regex(text, pattern=r"^\+|\.0*$", replacement="")
        exact = pc.cast(pc.if_else(pc.fill_null(whole, False), digits, "0"), pa.int64())
        return Times(np.asarray(exact), is_number, NUMBER)
    return Times(np.where(is_number, values, 0), is_number, NUMBER)


def _iso(text: pa.Array) -> tuple[Codes, npt.NDArray[np.bool_]]:
    """Nanoseconds since 1970, int64 [rows], of ISO 8601 texts, and which could be read."""
    parts = pc.extract_regex(pc.cast(text, pa.string()), pattern=_ISO)
    clock, second = _or(parts, "clock", "00:00"), _or(parts, "second", "00")
    moments = pc.strptime(
        pc.binary_join_element_wise(pc.struct_field(parts, "date"), clock, second, " "),
        format="%Y-%m-%d %H:%M %S",
        unit="s",
        error_is_null=True,
    )
    seconds = np.asarray(pc.fill_null(pc.cast(moments, pa.int64()), 0))
    fraction = pc.utf8_rpad(pc.fill_null(_or(parts, "fraction", "0"), "0"), 9, "0")
    nanoseconds = np.asarray(pc.cast(fraction, pa.int64()))
    zone = pc.fill_null(pc.struct_field(parts, "zone"), "")
    return (seconds - _offsets(zone)) * 10**9 + nanoseconds, np.asarray(pc.is_valid(moments))


def _or(parts: pa.StructArray, field: str, default: str) -> pa.Array:
    """A field of a match, and `default` where it matched nothing."""
    found = pc.struct_field(parts, field)
    return pc.if_else(pc.equal(pc.binary_length(found), 0), default, found)


def _offsets(zone: pa.Array) -> Codes:
    """Seconds east of Greenwich, int64 [rows], of zones such as +02:00, -0530, Z or nothing."""
    encoded = zone.dictionary_encode()
    found = []
    for each in encoded.dictionary.to_pylist():
        digits = re.sub(r"\D", "", each)
        minutes = int(digits[:2]) * 60 + int(digits[2:] or 0) if digits else 0
        found.append(60 * (-minutes if each.startswith("-") else minutes))
    return np.asarray([*found, 0], dtype=np.int64)[np.asarray(encoded.indices, dtype=np.int64)]


def is_missing(column: pa.ChunkedArray, name: str) -> npt.NDArray[np.bool_]:
    """Which rows hold nothing, or a spelling of it: bool [rows]."""
    return _is_missing(as_text(column, name))


def _is_missing(text: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    lowered = pc.utf8_lower(pc.utf8_trim_whitespace(text))
    spelt = pc.is_in(lowered, pa.array(sorted(MISSING), lowered.type))
    return np.asarray(pc.or_(pc.is_null(text), pc.fill_null(spelt, True)), dtype=bool)


def _line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
