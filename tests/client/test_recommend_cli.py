"""`visrec recommend`, as far as it goes without a server."""

from __future__ import annotations

import gzip
import socket
import sys

import numpy as np
import pytest
from PIL import Image

from visrec_cli.main import main
from visrec_client.cli import as_table, read_titles
from visrec_client.errors import InvalidRequest
from visrec_client.ranking import RankedItem

ITEMS = [RankedItem("kettle-1", 0.5), RankedItem("mug", 0.25)]


def test_titles_from_csv(tmp_path) -> None:
    path = tmp_path / "items.csv"
    path.write_text(
        'item_id,image,title\nmug,m.png,"Mug, blue"\nkettle-1,k.png,Kettle\nbare,b.png\n', "utf-8-sig"
    )
    assert read_titles(path) == {"mug": "Mug, blue", "kettle-1": "Kettle", "bare": ""}


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("name", ["items.csv", "items.tsv", "items.csv.gz", "ITEMS.CSV"])
def test_titles_from_other_spellings_of_csv(separator: str, name: str, tmp_path) -> None:
    path = tmp_path / name
    text = separator.join(["item_id", "title", "more"]) + "\r\n" + separator.join(["7", '"a\n""b"""', "c"])
    data = text.encode("utf-8-sig")
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    assert read_titles(path) == {"7": 'a\n"b"'}


def test_cells_of_megabytes_are_read(tmp_path) -> None:
    path = tmp_path / "items.csv"
    path.write_text(f"item_id,description,title\nmug,{'x' * 3_000_000},Mug\n")
    assert read_titles(path) == {"mug": "Mug"}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("item_id,title\nmug,Große\n".encode("latin-1"), "not UTF-8 .*0xdf.*Latin-1.*save it as UTF-8"),
        ("item_id,title\nmug,Mug\n".encode("utf-16"), "it is UTF-16: save it as UTF-8"),
        (b"", "no column item_id and no column title"),
        (b"id,title\n", "no column item_id"),
    ],
)
def test_what_cannot_be_read_says_why(data: bytes, message: str, tmp_path) -> None:
    path = tmp_path / "items.csv"
    path.write_bytes(data)
    with pytest.raises(InvalidRequest, match=message):
        read_titles(path)


def test_a_broken_archive_is_told(tmp_path) -> None:
    path = tmp_path / "items.csv.gz"
    for data in (b"no archive", gzip.compress(b"item_id,title\n" * 9999)[:30]):
        path.write_bytes(data)
        with pytest.raises(InvalidRequest, match="cannot be read as CSV"):
            read_titles(path)


def test_titles_from_parquet(tmp_path) -> None:
    pyarrow = pytest.importorskip("pyarrow", exc_type=ImportError)
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "items.parquet"
    parquet.write_table(pyarrow.table({"item_id": ["mug"], "title": ["Mug"]}), path)
    assert read_titles(path) == {"mug": "Mug"}
    (tmp_path / "parts.parquet").mkdir()  # as Spark writes it
    path.rename(tmp_path / "parts.parquet" / "part-0.parquet")
    assert read_titles(tmp_path / "parts.parquet") == {"mug": "Mug"}
    parquet.write_table(pyarrow.table({"item_id": ["mug"]}), path)
    with pytest.raises(InvalidRequest, match="no column title"):
        read_titles(path)
    path.write_text("no parquet")
    with pytest.raises(InvalidRequest, match="cannot be read as Parquet"):
        read_titles(path)


def test_parquet_without_pyarrow_says_what_to_do(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "items.parquet").touch()
    with pytest.raises(InvalidRequest, match=r"needs pyarrow .*give a \.csv"):
        read_titles(tmp_path / "items.parquet")


def test_the_table_is_aligned() -> None:
    assert as_table(ITEMS, {"mug": "Mug, blue"}).splitlines() == [
        "rank  item_id   title         score",
        "   1  kettle-1             0.500000",
        "   2  mug       Mug, blue  0.250000",
    ]
    assert as_table(ITEMS, {}).splitlines()[1] == "   1  kettle-1  0.500000"


def test_titles_cannot_steer_the_terminal() -> None:
    table = as_table([RankedItem("a\x1b[2J", 0.5)], {"a\x1b[2J": "line\nbreak"})
    assert "\x1b" not in table
    assert len(table.splitlines()) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--items", "absent.csv"], "there is no file 'absent.csv'"),
        (["--items", "untitled.csv"], "'untitled.csv' has no column title"),
        (["--items", "binary.csv"], "'binary.csv' cannot be read as CSV"),
        (["--attention", "map.png"], "give the picture with --image"),
        (["--image", "p.png", "--attention", "map.jpg"], "must end in .png"),
        (["--image", "p.png", "--attention", "absent/map.png"], "a folder that exists"),
        (["--k", "0"], "k is 0"),
        (["--timeout", "-1"], "timeout is -1"),
        (["--url", "http://localhost:8000"], "host:port"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_code_1(
    words: list[str], message: str, tmp_path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "untitled.csv").write_text("item_id,image\nmug,m.png\n")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    assert main(["recommend", *words]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("visrec: error: ")
    assert message in printed.err
    assert printed.err.count("\n") == 1


def test_an_absent_server_is_one_line_and_leaves_no_file(tmp_path, capsys) -> None:
    picture = tmp_path / "picture.png"
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(picture)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    words = ["--url", address, "--image", str(picture), "--attention", str(tmp_path / "map.png")]
    assert main(["recommend", *words]) == 1
    assert f"no server answers at {address}" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [picture]


def test_help_suffices(capsys) -> None:
    with pytest.raises(SystemExit) as leave:
        main(["recommend", "--help"])
    assert leave.value.code == 0
    text = capsys.readouterr().out
    for option in (
        "--url",
        "--image",
        "--history",
        "--text",
        "--k",
        "--items",
        "--json",
        "--attention",
        "--timeout",
    ):
        assert option in text
