"""One shop, written in the ways in which people's tools write tables."""

import bz2
import csv
import gzip
import io
import lzma
import random
import zipfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

ITEMS, PEOPLE, EACH, NOBODY = 24, 16, 7, 3
START = 1_767_225_600

COMPRESSIONS = {
    "": lambda content: content,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda content: pa.Codec("zstd").compress(content, asbytes=True),
    ".zip": lambda content: zipped(content),
}
ID_TYPES = (
    "int",
    "float",
    "text",
    "text of floats",
    "decimal",
    "dictionary",
    "large",
    "view",
    "bytes",
    "spaces",
)
TIME_TYPES = (
    "int",
    "float",
    "text of numbers",
    "iso Z",
    "iso offset",
    "iso naive",
    "stamps",
    "stamps with zone",
)
LAYOUTS = ("file", "other case", "folder of parts", "bare folder of parts", "hive")
MISSING = (None, "", "NULL", "NaN", "None", "  ", "N/A", "<NA>")


@dataclass(frozen=True)
class Spelling:
    """How the tables are written."""

    format: str
    layout: str
    separator: str
    compression: str
    bom: bool
    line_end: str
    quoted: bool
    ids: str
    times: str
    missing: str | None
    seed: int
    """Of the order of rows and columns."""


def zipped(content):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("table.csv", content)
    return file.getvalue()


def write_shop(folder, spelling):
    """Write items, interactions and pictures."""
    rng = random.Random(spelling.seed)
    draw_pictures(folder / "pictures")
    for name, table in (("items", items(spelling)), ("interactions", interactions(spelling))):
        rows = rng.sample(range(len(table["item_id"])), len(table["item_id"]))
        columns = rng.sample(list(table), len(table))
        shuffled = {column: [table[column][row] for row in rows] for column in columns}
        write_table(folder, name, shuffled, spelling)


def draw_pictures(folder):
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(ITEMS):
        Image.fromarray(rng.integers(0, 255, (24, 24, 3), dtype=np.uint8)).save(folder / f"{number}.png")


def items(spelling):
    none = spelling.missing
    return {
        "item_id": [as_id(number + 1, spelling.ids) for number in range(ITEMS)],
        "image": [f"pictures/{number}.png" for number in range(ITEMS)],
        "title": [f'Nr. {number}, "rot"\nÉté 红苹果; tasse' if number else none for number in range(ITEMS)],
        "category": [none if number % 5 == 0 else f"kind {number % 3}" for number in range(ITEMS)],
        "keywords": [none if number % 2 else "tea, pot" for number in range(ITEMS)],
        "price": ["9,99"] * ITEMS,
    }


def interactions(spelling):
    rng = random.Random(1)
    rows = []
    for person in range(PEOPLE):
        for place, item in enumerate(rng.sample(range(ITEMS), EACH)):
            # some moments are shared: the order of rows must not decide between them
            rows.append((as_id(100 + person, spelling.ids), item, START + 60 * (place // 2)))
    rows += [(spelling.missing, item, START) for item in range(NOBODY)]
    users, found, times = zip(*rows, strict=True)
    return {
        "user_id": list(users),
        "item_id": [as_id(item + 1, spelling.ids) for item in found],
        "timestamp": [as_time(second, spelling.times) for second in times],
        "shop": ["web"] * len(rows),
    }


def as_id(number, kind):
    if kind in ("int", "dictionary", "large", "view", "bytes", "text"):
        return number if kind == "int" else str(number)
    return {"float": float(number), "text of floats": f"{number}.0", "decimal": Decimal(number)}.get(
        kind, f" {number}\u00a0"
    )


def as_time(second, kind):
    moment = datetime.fromtimestamp(second, UTC)
    return {
        "int": second,
        "float": float(second),
        "text of numbers": str(second),
        "iso Z": moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "iso offset": moment.astimezone(timezone(timedelta(hours=-5, minutes=-30))).isoformat(),
        "iso naive": moment.strftime("%Y-%m-%d %H:%M:%S.000000000"),
        "stamps": moment.replace(tzinfo=None),
        "stamps with zone": moment,
    }[kind]


def write_table(folder, name, table, spelling):
    suffix = ".parquet" if spelling.format == "parquet" else f".csv{spelling.compression}"
    whole = len(next(iter(table.values())))
    if spelling.layout in ("file", "other case"):
        shown = name.upper() if spelling.layout == "other case" else name
        (folder / f"{shown}{suffix}").write_bytes(encode(table, spelling))
        return
    root = folder / (name if spelling.layout == "bare folder of parts" else f"{name}{suffix}")
    for number, (start, end) in enumerate(((0, whole // 3), (whole // 3, whole))):
        place = root / f"year={2025 + number}" if spelling.layout == "hive" else root
        place.mkdir(parents=True, exist_ok=True)
        part = {column: values[start:end] for column, values in table.items()}
        (place / f"part-{number:05d}{suffix}").write_bytes(encode(part, spelling))
        (place / f".part-{number:05d}{suffix}.crc").write_bytes(b"crc\0")
    (root / "_SUCCESS").touch()


def encode(table, spelling):
    return parquet(table, spelling) if spelling.format == "parquet" else text(table, spelling)


def parquet(table, spelling):
    columns = {}
    for name, values in table.items():
        column = pa.array(
            values if "_id" not in name else [none_if_missing(value, spelling) for value in values]
        )
        if name.endswith("_id") and spelling.ids in ("dictionary", "large", "view", "bytes"):
            kinds = {"large": pa.large_string(), "view": pa.string_view(), "bytes": pa.binary()}
            kind = kinds.get(spelling.ids)
            column = column.dictionary_encode() if kind is None else column.cast(kind)
        columns[name] = column
    file = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), file)
    return file.getvalue().to_pybytes()


def none_if_missing(value, spelling):
    """Columns of numbers have no other spelling of a missing value."""
    return None if value == spelling.missing and spelling.ids not in ("text", "large", "view") else value


def text(table, spelling):
    file = io.StringIO()
    if spelling.separator == ";":
        file.write(f"sep=;{spelling.line_end}")
    writer = csv.writer(
        file,
        delimiter=spelling.separator,
        lineterminator=spelling.line_end,
        quoting=csv.QUOTE_ALL if spelling.quoted else csv.QUOTE_MINIMAL,
    )
    writer.writerow(table)
    writer.writerows(zip(*table.values(), strict=True))
    content = file.getvalue().encode("utf-8-sig" if spelling.bom else "utf-8")
    return COMPRESSIONS[spelling.compression](content)
