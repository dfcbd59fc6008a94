"""`visrec recommend`: ask a running server from the command line."""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import os
import sys
import zlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from visrec_client.errors import InvalidRequest, VisrecError
from visrec_client.overlay import overlay
from visrec_client.picture import load_picture
from visrec_client.ranking import RankedItem
from visrec_client.recommender import Recommender
from visrec_client.request import Recommendation
from visrec_client.security import TLS

OVERLAY_SIZE = 448
LARGEST_CELL = 2**31 - 1
"""Bytes; by default Python's csv reads no cell above 128 KiB, such as a long description may be."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line of `visrec recommend`."""
    parser.add_argument("--url", default="localhost:8001", help="host:port of the server's gRPC")
    parser.add_argument("--image", metavar="FILE", help="picture that the person looks at")
    parser.add_argument(
        "--history",
        action="append",
        metavar="ID[,ID...]",
        help="items chosen before, oldest first, separated by commas; may be repeated. They are not returned",
    )
    parser.add_argument("--text", metavar="TEXT", help="what the person typed, in any language")
    parser.add_argument("--k", type=int, default=10, help="how many items to return at most")
    parser.add_argument(
        "--items",
        metavar="FILE",
        help="print titles from this items.csv with columns item_id and title (or .parquet, with pyarrow)",
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="print JSON, with the attention map and how much of the text was understood, not a table",
    )
    parser.add_argument(
        "--attention", metavar="FILE.png", help="save the picture here with its attention map laid over it"
    )
    parser.add_argument("--timeout", type=float, default=5.0, help="seconds to wait for the answer")
    parser.add_argument(
        "--request-id", default="", metavar="ID", help="goes with the request to Triton's log"
    )
    parser.add_argument(
        "--api-key-file",
        type=Path,
        metavar="FILE",
        help="holds the server's API key; without it, the environment's VISREC_API_KEY",
    )
    parser.add_argument(
        "--ca", metavar="FILE", help="PEM of who signed the server's certificate; turns TLS on"
    )
    parser.add_argument("--certificate", metavar="FILE", help="PEM to show where TLS is mutual")
    parser.add_argument("--private-key", metavar="FILE", help="PEM of that certificate's key")


def run(args: argparse.Namespace) -> int:
    """Ask, and print the answer.

    Raises:
        VisrecError: the arguments cannot be used, or there is no answer.
    """
    attention_file = _attention_file(args.attention, args.image)
    titles = read_titles(Path(args.items)) if args.items else {}
    history = [item_id for part in args.history or () for item_id in part.split(",") if item_id]
    tls = TLS(ca=args.ca, certificate=args.certificate, key=args.private_key)
    with Recommender(
        args.url, timeout=args.timeout, tls=tls if args.ca else None, api_key=_api_key(args.api_key_file)
    ) as recommender:
        answer = recommender.recommend(
            args.image, history, args.text or "", args.k, request_id=args.request_id
        )
    if answer.unknown_history:
        print(f"not in the catalogue: {', '.join(map(_printable, answer.unknown_history))}", file=sys.stderr)
    if note := _understanding(answer, is_empty=not (args.image or history or args.text)):
        print(note, file=sys.stderr)
    if attention_file is not None and answer.attention is not None:
        _save(overlay(load_picture(args.image, OVERLAY_SIZE), answer.attention), attention_file)
    if args.json:
        print(_as_json(answer, titles))
    else:
        print(as_table(answer.items, titles) if answer.items else "No items are left to recommend.")
    return 0


def _api_key(file: Path | None) -> str | None:
    if file is None:
        return os.environ.get("VISREC_API_KEY")
    try:
        return file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"--api-key-file: '{file}' cannot be read: {error}") from error


def read_titles(path: Path) -> dict[str, str]:
    """Read item id to title from an items.csv, also compressed (.csv.gz), or items.parquet.

    Raises:
        InvalidRequest: the file is missing, cannot be read, or lacks a column.
    """
    if not path.exists():
        raise InvalidRequest(f"--items: there is no file '{path}'")
    rows = _parquet_rows(path) if path.suffix.lower() in (".parquet", ".pq") else _csv_rows(path)
    return {str(item_id): str(title or "") for item_id, title in rows}


def _csv_rows(path: Path) -> list[tuple[object, object]]:
    """Ids and titles; commas, semicolons or tabs stand between the columns."""
    csv.field_size_limit(LARGEST_CELL)
    opened = gzip.open if path.suffix.lower() == ".gz" else open
    try:
        with opened(path, "rt", newline="", encoding="utf-8-sig") as file:
            header = file.readline()
            file.seek(0)
            reader = csv.DictReader(file, delimiter=max(",;\t", key=header.count))
            _check_columns(path, reader.fieldnames or ())
            return [(row["item_id"], row["title"]) for row in reader]
    except UnicodeDecodeError as error:
        raise InvalidRequest(
            f"--items: '{path}' cannot be read as CSV: it is {_encoding(error)}: save it as UTF-8"
        ) from error
    except (OSError, EOFError, zlib.error, csv.Error) as error:
        raise InvalidRequest(f"--items: '{path}' cannot be read as CSV: {error}") from error


def _encoding(error: UnicodeDecodeError) -> str:
    if error.object.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "UTF-16"
    return f"not UTF-8 (it holds the byte 0x{error.object[error.start]:02x}), perhaps Latin-1 or Windows-1252"


def _parquet_rows(path: Path) -> list[tuple[object, object]]:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        raise InvalidRequest(f"--items: '{path}' needs pyarrow ({error}); or give a .csv") from error
    try:
        table = parquet.read_table(path)
        _check_columns(path, table.column_names)
        return list(zip(table["item_id"].to_pylist(), table["title"].to_pylist(), strict=True))
    except (OSError, ArrowException) as error:
        raise InvalidRequest(f"--items: '{path}' cannot be read as Parquet: {error}") from error


def _check_columns(path: Path, columns: Collection[str]) -> None:
    if lacking := [name for name in ("item_id", "title") if name not in columns]:
        raise InvalidRequest(f"--items: '{path}' has no column {' and no column '.join(lacking)}")


def as_table(items: Sequence[RankedItem], titles: Mapping[str, str]) -> str:
    """Lay out ranked items in aligned columns; the titles' column is left out where there are none."""
    rows = [("rank", "item_id", "title", "score")]
    for position, item in enumerate(items, start=1):
        title = _printable(titles.get(item.item_id, ""))
        rows.append((str(position), _printable(item.item_id), title, f"{item.score:.6f}"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for number, item_id, title, score in rows:
        cells = [number.rjust(widths[0]), item_id.ljust(widths[1])]
        cells += [title.ljust(widths[2])] if titles else []
        lines.append("  ".join([*cells, score.rjust(widths[3])]))
    return "\n".join(lines)


def _understanding(answer: Recommendation, *, is_empty: bool) -> str | None:
    """What to tell of a request that was not wholly understood; None if there is nothing to tell.

    Args:
        answer: what came back.
        is_empty: nothing was sent, so that popular items are what was asked for.
    """
    if answer.is_popular and not is_empty:
        return "nothing of the request is known: these are popular items"
    if answer.understood is not None and answer.understood < 1:
        return f"understood {min(round(100 * answer.understood), 99)}% of the text"
    return None


def _as_json(answer: Recommendation, titles: Mapping[str, str]) -> str:
    ranked = [
        {"rank": position, "item_id": item.item_id, "title": titles.get(item.item_id), "score": item.score}
        for position, item in enumerate(answer.items, start=1)
    ]
    fields = {
        "items": ranked,
        "attention": None if answer.attention is None else answer.attention.tolist(),
        "understood": answer.understood,
        "popular": answer.is_popular,
    }
    return json.dumps(fields, indent=2, ensure_ascii=False)


def _printable(text: str) -> str:
    """Text from elsewhere must not steer the terminal or break the table."""
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text
    )


def _attention_file(name: str | None, image: str | None) -> Path | None:
    """Where the overlay goes; refused before the server is asked."""
    if name is None:
        return None
    if image is None:
        raise InvalidRequest("--attention shows what in a picture decided: give the picture with --image")
    path = Path(name)
    if path.suffix.lower() != ".png" or not path.parent.is_dir():
        raise InvalidRequest(f"--attention: '{path}' must end in .png and lie in a folder that exists")
    return path


def _save(pixels: npt.NDArray[np.uint8], path: Path) -> None:
    beside = path.with_name(f".{path.name}.partial")
    try:
        try:
            Image.fromarray(pixels).save(beside, format="PNG")
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise VisrecError(f"'{path}' cannot be written: {error.strerror or error}") from error
