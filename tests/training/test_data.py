"""The data contract: what is accepted, what is repaired with a warning, and what is refused."""

import numpy as np
import pytest

from visrec_training.account import LossLimits
from visrec_training.data import read_dataset, read_pictures
from visrec_training.errors import DataError
from visrec_training.interactions import PARTS

ITEMS = """item_id,image,title,category
007,a.png,Red teapot,kitchen
b,b.png,Blue cup,
c,c.png,Oak chair,furniture
"""
INTERACTIONS = """user_id,item_id,timestamp
ann,c,30
bob,b,5
ann,007,10
ann,b,20
"""


def sequences(dataset):
    interactions = dataset.interactions
    return [items.tolist() for items in interactions.by_user(interactions.liked)]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "items.csv").write_text(ITEMS)
    (tmp_path / "interactions.csv").write_text(INTERACTIONS)
    return tmp_path


def test_a_folder_is_read_and_sorted_by_user_and_time(folder):
    dataset = read_dataset(folder)
    assert dataset.catalogue.item_ids == ("007", "b", "c"), "an id is a string, whatever it looks like"
    assert dataset.catalogue.categories == ("kitchen", "", "furniture")
    assert sequences(dataset) == [[0, 1, 2], [1]]
    assert dataset.interactions.liked.all()
    assert dataset.interactions.parts is None
    assert dataset.warnings == ()


def test_interactions_may_be_missing(folder):
    (folder / "interactions.csv").unlink()
    assert read_dataset(folder).interactions is None


def test_times_may_be_dates(folder):
    dated = "user_id,item_id,timestamp\nann,b,2026-01-02\nann,c,2026-01-01\n"
    (folder / "interactions.csv").write_text(dated)
    assert read_dataset(folder).interactions.items.tolist() == [2, 1]


@pytest.mark.parametrize(("yes", "no"), [("1", "0"), ("true", "false")])
def test_what_was_not_liked_is_known_and_not_learned_from(folder, yes, no):
    rows = f"ann,c,30,{yes}\nbob,b,5,{no}\nann,007,10,{yes}\nann,b,20,{no}\n"
    (folder / "interactions.csv").write_text("user_id,item_id,timestamp,liked\n" + rows)
    dataset = read_dataset(folder)
    assert sequences(dataset) == [[0, 2], []], "a user each, whether they liked anything or not"
    assert dataset.interactions.liked.tolist() == [True, False, True, False]


def test_with_a_split_no_time_is_needed(folder):
    rows = "ann,c,train\nbob,b,test\nann,b,train\nann,007,cold\n"
    (folder / "interactions.csv").write_text("user_id,item_id,split\n" + rows)
    interactions = read_dataset(folder).interactions
    assert interactions.items.tolist() == [0, 1, 2, 1], "by user and item, whatever the order of the rows"
    assert [PARTS[part] for part in interactions.parts] == ["cold", "train", "train", "test"]
    assert not interactions.has_order


def test_parquet_is_read_like_csv(folder):
    import pyarrow as pa
    import pyarrow.parquet as pq

    (folder / "items.csv").unlink()
    columns = {"item_id": [7, 8], "image": ["a", "b"], "title": ["x", None]}
    pq.write_table(pa.table(columns), folder / "items.parquet")
    (folder / "interactions.csv").write_text("user_id,item_id,timestamp\nann,8,1\n")
    dataset = read_dataset(folder)
    assert dataset.catalogue.item_ids == ("7", "8")
    assert dataset.catalogue.titles == ("x", "")


def test_an_item_that_a_person_comes_back_to_counts_once(folder):
    with (folder / "interactions.csv").open("a") as file:
        file.write("ann,c,40\nann,007,50\n")
    assert sequences(read_dataset(folder))[0] == [0, 1, 2]


def test_lists_of_keywords_and_times_as_text_are_read(folder):
    import pyarrow as pa
    import pyarrow.parquet as pq

    items = {
        "item_id": ["a", "b"],
        "image": ["a", "b"],
        "title": ["", ""],
        "keywords": [["red", "tea"], None],
    }
    (folder / "items.csv").unlink()
    (folder / "interactions.csv").unlink()
    pq.write_table(pa.table(items), folder / "items.parquet")
    times = ["2026-01-02T10:00:00", "2026-01-01T10:00:00", None]
    done = {"user_id": ["ann"] * 3, "item_id": ["a", "b", "a"], "timestamp": times}
    pq.write_table(pa.table(done), folder / "interactions.parquet")
    dataset = read_dataset(folder)
    assert dataset.catalogue.keywords == ("red tea", "")
    assert dataset.interactions.items.tolist() == [1, 0]
    assert dataset.interaction_rows.dropped == {"without a timestamp that can be read (such as None)": 1}


def test_unknown_items_and_users_without_any_other_are_told_once_each(folder):
    with (folder / "interactions.csv").open("a") as file:
        file.writelines(f"eve,ghost-{number},1\n" for number in range(4))
    dataset = read_dataset(folder)
    assert dataset.account()[1] == (
        "interactions: 8 rows read from interactions.csv, 4 used;"
        " dropped: 4 with 4 item_ids that no item has: ghost-0, ghost-1, ghost-2, … (+1)"
    )
    assert dataset.warnings == ("1 users have no interaction that can be used",)


def test_losing_most_interactions_is_an_error(folder):
    with (folder / "interactions.csv").open("a") as file:
        file.writelines(f"eve,ghost-{number},1\n" for number in range(5))
    with pytest.raises(DataError, match=r"5 of 9 interactions .* at most 50% may be lost: .*--allow-losses"):
        read_dataset(folder)
    assert len(read_dataset(folder, LossLimits(interactions=0.6)).interactions) == 4


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("items.csv", "item_id,image\na,a.png\n", "lacks the column title"),
        (
            "items.csv",
            "item_id,image,title\na,a.png,x\na,b.png,y\n",
            "item ids that stand more than once, with different values: a",
        ),
        ("items.csv", "item_id,image,title\n", "no rows"),
        ("items.csv", "item_id,image,title,title\na,a.png,x,y\n", "two columns of one name"),
        ("interactions.csv", "user_id,timestamp\nann,1\n", "lacks the column item_id"),
        ("interactions.csv", "user_id,item_id\nann,b\n", "lack the column timestamp"),
        (
            "interactions.csv",
            "user_id,item_id,split\nann,b,later\nann,c,train\n",
            "split: later; allowed: tr",
        ),
        (
            "interactions.csv",
            "user_id,item_id,split\nann,b,cold\nbob,b,test\n",
            "cold in some and not in others: b",
        ),
        ("interactions.csv", "user_id,item_id,timestamp,liked\nann,b,1,5\n", "neither 0 nor 1: 5"),
        ("interactions.csv", "user_id,item_id,timestamp,liked\nann,b,1,yes\n", "liked is neither 0 nor 1"),
        ("interactions.csv", "user_id,item_id,timestamp\nann,b,yesterday\n", "timestamp"),
    ],
)
def test_what_breaks_the_contract_is_refused_in_one_line(folder, file, text, said):
    (folder / file).write_text(text)
    with pytest.raises(DataError) as error:
        read_dataset(folder)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(DataError, match="nowhere"):
        read_dataset(tmp_path / "nowhere")


def test_few_broken_pictures_are_left_out_with_their_interactions(folder):
    lines = [f"i{n},{n}.png,t,c\n" for n in range(200)]
    (folder / "items.csv").write_text("item_id,image,title,category\n" + "".join(lines))
    rows = "ann,i3,1,1,test\nann,i4,2,0,valid\n"
    (folder / "interactions.csv").write_text("user_id,item_id,timestamp,liked,split\n" + rows)
    whole = read_dataset(folder)
    dataset = whole.without_broken({whole.catalogue.item_ids.index("i3"): "3.png is truncated"})
    assert len(dataset.catalogue) == 199
    assert dataset.interactions.liked.tolist() == [False]
    assert [PARTS[part] for part in dataset.interactions.parts] == ["valid"]
    kept = [dataset.catalogue.item_ids[row] for row in dataset.interactions.items]
    assert kept == ["i4"]
    assert "3.png is truncated" in dataset.warnings[0]


def test_many_broken_pictures_are_an_error(folder):
    with pytest.raises(DataError, match="more than 1%"):
        read_dataset(folder).without_broken({0: "a.png is missing"})


def test_a_folder_of_pictures_is_a_catalogue(tmp_path):
    for name in ("cups/blue_cup.png", "cups/old-mug.jpg", "loose.webp", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    catalogue = read_pictures(tmp_path).catalogue
    assert catalogue.item_ids == ("cups/blue_cup.png", "cups/old-mug.jpg", "loose.webp")
    assert catalogue.titles == ("blue cup", "old mug", "loose")
    assert catalogue.categories == ("cups", "cups", "")


def test_a_folder_without_pictures_is_refused(tmp_path):
    with pytest.raises(DataError, match="no pictures"):
        read_pictures(tmp_path)


def test_rows_are_taken_in_the_order_asked_for(folder):
    assert read_dataset(folder).catalogue.take(np.asarray([2, 0])).item_ids == ("c", "007")
