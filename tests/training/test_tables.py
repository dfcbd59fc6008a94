"""Tables as people have them: what is read, and what is refused with a line that says what to do."""

import csv
import random
import re
import uuid

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from visrec_training import tables
from visrec_training.columns import ids, key, numbers, texts, times
from visrec_training.data import read_dataset
from visrec_training.errors import DataError
from visrec_training.table_files import find_tables
from visrec_training.tables import read_table

ITEMS = "item_id,image,title\n" + "".join(f"{n},{n}.png,thing {n}\n" for n in range(8))
INTERACTIONS = "user_id,item_id,timestamp\n" + "".join(f"u{n % 3},{n % 8},{n}\n" for n in range(20))


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "items.csv").write_text(ITEMS)
    (tmp_path / "interactions.csv").write_text(INTERACTIONS)
    return tmp_path


def column(values, kind=None):
    return pa.chunked_array([pa.array(values, kind)])


def read(folder, name, required, optional=()):
    return read_table(find_tables(folder)[0][name], required, optional)


# which files


def test_a_folder_of_part_files_is_a_table(folder):
    whole = read_dataset(folder)
    table = pa.csv.read_csv(folder / "interactions.csv")
    (folder / "interactions.csv").unlink()
    for number in range(4):
        place = folder / "interactions.parquet" / f"day=2026-01-0{number + 1}"
        place.mkdir(parents=True)
        pq.write_table(table.slice(5 * number, 5), place / "part-0.snappy.parquet")
    (folder / "interactions.parquet" / "_SUCCESS").touch()
    parts = read_dataset(folder)
    assert parts.interactions.items.tolist() == whole.interactions.items.tolist()
    assert parts.interaction_rows.source == "interactions.parquet/ (4 files)"


def test_what_a_path_says_is_a_column(folder):
    (folder / "interactions.csv").unlink()
    for part, row in (("train", "ann,1"), ("test", "ann,2"), ("cold", "bob,3")):
        place = folder / "interactions" / f"split={part}"
        place.mkdir(parents=True)
        (place / "0.csv").write_text(f"user_id,item_id\n{row}\n")
    done = read_dataset(folder).interactions
    assert done.parts.tolist() == [0, 2, 3]


def test_pictures_in_a_folder_of_the_name_of_a_table_are_no_table(folder):
    (folder / "items").mkdir()
    (folder / "items" / "1.png").touch()
    assert len(read_dataset(folder).catalogue) == 8


@pytest.mark.parametrize(
    ("present", "said"),
    [
        ("items.parquet", "holds items.csv and items.parquet: which are the items?"),
        ("ITEMS.CSV.GZ", "holds ITEMS.CSV.GZ and items.csv: which are the items?"),
        ("interactions", "holds interactions/ and interactions.csv"),
    ],
)
def test_two_candidates_for_one_table_are_refused(folder, present, said):
    if present == "interactions":
        (folder / present).mkdir()
        (folder / present / "part-0.csv").write_text(INTERACTIONS)
    else:
        (folder / present).write_text(ITEMS)
    with pytest.raises(DataError, match=re.escape(said)):
        read_dataset(folder)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("interaction.csv", "no table of interactions, but interaction.csv: rename it to interactions.csv"),
        ("interactions_2026.csv.gz", "rename it to interactions.csv.gz"),
        ("my-interactions.parquet", "rename it to interactions.parquet"),
        ("interactions.xlsx", "write the interactions as Parquet or CSV"),
        ("interactions.csv.bak", "write the interactions as Parquet or CSV"),
        ("events.csv", "has the columns user_id and item_id, but only a table named interactions is read"),
    ],
)
def test_interactions_under_another_name_are_not_passed_over(folder, name, said):
    (folder / "interactions.csv").rename(folder / name)
    with pytest.raises(DataError, match=re.escape(said)):
        read_dataset(folder)


def test_other_tables_are_named(folder):
    (folder / "stores.csv").write_text("store,city\n1,Bern\n")
    (folder / "interactions_old.parquet").touch()
    (folder / "README.txt").write_text("our shop")
    (warning,) = read_dataset(folder).warnings
    assert warning == ("not read: interactions_old.parquet, stores.csv (only items and interactions)")


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (("_delta_log/0.json", "part-0.parquet"), "is a table of Delta Lake, whose files hold old rows"),
        (("_temporary/0/part-0.parquet",), "is still being written, or its job failed"),
        (("_SUCCESS",), "holds no part files"),
        (("part-0.parquet", "part-1.csv"), "leave one kind there"),
    ],
)
def test_a_folder_that_is_not_one_current_table_is_refused(folder, made, said):
    (folder / "interactions.csv").unlink()
    for name in made:
        path = folder / "interactions.parquet" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    with pytest.raises(DataError, match=said):
        read_dataset(folder)


# how they are written


def test_line_breaks_and_cells_larger_than_a_block_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "BLOCK", 2**14)
    with (tmp_path / "items.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["item_id", "image", "title", "description"])
        for number in range(100):
            writer.writerow(
                [number, f"{number}.png", f"t{number}", "one line\n" * (15 if number else 20_000)]
            )
    assert read(tmp_path, "items", ["item_id", "title"]).rows == 100


def test_only_columns_that_are_used_have_to_be_readable(tmp_path):
    content = b"item_id,image,title,notes\n1,1.png,cup,caf\xe9\n"
    (tmp_path / "items.csv").write_bytes(content)
    table = read(tmp_path, "items", ["item_id", "title"])
    assert table.unused == ("image", "notes")
    with pytest.raises(DataError, match=r"not UTF-8: byte 0xE9 at position 41 .*caf"):
        read(tmp_path, "items", ["item_id", "notes"])


def test_quotes_escaped_by_a_backslash_are_read(tmp_path):
    (tmp_path / "items.csv").write_text('item_id,title\n1,"15\\" screen, black"\n2,plain\n')
    assert texts(read(tmp_path, "items", ["title"]).columns["title"], "title") == (
        '15" screen, black',
        "plain",
    )


def test_rows_with_another_number_of_cells_are_counted(folder):
    rows = INTERACTIONS.replace("u1,1,1\n", "u1,1,1,extra\n").replace("u2,2,2\n", "u2,2\n")
    (folder / "interactions.csv").write_text(rows)
    tally = read_dataset(folder).interaction_rows
    assert (tally.read, tally.used) == (20, 18)
    assert tally.dropped == {"with too few or too many cells": 2}


def test_columns_may_be_spelt_in_capitals_and_with_spaces(folder):
    (folder / "items.csv").write_text(
        ITEMS.replace("item_id,image,title", ' "Item_ID" , IMAGE,Title'.strip())
    )
    assert len(read_dataset(folder).catalogue) == 8


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (ITEMS.encode("utf-16"), "is UTF-16"),
        (ITEMS.encode("utf-16-le"), "is UTF-16, or no text"),
        (b"PK\x03\x04 broken", "can't read"),
        (b"PAR1 broken", "can't read"),
        (b"\x1f\x8b broken", "can't read"),
        (b"item_id,image\n1,1.png\n", "lacks the column title; it has item_id, image"),
        (b'item_id,image,title\n"1,1.png,cup\n2,2.png,mug\n', "can't read|no rows|line breaks"),
    ],
)
def test_what_is_no_table_is_refused_in_one_line(folder, content, said):
    (folder / "items.csv").write_bytes(content)
    with pytest.raises(DataError, match=said) as error:
        read_dataset(folder)
    assert "\n" not in str(error.value)


# what columns hold


def test_seven_is_seven_whatever_wrote_it():
    assert key("7") == key("7.0") == key("7.00") != key("007")
    for values, kind in (
        ([7, None], None),
        ([7.0, None], None),
        (["7.0", None], None),
        ([" 7 ", "NULL"], None),
        ([b"7", None], None),
        (["7", None], pa.string_view()),
        (["7", None], pa.large_string()),
    ):
        assert ids(column(values, kind), "x").values == ("7",)
    assert ids(column(["7.0", "7", "007"]), "x").values == ("7.0", "7", "007"), "as they are spelt"


@pytest.mark.parametrize(
    "spelling",
    [None, "", " ", "\u00a0", "NULL", "null", "NaN", "nan", "NA", "N/A", "None", "<NA>", "\\N", "NaT"],
)
def test_a_missing_id_is_missing_in_every_spelling(spelling):
    assert ids(column(["a", spelling]), "x").codes.tolist() == [0, -1]


def test_uuids_lists_and_dictionaries_are_text():
    known = uuid.UUID(int=2**100 + 7)
    stored = pa.array([known.bytes, None], pa.binary(16))
    as_uuid = pa.chunked_array([pa.ExtensionArray.from_storage(pa.uuid(), stored)])
    assert ids(as_uuid, "x").values == (str(known),)
    assert texts(column([["a", None, "b"], None], pa.large_list(pa.large_string())), "x") == ("a  b", "")
    assert texts(column(["a", "b", "a"]).dictionary_encode(), "x") == ("a", "b", "a")


@pytest.mark.parametrize(
    ("values", "kind", "said"),
    [
        ([True], None, "truth values"),
        ([1e17], None, "above 2^53"),
        ([b"\xff"], None, "no text"),
        ([{"a": 1}], None, "no text"),
        (["ann\nbob,1,2"], None, "a quote that is not closed"),
    ],
)
def test_what_is_no_id_is_refused(values, kind, said):
    with pytest.raises(DataError, match=re.escape(said)):
        ids(column(values, kind), "user_id")


@pytest.mark.parametrize(
    "values",
    [
        ["2026-03-01T00:07:00Z", "2026-03-01T00:07:01Z"],
        ["2026-03-01T02:07:00+02:00", "2026-02-28T18:37:01-05:30"],
        ["2026-03-01 00:07", "2026-03-01 00:07:00.000000001"],
        ["2026-02-28", "2026-03-01T00:07:00.123456789"],
        ["1772323620", "1772323621"],
        ["1772323620123456788", "1772323620123456789"],
        ["1.5e9", "1.6e9"],
        [" 5 ", "6.0"],
        [1772323620, 1772323621],
    ],
)
def test_times_are_in_order_however_they_are_written(values):
    read = times(column([values[1], None, values[0]]), "timestamp")
    assert read.known.tolist() == [True, False, True]
    assert read.values[2] < read.values[0]


def test_times_with_offsets_are_compared_as_moments():
    one = times(column(["2026-03-01T02:07:00+02:00", "2026-03-01T00:07:00Z", "2026-03-01 00:07:00"]), "t")
    assert len(set(one.values.tolist())) == 1


def test_numbers_and_dates_in_one_column_are_refused():
    with pytest.raises(DataError, match="some of timestamp are numbers and others dates"):
        times(column(["2026-03-01", "1772323620"]), "timestamp")


def test_numbers_are_numbers_and_nothing_else_is():
    read = numbers(column(["1", " +2.5 ", "-3e2", "0x10", "1,5", "", None], pa.large_string()))
    assert read[:3].tolist() == [1, 2.5, -300]
    assert all(value != value for value in read[3:])


# who is who


def test_ids_of_interactions_meet_those_of_items_in_another_type(folder):
    items = {"item_id": [7, 8], "image": ["a.png", "b.png"], "title": ["x", "y"]}
    (folder / "items.csv").unlink()
    pq.write_table(pa.table(items), folder / "items.parquet")
    (folder / "interactions.csv").write_text("user_id,item_id,timestamp\nann,7.0,1\nann , 8 ,2\n")
    dataset = read_dataset(folder)
    assert dataset.interactions.items.tolist() == [0, 1]
    assert dataset.interactions.user_count == 1
    assert dataset.interaction_rows.dropped == {}


def test_leading_zeros_survive_and_what_lacks_them_is_another_item(folder):
    (folder / "items.csv").write_text("item_id,image,title\n007,a.png,x\n8,b.png,y\n")
    (folder / "interactions.csv").write_text("user_id,item_id,timestamp\nann,7,1\nann,8,2\nann,007,3\n")
    dataset = read_dataset(folder)
    assert dataset.catalogue.item_ids == ("007", "8")
    assert dataset.interaction_rows.dropped == {"with 1 item_ids that no item has: 7": 1}


def test_users_that_are_merged_are_counted(folder):
    rows = "user_id,item_id,timestamp\n7,1,1\n7.0,2,2\ncafé,3,3\ncafe\u0301,4,4\nx,5,5\n"
    (folder / "interactions.csv").write_text(rows)
    dataset = read_dataset(folder)
    assert dataset.interactions.user_count == 3
    assert any("2 spellings of user_id were merged" in line for line in dataset.warnings)


def test_every_row_is_used_or_counted_under_one_reason(folder):
    rng = random.Random(0)
    rows = [
        ",".join(
            (
                rng.choice(["ann", "bob", "", "NULL"]),
                rng.choice(["1", "2.0", "ghost", ""]),
                rng.choice(["1", "2026-13-45", ""]),
                rng.choice(["1", "0", "", "true"]),
            )
        )
        for _ in range(200)
    ]
    (folder / "interactions.csv").write_text("user_id,item_id,timestamp,liked\n" + "\n".join(rows))
    (folder / "items.csv").write_text(ITEMS + ",,\n")
    from visrec_training.account import LossLimits

    tally = read_dataset(folder, LossLimits(items=1, interactions=1)).interaction_rows
    assert tally.read == 200 == tally.used + sum(tally.dropped.values())
    assert len(tally.dropped) == 5


def test_items_that_repeat_exactly_are_read_once(folder):
    (folder / "items.csv").write_text(ITEMS + ITEMS.splitlines()[1] + "\n")
    from visrec_training.account import LossLimits

    dataset = read_dataset(folder, LossLimits(items=0.2))
    assert len(dataset.catalogue) == 8
    assert dataset.item_rows.dropped == {"that repeat another": 1}


def test_pictures_named_on_windows_or_on_a_mac_are_found(folder):
    (folder / "pictures").mkdir()
    (folder / "pictures" / "cafe\u0301.png").touch()
    (folder / "items.csv").write_text("item_id,image,title\n1,pictures\\café.png,x\n")
    (folder / "interactions.csv").unlink()
    assert read_dataset(folder).catalogue.images[0].exists()
