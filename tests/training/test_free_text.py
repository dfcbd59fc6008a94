"""What shops say of an item stands in columns of many names; free text is read, whatever it is called."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from visrec_training.account import LossLimits
from visrec_training.data import read_dataset
from visrec_training.free_text import is_free_text

HEADER = "item_id,image,title,"
DETAIL = ("Soft cotton with a round neck.", "Waterproof leather with a warm lining.")


def write(folder, *lines):
    (folder / "items.csv").write_bytes("\n".join(lines).encode("latin-1"))
    return read_dataset(folder, LossLimits(items=0.5))


def test_free_text_is_read_with_the_description(tmp_path):
    data = write(
        tmp_path,
        HEADER + "description,Detail,sku",
        f"1,1.png,shirt,New,{DETAIL[0]},A-1",
        f"2,2.png,boots,,{DETAIL[1]},A-2",
    )
    assert data.catalogue.descriptions == (f"New {DETAIL[0]}", DETAIL[1])
    assert "columns of items that are read with the description: detail" in data.warnings
    assert "columns of items that are not used: sku" in data.warnings


def test_lists_of_text_are_free_text_and_numbers_are_not(tmp_path):
    columns = {
        "item_id": ["1", "2"],
        "image": ["1.png", "2.png"],
        "title": ["shirt", "boots"],
        "features": [["dries fast", "no iron"], ["warm", "very light sole"]],
        "sizes": [[36, 38, 40], [41, 42, 43]],
    }
    pq.write_table(pa.table(columns), tmp_path / "items.parquet")
    data = read_dataset(tmp_path)
    assert data.catalogue.descriptions == ("dries fast no iron", "warm very light sole")
    assert "columns of items that are not used: sizes" in data.warnings


def test_a_column_that_is_not_utf8_is_passed_over_and_others_are_read(tmp_path):
    data = write(
        tmp_path,
        HEADER + "detail,notes",
        f"1,1.png,shirt,{DETAIL[0]},a caf\xe9 in the rain",
        f"2,2.png,boots,{DETAIL[1]},a walk in the park",
    )
    assert data.catalogue.descriptions == DETAIL
    assert "columns of items that are not used: notes" in data.warnings


def test_the_order_of_columns_and_of_repeated_rows_decides_nothing(tmp_path):
    lines = ("1,1.png,t,one two three,x y z w", "1,1.png,t,,x y z w", "2,2.png,u,four five six,")
    turned = ("2,2.png,u,,four five six", "1,1.png,t,x y z w,", "1,1.png,t,x y z w,one two three")
    first = write(tmp_path, HEADER + "a,b", *lines)
    again = write(tmp_path, HEADER + "b,a", *turned)
    assert first.catalogue == again.catalogue


@pytest.mark.parametrize(
    ("values", "free"),
    [
        (("Acme", "Other Corp"), False),
        (("https://shop.example/a/b c.png", "https://shop.example/d.png"), False),
        (("2024-01-02 10:00:00", "2024-01-03 11:00:00"), False),
        (("", ""), False),
        ((DETAIL[0], DETAIL[0]), False),
        ((DETAIL[0], ""), False),
        (("красное платье", "синие туфли"), False),
        (DETAIL, True),
        (("綿100%の柔らかいシャツです", "防水の革の靴です"), True),
        (("Мягкая хлопковая рубашка", "Тёплые кожаные ботинки"), True),
    ],
)
def test_free_text_is_told_from_names_paths_and_times(values, free):
    assert is_free_text(values) == free


@given(st.lists(st.text()))
def test_any_values_are_told_apart_without_an_error_and_in_any_order(values):
    assert is_free_text(values) == is_free_text(values[::-1])
