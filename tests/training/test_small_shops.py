"""`visrec train` and `visrec evaluate` on shops as small and uniform as they come."""

import json

import pytest
import torch
from tiny_shops import SHOPS, each, everybody, write_shop

from visrec_training.checkpoint import Checkpoint
from visrec_training.objective import Objective
from visrec_training.retrieval import Typed
from visrec_training.train import Trainer


@pytest.fixture
def train(visrec, cache, tmp_path):
    """Trains on a shop for an epoch; gives the exit code."""

    def run(shop, *words):
        return visrec(
            "train", "--data", shop, "--cache", cache, "--out", tmp_path / "run", "--epochs", 1, *words
        )

    return run


@pytest.fixture
def evaluate(visrec, cache, tmp_path):
    """Evaluates what was trained; gives the report."""

    def run(shop):
        words = ("--checkpoint", tmp_path / "run" / "best.pt", "--out", tmp_path / "evaluation.json")
        assert visrec("evaluate", "--data", shop, "--cache", cache, *words) == 0
        return json.loads((tmp_path / "evaluation.json").read_text())

    return run


def figures(report):
    """All numbers of a report."""
    for value in report.values() if isinstance(report, dict) else report:
        if isinstance(value, dict | list):
            yield from figures(value)
        elif not isinstance(value, str):
            yield value


def ask(checkpoint, *, picture=False, history=()):
    """The best items by row and their scores, and where the model looked."""
    model, config = checkpoint.model(), checkpoint.model_config
    aspects = torch.zeros(1, config.aspects, config.aspect_dim)
    maps = torch.zeros(1, config.aspects, 49)
    rows = torch.tensor([[*history, *[-1] * (config.history - len(history))]])
    with torch.inference_mode():
        if picture:  # one that no picture of the shop is like
            noise = torch.randn(1, 49, model.encoder.dim, generator=torch.Generator().manual_seed(0))
            aspects, maps = model.attention(noise)
        nothing = Typed.nothing(1, model.text_space.width).tensors()
        ranked, scores, attention = checkpoint.fusion_scorer(model)(aspects, maps, rows, *nothing)
    return ranked[0], scores[0], attention[0]


def share_of(item, answer):
    """The score of an item in an answer."""
    ranked, scores, _ = answer
    return scores[ranked == item].item()


def check_answer(items, ranked, scores, attention):
    """Every item once, each with a share of one."""
    assert sorted(ranked[:items].tolist()) == list(range(items))
    assert torch.isfinite(scores).all() and torch.isfinite(attention).all()
    assert scores.sum().item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("name", SHOPS)
def test_the_smallest_and_the_most_uniform_shops_are_learned_from(train, evaluate, tmp_path, name):
    shop = write_shop(tmp_path / "shop", **SHOPS[name])
    # a half held out leaves the smallest with next to nothing
    assert train(shop, "--cold-share", 0.5 if len(name) % 2 else 0.1) == 0
    checkpoint = Checkpoint.load(tmp_path / "run" / "best.pt")
    for part, values in (*checkpoint.state.items(), *checkpoint.items._asdict().items()):
        assert torch.isfinite(values).all(), part
        if "backbone" not in part and values.is_floating_point() and values.numel():
            assert values.abs().max() < 100, part
    items = SHOPS[name]["items"]
    check_answer(items, *ask(checkpoint, picture=True, history=(0,)))
    report = evaluate(shop)
    assert all(torch.isfinite(torch.tensor(float(figure))) for figure in figures(report))
    assert all("because" in line for line in report.get("not measured", []))


def test_a_shop_with_nothing_to_learn_from_is_refused_before_training(train, tmp_path, capsys):
    shop = write_shop(tmp_path / "shop", 6, everybody(5, 6), split=("cold",))
    assert train(shop) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error == "visrec: error: every item is cold in the column split: nothing is left to learn from"
    assert not list((tmp_path / "run").glob("*.pt"))


def test_people_who_did_one_thing_each_say_what_is_popular(train, evaluate, tmp_path, capsys):
    chosen = [0, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2]
    shop = write_shop(tmp_path / "shop", 12, list(enumerate(chosen)), categories=("round", "square"))
    assert train(shop, "--cold-share", 0) == 0
    said = capsys.readouterr().err
    assert "nobody liked two or more of the items that are not held out" in said
    assert "nothing to validate on" not in said, "categories stand in for people"
    ranked, scores, _ = ask(Checkpoint.load(tmp_path / "run" / "best.pt"))
    assert ranked[0] == 2
    assert [row for row in ranked.tolist() if row in chosen] == [2, 1, 0]
    assert scores[0] > 1.2 * scores[1], "more than chance puts it there"


def test_what_is_popular_stays_so_however_long_training_goes_on(train, tmp_path):
    chosen = [item for item in range(6) for _ in range(4**item)]
    shop = write_shop(tmp_path / "shop", 12, list(enumerate(chosen)), categories=("round", "square"))
    assert train(shop, "--cold-share", 0, "--epochs", 5) == 0
    ranked, *_ = ask(Checkpoint.load(tmp_path / "run" / "last.pt"))
    assert ranked[:3].tolist() == [5, 4, 3]


def test_items_held_out_are_not_learned_from_where_content_is_all_there_is(train, tmp_path):
    """The two items that are not cold are the only ones that a softmax ranks, and neither is known by id."""
    shop = write_shop(tmp_path / "shop", 4, each(4, 1, items=4), split=("cold", "cold", "test", "test"))
    seen = []
    whole = Trainer.run

    def look(trainer):
        seen.append(trainer)
        return whole(trainer)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "run", look)
        assert train(shop) == 0
    (trainer,) = seen
    assert trainer.objective.negatives.tolist() == [False, False, True, True]
    assert not trainer.live.has_id.any()
    (batch,) = trainer.examples.batches(trainer.config, 0, 100)
    assert set(batch.targets.unique().tolist()) == {2, 3}


@pytest.mark.parametrize("count", [2, 3])
def test_people_who_did_two_or_three_things_are_learned_from_with_nothing_to_validate_on(
    train, evaluate, tmp_path, capsys, count
):
    done = [(user, 3 * (user % 2) + step) for user in range(10) for step in range(count)]
    shop = write_shop(tmp_path / "shop", 6, done)
    assert train(shop, "--cold-share", 0) == 0
    said = [line for line in capsys.readouterr().err.splitlines() if "visrec: warning" in line]
    assert said == [
        "visrec: warning: nothing to validate on: nobody liked 4 or more of the items that are not held out;"
        " training stops by its own loss"
    ]
    checkpoint = Checkpoint.load(tmp_path / "run" / "best.pt")
    (epoch,) = checkpoint.progress["history"]
    assert set(epoch) == {"loss"}, "a loss is not passed off as a validation metric"
    answer = ask(checkpoint, history=(0,))
    assert share_of(1, answer) > share_of(4, answer), "who did 0 did 1 as well"
    report = evaluate(shop)
    assert "warm" not in report
    assert report["not measured"][:2] == [
        "warm, because nobody liked 4 or more of the items that are not held out",
        "cold, because no items were held out",
    ]


def test_training_that_has_run_wild_ends_with_a_reason(train, tmp_path, monkeypatch, capsys):
    whole = Objective.loss
    monkeypatch.setattr(Objective, "loss", lambda objective, batch: whole(objective, batch) * torch.nan)
    assert train(write_shop(tmp_path / "shop", 6, each(7, 4))) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("visrec: error: the training loss is nan in epoch 1")
    assert "--learning-rate" in error


def test_an_evaluation_that_cannot_be_kept_beside_its_checkpoint_is_still_told(
    train, evaluate, tmp_path, capsys
):
    shop = write_shop(tmp_path / "shop", **SHOPS["two categories and nobody"])
    assert train(shop) == 0
    (tmp_path / "run" / "evaluation.json").mkdir()
    assert evaluate(shop)["items"] == 12
    assert "a release of this checkpoint won't tell its quality" in capsys.readouterr().err
