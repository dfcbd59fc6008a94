"""What `visrec train` and `visrec evaluate` say of the data, and which data they refuse."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from visrec_training.checkpoint import Checkpoint
from visrec_training.config import ModelConfig
from visrec_training.item_texts import load_text_graph
from visrec_training.rows import Ragged
from visrec_training.vocabulary import ItemTokens, Vocabulary


@pytest.fixture
def shop(small_shop, tmp_path):
    return shutil.copytree(small_shop, tmp_path / "shop")


def rewrite(shop, name, change):
    path = shop / f"{name}.parquet"
    pq.write_table(change(pq.read_table(path)), path)


def test_a_summary_is_printed_and_kept_in_the_checkpoint(shop, cache, visrec, tmp_path, capsys):
    def lose_some(table):
        users = np.asarray(table["user_id"].to_pylist(), dtype=object)
        users[:7] = "NULL"
        return table.set_column(0, "user_id", pa.array(users.tolist()))

    rewrite(shop, "interactions", lambda table: lose_some(table.select(["user_id", "item_id", "timestamp"])))
    words = ("train", "--data", shop, "--cache", cache, "--out", tmp_path / "run", "--epochs", 1)
    assert visrec(*words) == 0
    said = capsys.readouterr().out
    assert "dropped: 7 without a user_id" in said
    assert "users, " in said and " to train on and " in said and " items with interactions, " in said
    summary = Checkpoint.load(tmp_path / "run" / "best.pt").summary
    rows = summary["interactions"]
    assert rows["rows read"] == rows["rows used"] + 7
    assert rows["rows dropped"] == {"without a user_id": 7}


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("items", lambda table: table.take(np.arange(table.num_rows)[::-1]), None),
        ("interactions", lambda table: table.take(np.arange(table.num_rows)[::-1]), None),
        (
            "items",
            lambda table: table.set_column(
                table.column_names.index("title"), "title", pa.array(["x"] * table.num_rows)
            ),
            "titles",
        ),
        ("interactions", lambda table: table.slice(40), "interactions, split"),
    ],
    ids=["items in another order", "interactions in another order", "other titles", "fewer interactions"],
)
def test_a_checkpoint_is_measured_on_its_own_data_alone(
    run, shop, cache, visrec, tmp_path, capsys, name, change, said
):
    rewrite(shop, name, change)
    words = ("--data", shop, "--cache", cache, "--checkpoint", run / "best.pt", "--out", tmp_path / "f.json")
    assert visrec("evaluate", *words) == (0 if said is None else 1)
    if said is None:
        assert json.loads((tmp_path / "f.json").read_text())["queries"]["warm"]
    else:
        assert f"trained on other data (what differs: {said})" in capsys.readouterr().err


def test_a_long_title_does_not_displace_keywords_and_category():
    title = " ".join(f"word{number:03d}" for number in range(400))
    fields = (title, "teapot", "kitchen")

    def hashes(*texts):
        return [row[row != 0] for row in load_text_graph("none")(texts).tokens]

    items = ItemTokens(Ragged.of(hashes(*fields, "other", "", "")), len(fields))
    vocabulary = Vocabulary.learn(items)
    length = ModelConfig().item_words
    rows, cut = vocabulary.encode(items, length)
    assert cut == 1, "what does not fit is counted"
    assert rows.shape == (2, length)
    for word in ("teapot", "kitchen", "word000", "word200"):
        assert set(vocabulary.known(hashes(word)[0])[:1]) <= set(rows[0].tolist()), word


@pytest.mark.parametrize("home", [None, "/", "/nowhere"])
def test_training_needs_no_home(small_shop, cache, tmp_path, home):
    """Without one, the cache is kept for this run alone, and a line says so."""
    environment = {
        name: value for name, value in os.environ.items() if name not in ("HOME", "XDG_CACHE_HOME")
    }
    if home is not None:
        environment["HOME"] = home
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for path in sorted((small_shop / "pictures").glob("*.png"))[:3]:
        shutil.copy(path, pictures)
    program = (
        "import os, pwd, sys\n"
        "pwd.getpwuid = lambda uid: (_ for _ in ()).throw(KeyError(uid))\n"  # a user without an entry
        "os.access = lambda *_, **__: False\n"
        "import tempfile, pathlib\n"
        "whole = pathlib.Path.mkdir\n"
        "def mkdir(path, *words, **options):\n"
        "    if '.cache' in str(path): raise PermissionError(13, 'Permission denied')\n"
        "    return whole(path, *words, **options)\n"
        "pathlib.Path.mkdir = mkdir\n"
        "from visrec_cli.main import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    words = ["train", "--pictures", str(pictures), "--out", str(tmp_path / "run"), "--epochs", "1"]
    words += ["--text-encoder", "none"]
    done = subprocess.run(
        [sys.executable, "-c", program, *words], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert "the cache is kept for this run only: give a folder with --cache" in done.stderr
