"""What pictures are worth: closed forms with pictures knocked out, and what the report says of them."""

import json

import numpy as np
import pytest
import torch

from visrec_training.checkpoint import Checkpoint
from visrec_training.knock_outs import KNOCK_OUTS
from visrec_training.metrics import query_metrics
from visrec_training.picture_worth import HISTORY, fit_closed_form, picture_worth, sentences
from visrec_training.retrieval import Modalities
from visrec_training.served import Served

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def closed_form(split_shop, cache, visrec, tmp_path_factory):
    """What training on the shop with a split writes before its first epoch."""
    out = tmp_path_factory.mktemp("closed")
    assert visrec("train", "--data", split_shop, "--cache", cache, "--out", out, "--epochs", 0) == 0
    return Checkpoint.load(out / "best.pt")


def test_shuffled_pictures_are_the_same_ones_elsewhere(prepared):
    shuffled, again = (KNOCK_OUTS["shuffled pictures"](prepared) for _ in range(2))
    now, before = shuffled.regions.values, prepared.regions.values
    moved = (now != before).any(axis=(1, 2))
    assert moved.mean() > 0.9
    assert np.sort(now[:, 0, 0]).tolist() == np.sort(before[:, 0, 0]).tolist()
    assert (now == again.regions.values).all()
    assert shuffled.dataset is prepared.dataset


def test_a_knock_out_takes_one_part_and_leaves_the_others(prepared):
    assert not KNOCK_OUTS["no pictures"](prepared).regions.values.any()
    assert prepared.regions.values.any(), "what it was given stays"
    wordless = KNOCK_OUTS["no words"](prepared)
    assert {wordless.dataset.catalogue.text(row).strip() for row in range(5)} == {""}
    assert wordless.regions is prepared.regions
    unknown = KNOCK_OUTS["no behaviour"](prepared)
    assert sum(map(len, unknown.split.train)) == 0
    assert unknown.split.test is prepared.split.test


def test_what_is_fitted_is_what_training_starts_from(prepared, closed_form):
    model = closed_form.model()
    saved = Served.load(closed_form, model, prepared, CPU)
    fitted = fit_closed_form(prepared, model.encoder, closed_form, CPU)
    section = prepared.split.sections()["cold alone"]
    assert (fitted.rank(section, HISTORY).rows == saved.rank(section, HISTORY).rows).all()


def test_where_pictures_are_all_that_is_known_of_new_items_they_are_worth_it(prepared, closed_form):
    wordless = KNOCK_OUTS["no words"](prepared)
    table = picture_worth(wordless, closed_form.model().encoder, closed_form, CPU)
    for row in ("new items, history: no pictures", "new items, history: shuffled pictures"):
        assert 0 < table[row]["low"] <= table[row]["lost"] <= table[row]["high"]
    assert table["new items, history: pictures"]["lost"] == 0
    assert sentences(table)[0].startswith("Pictures lift new items' NDCG@10 by ")


def test_each_row_is_measured_on_the_same_questions(prepared, closed_form):
    model = closed_form.model()
    intact = Served.load(closed_form, model, prepared, CPU)
    table = picture_worth(prepared, model.encoder, closed_form, CPU, intact)
    for items, name in (("new items", "cold alone"), ("known items", "warm")):
        section = prepared.split.sections()[name]
        ranked = intact.rank(section, Modalities(history=True)).rows
        reached = query_metrics(ranked, section.queries.targets)["ndcg@10"].mean()
        with_pictures = table[f"{items}, history: pictures"]["ndcg@10"]
        without = table[f"{items}, history: no pictures"]
        assert with_pictures == pytest.approx(reached)
        assert without["lost"] == pytest.approx(with_pictures - without["ndcg@10"])


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ((0.2, 0.02, 0.01, 0.03), "Pictures lift new items' NDCG@10 by 10.0% (+5.0% to +15.0%)"),
        (
            (0.2, 0.02, -0.01, 0.03),
            "Pictures lift new items' NDCG@10 by 10.0% (-5.0% to +15.0%), which may be chance",
        ),
        ((0.2, -0.02, -0.03, 0.01), "Pictures do not help new items: NDCG@10 -10.0% (-15.0% to +5.0%)"),
        ((0.2, 0.0, 0.0, 0.0), "Pictures make no difference to new items"),
        ((0.0, 0.1, 0.05, 0.15), "Without pictures, no new items are found"),
        ((0.0, 0.0, 0.0, 0.0), "Pictures do not help new items"),
    ],
)
def test_a_sentence_says_what_they_are_worth(row, said):
    columns = dict(zip(("ndcg@10", "lost", "low", "high"), row, strict=True))
    assert sentences({"new items, history: no pictures": columns}) == [said]


def test_where_people_look_at_pictures_both_kinds_of_questions_are_asked(
    run, small_shop, cache, visrec, tmp_path, capsys
):
    words = ("--data", small_shop, "--cache", cache, "--checkpoint", run / "best.pt", "--random-backbone")
    assert visrec("evaluate", *words, "--out", tmp_path / "evaluation.json") == 0
    report = json.loads((tmp_path / "evaluation.json").read_text())
    assert set(report["pictures"]) == {
        f"{items}, {sent}: {seen}"
        for items in ("new items", "known items")
        for sent in ("history", "picture")
        for seen in ("pictures", "shuffled pictures", "no pictures", "random backbone")
    }
    lost = {name: row["lost"] for name, row in report["pictures"].items()}
    assert lost["new items, picture: no pictures"] > 0
    assert lost["new items, picture: random backbone"] != 0
    assert "Pictures " in " ".join(report["worth of pictures"])
    assert "worth of pictures: Pictures" in capsys.readouterr().out
