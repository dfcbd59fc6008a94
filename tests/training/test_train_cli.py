"""`visrec train` and `visrec evaluate`: the same seed gives the same weights, stopped or not."""

import itertools
import json
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from visrec_training.checkpoint import Checkpoint
from visrec_training.errors import CheckpointError
from visrec_training.train import Trainer


def weights(path):
    return Checkpoint.load(path).state


def same(first, second):
    return all(torch.equal(value, second[name]) for name, value in first.items())


def test_training_gets_better_than_it_began(run):
    figures = Checkpoint.load(run / "last.pt").progress["history"]
    assert figures[-1]["loss"] < figures[0]["loss"]
    assert (run / "tensorboard").is_dir()


def test_a_run_goes_on_as_if_it_was_never_killed_nor_stopped(
    run, small_shop, cache, visrec, tmp_path, monkeypatch, capsys
):
    """Killed once the closed form was fitted, and stopped in the third epoch: neither is done again."""
    out = tmp_path / "killed"
    words = ("train", "--data", small_shop, "--cache", cache, "--out", out, "--epochs", 6)
    process = subprocess.Popen([sys.executable, "-m", "visrec_cli.main", *map(str, words)])
    while not (out / "stages" / "closed form.pt").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert not (out / "last.pt").exists()
    whole, epochs = Trainer._epoch, []

    def never(*_):
        raise AssertionError

    def stop_in_the_third(trainer):
        epochs.append(1)
        if len(epochs) == 3:
            raise KeyboardInterrupt
        return whole(trainer)

    monkeypatch.setattr("visrec_training.live_items.fit_closed_form", never)
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_epoch", stop_in_the_third)
        assert visrec(*words, "--resume") == 130
    assert "go on with --resume" in capsys.readouterr().out
    assert Checkpoint.load(out / "best.pt").model() is not None
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_start", never)
        assert visrec(*words, "--resume") == 0
    assert same(weights(run / "last.pt"), weights(out / "last.pt"))
    assert same(weights(run / "best.pt"), weights(out / "best.pt"))
    assert not (out / "stages").exists()


def test_where_items_are_many_each_stage_of_the_closed_form_is_kept(
    small_shop, cache, visrec, tmp_path, monkeypatch
):
    """Stopped after what takes longest there: it is not done again, and the result is the same."""

    def stop(*_):
        raise KeyboardInterrupt

    def never(*_):
        raise AssertionError

    words = ("train", "--data", small_shop, "--cache", cache, "--epochs", 0, "--set", "train.dense_items=50")
    assert visrec(*words, "--out", tmp_path / "whole") == 0
    with monkeypatch.context() as patch:
        patch.setattr("visrec_training.closed_form.learn_places", stop)
        assert visrec(*words, "--out", tmp_path / "stopped") == 130
    for name in ("_strengths", "fit_local_weights", "fit_local_transitions"):
        monkeypatch.setattr(f"visrec_training.item_weights.{name}", never)
    assert visrec(*words, "--out", tmp_path / "stopped", "--resume") == 0
    whole, stopped = (weights(tmp_path / name / "best.pt") for name in ("whole", "stopped"))
    assert same(whole, stopped)


def test_what_was_fitted_to_other_data_is_fitted_anew(
    small_shop, cache, visrec, tmp_path, monkeypatch, capsys
):
    def stop(_):
        raise KeyboardInterrupt

    words = ("train", "--data", small_shop, "--cache", cache, "--out", tmp_path, "--epochs", 0)
    monkeypatch.setattr("visrec_training.tuning.Tuning.before_training", stop)
    assert visrec(*words) == 130
    monkeypatch.undo()
    assert visrec(*words, "--seed", 5, "--resume") == 0
    assert "is not used: it was made from other data" in capsys.readouterr().err


def test_another_seed_gives_other_weights(run, small_shop, cache, visrec, tmp_path):
    words = ("--data", small_shop, "--cache", cache, "--out", tmp_path, "--epochs", 0, "--seed", 1)
    assert visrec("train", *words) == 0
    assert not same(weights(run / "closed_form.pt"), weights(tmp_path / "closed_form.pt"))


def test_resuming_something_else_is_refused(run, small_shop, cache, visrec, tmp_path, capsys):
    shutil.copytree(run, tmp_path / "run")
    words = ("--data", small_shop, "--cache", cache, "--out", tmp_path / "run", "--epochs", 9, "--resume")
    assert visrec("train", *words) == 1
    assert "another training configuration" in capsys.readouterr().err


def test_going_on_with_other_interactions_is_refused(run, small_shop, cache, visrec, tmp_path, capsys):
    import pyarrow.parquet as pq

    shutil.copytree(run, tmp_path / "run")
    shop = shutil.copytree(small_shop, tmp_path / "shop")
    table = pq.read_table(shop / "interactions.parquet")
    pq.write_table(table.slice(0, table.num_rows // 2), shop / "interactions.parquet")
    words = ("--data", shop, "--cache", cache, "--out", tmp_path / "run", "--epochs", 6, "--resume")
    assert visrec("train", *words) == 1
    assert "other data" in capsys.readouterr().err


def test_people_who_did_one_thing_each_teach_what_is_popular(small_shop, cache, visrec, tmp_path, capsys):
    """Nothing follows anything: the rest is learned from content, and evaluation says what it can."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    shop = shutil.copytree(small_shop, tmp_path / "shop")
    ids = pq.read_table(shop / "items.parquet")["item_id"].to_pylist()
    chosen = [*ids, *ids[:30] * 5]
    people = [f"person {number}" for number in range(len(chosen))]
    once = {"user_id": people, "item_id": chosen, "timestamp": list(range(len(chosen)))}
    pq.write_table(pa.table(once), shop / "interactions.parquet")
    words = ("--data", shop, "--cache", cache)
    assert visrec("train", *words, "--out", tmp_path, "--epochs", 2) == 0
    assert "interactions say what is popular" in capsys.readouterr().err
    checkpoint = Checkpoint.load(tmp_path / "best.pt")
    rows = [checkpoint.item_ids.index(item_id) for item_id in ids]
    learned = checkpoint.items.vectors[rows, -1]
    held_out = checkpoint.state["item_tower.id.weight"][rows].abs().amax(1) == 0
    popular, others = learned[:30][~held_out[:30]], learned[30:][~held_out[30:]]
    assert popular.min() > others.max()
    figures = tmp_path / "evaluation.json"
    assert visrec("evaluate", *words, "--checkpoint", tmp_path / "best.pt", "--out", figures) == 0
    report = json.loads(figures.read_text())
    assert "warm" not in report
    assert "warm, because nobody liked 4 or more" in report["not measured"][0]


def test_a_handful_of_pictures_without_categories_is_enough(small_shop, cache, visrec, tmp_path):
    (tmp_path / "few").mkdir()
    for path in sorted((small_shop / "pictures").glob("*.png"))[:6]:
        shutil.copy(path, tmp_path / "few")
    words = ("--pictures", tmp_path / "few", "--cache", cache)
    assert visrec("train", *words, "--out", tmp_path, "--epochs", 2) == 0
    assert visrec("evaluate", *words, "--checkpoint", tmp_path / "best.pt") == 0


def test_broken_pictures_are_told_and_listed_in_the_report(small_shop, cache, visrec, tmp_path, capsys):
    shop = shutil.copytree(small_shop, tmp_path / "shop")
    broken = sorted((shop / "pictures").glob("*.png"))[7]
    broken.write_bytes(broken.read_bytes()[:300])
    words = ("--data", shop, "--cache", cache)
    assert visrec("train", *words, "--out", tmp_path, "--epochs", 0) == 0
    assert f"1 broken or missing pictures: picture '{broken}'" in capsys.readouterr().err
    figures = tmp_path / "evaluation.json"
    assert visrec("evaluate", *words, "--checkpoint", tmp_path / "best.pt", "--out", figures) == 0
    (listed,) = json.loads(figures.read_text())["broken pictures"]
    assert str(broken) in listed


def test_items_nobody_met_are_not_held_for_negatives(small_shop, cache, visrec, tmp_path):
    """With nothing held out, a new item's id part stays what it was: nothing."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    shop = shutil.copytree(small_shop, tmp_path / "shop")
    table = pq.read_table(shop / "interactions.parquet")
    ids = pq.read_table(shop / "items.parquet")["item_id"].to_pylist()
    new = ids[10]
    pq.write_table(table.filter(pc.field("item_id") != new), shop / "interactions.parquet")
    words = ("--data", shop, "--cache", cache, "--out", tmp_path, "--epochs", 2, "--cold-share", 0)
    assert visrec("train", *words) == 0
    taught = weights(tmp_path / "last.pt")["item_tower.id.weight"]
    row = Checkpoint.load(tmp_path / "best.pt").item_ids.index
    assert taught[row(new)].abs().max() == 0
    assert taught[row(ids[11])].abs().max() > 0


def test_the_last_blocks_of_the_backbone_are_trained_for_real(small_shop, cache, visrec, tmp_path, run):
    words = ("--data", small_shop, "--cache", cache, "--out", tmp_path, "--epochs", 1)
    fast = ("--finetune-blocks", 1, "--batch", 1024)
    assert visrec("train", *words, *fast) == 0
    frozen, tuned = weights(run / "best.pt"), weights(tmp_path / "last.pt")
    changed = {
        name for name, value in tuned.items() if "backbone" in name and not torch.equal(value, frozen[name])
    }
    assert changed
    assert all(".blocks.6.0." in name for name in changed)


def test_pictures_alone_are_enough(small_shop, cache, visrec, tmp_path):
    from visrec_demo.catalogue import read_items

    for item_id, item in list(read_items(small_shop).items())[:60]:
        folder = tmp_path / "pictures" / item.category
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(item.picture, folder / f"{item_id}.png")
    words = ("--pictures", tmp_path / "pictures", "--cache", cache)
    assert visrec("train", *words, "--out", tmp_path, "--epochs", 8) == 0
    figures = tmp_path / "evaluation.json"
    assert visrec("evaluate", *words, "--checkpoint", tmp_path / "best.pt", "--out", figures) == 0
    report = json.loads(figures.read_text())
    assert report["picture alone"]["ratio"] > 1.5
    assert "warm" not in report


def test_evaluation_tells_each_modality_next_to_popularity_and_chance(
    run, small_shop, cache, visrec, tmp_path, capsys
):
    words = ("--data", small_shop, "--cache", cache, "--checkpoint", run / "best.pt")
    assert visrec("evaluate", *words, "--out", tmp_path / "evaluation.json") == 0
    report = json.loads((tmp_path / "evaluation.json").read_text())
    assert {"history", "picture", "picture + history", "words", "popularity", "random"} <= set(report["warm"])
    assert {"item-kNN", "EASE", "centroid of both"} <= set(report["warm"])
    metrics = {f"{m}@{k}" for m in ("recall", "ndcg", "mrr") for k in (10, 20)}
    assert set(report["warm"]["history"]) == metrics | {"ndcg@10 interval", "recall@20 interval"}
    assert report["warm"]["picture + history"]["ndcg@10"] > report["warm"]["popularity"]["ndcg@10"]
    assert report["cold"]["picture + history"]["recall@20"] > report["cold"]["random"]["recall@20"]
    for section, metric in itertools.product(("warm", "cold alone", "cold"), ("ndcg@10", "recall@20")):
        for row in report[section].values():
            low, high = row[f"{metric} interval"]
            assert low - 1e-9 <= row[metric] <= high + 1e-9
    for ratio in report["ratios"].values():
        assert 0 < ratio["low"] <= ratio["ratio"] <= ratio["high"]
    ours = report["warm"]["picture + history"]
    half = np.diff(ours["ndcg@10 interval"])[0] / 2
    assert f"{ours['ndcg@10']:.4f} ±{half:.4f}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("train", "--data", "nowhere"), "no data folder at nowhere"),
        (("train", "--pictures", "nowhere"), "no folder of pictures at nowhere"),
        (("train", "--pictures", ".", "--epochs", -1), "epochs is -1"),
        (("evaluate", "--data", "nowhere", "--checkpoint", "none.pt"), "no checkpoint at none.pt"),
    ],
)
def test_errors_are_one_line(visrec, capsys, words, said):
    assert visrec(*words) == 1
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_a_damaged_checkpoint_is_refused(run, tmp_path):
    whole = (run / "best.pt").read_bytes()
    (tmp_path / "cut.pt").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.pt").write_text("not a checkpoint")
    for name in ("cut.pt", "text.pt"):
        with pytest.raises(CheckpointError, match="damaged"):
            Checkpoint.load(tmp_path / name)
