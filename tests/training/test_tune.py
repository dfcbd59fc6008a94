"""`visrec tune`: a search over settings that starts from the given ones, and goes on where it was stopped."""

import math
import tomllib
from contextlib import suppress
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState
from tiny_shops import each, write_shop

from visrec_training import hyper_search
from visrec_training.checkpoint import Checkpoint
from visrec_training.config import ConfigError, ModelConfig, TrainConfig
from visrec_training.config_file import NAMES, make_configs
from visrec_training.errors import DataError
from visrec_training.hyper_search import FIGURES, Search, Start, Workshop
from visrec_training.search_space import check_space, default_space, describe, read_space, start_of, to_values
from visrec_training.train import Progress, Trainer

SPACE = ("--search", "train.content_ridge=0.5..20:log", "--search", "model.regression_dim=4..64")
CLOSED_FORM = ("--text-encoder", "none", "--epochs", 0)


class Killed(BaseException):
    """Ends a search as SIGKILL does: nothing is tidied up."""


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    return write_shop(tmp_path_factory.mktemp("tune") / "shop", 12, each(20, 6, 12))


@pytest.fixture(scope="module")
def tune(shop, cache, visrec):
    """Searches a tiny shop; gives the exit code."""
    return lambda out, *words: visrec("tune", "--data", shop, "--cache", cache, "--out", out, *words)


@pytest.fixture(scope="module")
def searched(tune, tmp_path_factory):
    """The out folder of a search of four trials that ran to its end."""
    out = tmp_path_factory.mktemp("searched")
    assert tune(out, *CLOSED_FORM, *SPACE, "--trials", 4) == 0
    return out


def search(out):
    """What a folder holds, opened with the arguments that made it."""
    model, train = make_configs({"model.text_encoder": "none", "train.epochs": 0})
    return Search(out, read_space(None, SPACE[1::2]), Start(model, train, "pretrained"))


def tried(out):
    """Settings and figures of all trials that ended, in their order."""
    return [(trial.params, trial.user_attrs[FIGURES]) for trial in search(out).ended]


def test_the_first_trial_is_what_the_search_starts_from(searched):
    parameters, _ = tried(searched)[0]
    assert parameters == {"train.content_ridge": 3.0, "model.regression_dim": 48}


def test_the_best_is_on_no_validation_worse_than_the_start(searched):
    (_, first), *others = tried(searched)
    as_good = [figures for _, figures in others if all(figures[name] >= first[name] for name in first)]
    best = search(searched).best.user_attrs[FIGURES]
    assert best in [first, *as_good]
    assert sum(best.values()) == max(sum(figures.values()) for figures in [first, *as_good])


def test_the_best_settings_train_the_model_that_was_found(searched, shop, cache, visrec, tmp_path):
    words = ("--data", shop, "--cache", cache, "--config", searched / "best.toml", "--out", tmp_path)
    assert visrec("train", *words) == 0
    figures = Checkpoint.load(tmp_path / "best.pt").progress["closed_form"]
    assert figures == search(searched).best.user_attrs[FIGURES]


def test_the_report_is_one_page_that_loads_nothing(searched):
    page = (searched / "report.html").read_text()
    assert "PED-ANOVA" in page
    assert "content_ridge" in page
    assert "<script src" not in page
    assert "<link" not in page


def test_only_what_is_kept_stays_in_the_folder(searched):
    assert {path.name for path in searched.iterdir()} == {
        "best.toml",
        "report.html",
        "study.db",
        "study.lock",
    }


def test_a_killed_search_goes_on_to_what_an_uninterrupted_one_finds(searched, tune, tmp_path, monkeypatch):
    whole = Workshop.train
    for ended in (0, 2):  # within the first trial, and then within the third

        def killed(workshop, model, train, watch, ended=ended):
            if len(search(tmp_path).ended) == ended:
                raise Killed
            return whole(workshop, model, train, watch)

        monkeypatch.setattr(Workshop, "train", killed)
        with pytest.raises(Killed):
            tune(tmp_path, *CLOSED_FORM, *SPACE, "--trials", 4)
    monkeypatch.undo()
    assert tune(tmp_path, *CLOSED_FORM, *SPACE, "--trials", 4) == 0
    assert tried(tmp_path) == tried(searched)
    assert (tmp_path / "best.toml").read_text() == (searched / "best.toml").read_text()


class Shop:
    """Trains in no time, and is killed now and then; what a configuration reaches follows from it alone."""

    data: ClassVar = {"items": "none"}

    def __init__(self, killed_at=()):
        self.begun, self.killed_at = 0, killed_at

    def train(self, model, train, watch):
        self.begun += 1
        known = 1 / (1 + abs(math.log(train.content_ridge)))
        new = 1 - model.regression_dim / 100
        progress = Progress(best=(known + new) / 2, closed_form={"known": known, "new": new})
        watch(progress)
        if self.begun in self.killed_at:
            raise Killed
        progress.epoch = 1
        watch(progress)
        return progress


def test_proposals_after_kills_are_those_of_an_uninterrupted_search(tmp_path):
    """Past the first ten, which are drawn at random, they follow from what the trials before reached."""
    model, train = make_configs({"train.epochs": 1})
    found = {}
    for name, shop in {"whole": Shop(), "killed": Shop({1, 5, 14, 15})}.items():
        (tmp_path / name).mkdir()
        while True:
            study = Search(tmp_path / name, read_space(None, SPACE[1::2]), Start(model, train, "pretrained"))
            with suppress(Killed):
                study.run(shop, 16, math.inf, lambda _: None)
                break
        found[name] = [(trial.params, trial.state, trial.user_attrs) for trial in study.ended]
    assert len(found["whole"]) == 16
    assert {state for _, state, _ in found["whole"]} == {TrialState.COMPLETE, TrialState.PRUNED}
    assert found["killed"] == found["whole"]


def test_a_stopped_search_says_how_to_go_on(tune, tmp_path, monkeypatch, capsys):
    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Workshop, "train", stopped)
    assert tune(tmp_path, *CLOSED_FORM, *SPACE, "--trials", 2) == 130
    assert "go on with the same command" in capsys.readouterr().out


def test_a_finished_search_has_nothing_left_to_do(searched, tune, monkeypatch, capsys):
    monkeypatch.setattr(Workshop, "train", None)
    assert tune(searched, *CLOSED_FORM, *SPACE, "--trials", 4) == 0
    assert "4 of 4 trials have ended" in capsys.readouterr().out


def test_no_trial_begins_after_the_timeout(tune, tmp_path, monkeypatch):
    whole, now = Workshop.train, [0.0]

    def takes_a_minute(*args):
        now[0] += 60
        return whole(*args)

    monkeypatch.setattr(Workshop, "train", takes_a_minute)
    monkeypatch.setattr(hyper_search.time, "monotonic", lambda: now[0])
    assert tune(tmp_path, *CLOSED_FORM, *SPACE, "--timeout", 1.5) == 0
    assert len(tried(tmp_path)) == 2


def test_trials_that_fail_are_told_and_the_search_goes_on(tune, tmp_path, monkeypatch, capsys):
    whole, trained = Workshop.train, []

    def train(workshop, model, config, watch):
        trained.append(config)
        match len(trained):
            case 2:
                raise DataError("the training loss is nan in epoch 1")
            case 3:
                raise RuntimeError("CUDA out of memory.\nTried to allocate 20 GiB")
        return whole(workshop, model, config, watch)

    monkeypatch.setattr(Workshop, "train", train)
    assert tune(tmp_path, *CLOSED_FORM, *SPACE, "--trials", 4) == 0
    told = capsys.readouterr().err
    assert "failed: the training loss is nan" in told
    assert "failed: CUDA out of memory. Tried to allocate 20 GiB" in told
    assert [trial.state for trial in search(tmp_path).ended].count(TrialState.FAIL) == 2


def test_a_start_that_fails_ends_the_search(tune, tmp_path, monkeypatch, capsys):
    def fails(*_):
        raise DataError("the training loss is nan in epoch 1")

    monkeypatch.setattr(Workshop, "train", fails)
    assert tune(tmp_path, *CLOSED_FORM, *SPACE) == 1
    assert "the settings that the search starts from fail: the training loss" in capsys.readouterr().err
    monkeypatch.undo()
    assert tune(tmp_path, *CLOSED_FORM, *SPACE, "--trials", 1) == 0


def test_a_trial_that_falls_behind_is_given_up_before_its_epochs(tune, tmp_path, monkeypatch, capsys):
    epochs, score = [], iter([0.5, 0.5, 0.1])  # the first by its closed form and its epoch, then the second's
    monkeypatch.setattr("visrec_training.tuning.Tuning.score", lambda _: {"ndcg@10": next(score)})
    monkeypatch.setattr(Trainer, "_epoch", lambda trainer: epochs.append(1) or 1.0)
    words = ("--text-encoder", "none", "--epochs", 1, *SPACE, "--trials", 2)
    assert tune(tmp_path, *words) == 0
    assert len(epochs) == 1
    assert "0.1000 (given up)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--search", "train.batch=[64,256]"), "another space, by"),
        ((*SPACE, "--patience", 9), "another start, by train.patience:"),
        ((*SPACE, "--weights", "random"), "another start, by weights:"),
    ],
)
def test_going_on_with_another_search_is_refused(searched, tune, capsys, words, told):
    assert tune(searched, *CLOSED_FORM, *words) == 1
    assert told in capsys.readouterr().err


def test_going_on_with_other_data_is_refused(searched, cache, visrec, tmp_path, capsys):
    other = write_shop(tmp_path / "shop", 12, each(19, 6, 12))
    words = ("--data", other, "--cache", cache, "--out", searched)
    assert visrec("tune", *words, *CLOSED_FORM, *SPACE) == 1
    assert "another data, by interactions, split" in capsys.readouterr().err


def test_data_without_anything_to_validate_on_is_refused(cache, visrec, tmp_path, capsys):
    shop = write_shop(tmp_path / "shop", 6, each(7, 3))
    assert visrec("tune", "--data", shop, "--cache", cache, "--out", tmp_path / "out", *CLOSED_FORM) == 1
    assert "nothing to search by: nobody liked 4 or more" in capsys.readouterr().err


def test_a_folder_is_searched_by_one_command_at_a_time(tune, tmp_path, capsys):
    with hyper_search.alone(tmp_path):
        assert tune(tmp_path, *CLOSED_FORM) == 1
    assert "another search is at work" in capsys.readouterr().err


def test_a_study_that_is_none_is_told_in_a_line(tune, tmp_path, capsys):
    (tmp_path / "study.db").write_bytes(b"no database" * 999)
    assert tune(tmp_path, *CLOSED_FORM) == 1
    assert "study.db: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("train.learnin_rate=[1]", "did you mean train.learning_rate?"),
        ("train.learning_rate", "says no choices and no range"),
        ("train.learning_rate=0.1", "says no choices and no range"),
        ("train.learning_rate=[]", "is given [] to search"),
        ("train.learning_rate=a..b", "train.learning_rate is a text; allowed: a number"),
        ("train.learning_rate=1e-2..1e-4", "a high that is no less than low"),
        ("train.learning_rate=0..0.1:log", "a low above 0"),
        ("train.learning_rate=1e-4..1e-2:step=2", "for whole numbers alone"),
        ("train.learning_rate=1e-4..1e-2:linear", "allowed: a list of choices, or {low"),
        ("train.learning_rate=1e-4..2", "at most 1"),
        ("train.learning_rate=0.1..0.5", "starts at 0.002, which is not searched (0.1..0.5)"),
        ("train.learning_rate=nan..nan", "a high that is no less than low"),
        ("train.batch=1..512:step=0", "a whole number of at least 1"),
        ("train.batch=1..512.5", "allowed: a whole number"),
        ("train.batch=[64,128]", "starts at 256, which is not searched (64, 128)"),
        ("train.predict=any..next", "it is no number"),
        ("train.predict=[1]", "allowed: 'auto' or 'next' or 'any'"),
        ("model.user_attention=true..false", "it is no number"),
        ("model.dim=[100,128]", "model.history_heads is 8; allowed: a divisor of dim (100)"),
        ("train.seed=[0,1]", "decides what validation asks"),
        ("train.cold_share=0..0.5", "decides what validation asks"),
    ],
)
def test_what_can_not_be_searched_is_refused_in_a_line(tune, tmp_path, capsys, what, told):
    assert tune(tmp_path, "--search", what) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line
    assert not list(tmp_path.iterdir())


def test_a_file_and_the_command_line_say_the_same(tmp_path):
    (tmp_path / "space.toml").write_text(
        "[model]\ndim = [64, 128]\nlevels = [[4, 8], [16, 32]]\n"
        "spectral_dim = {low = 8, high = 64, step = 8}\n"
        "[train]\nlearning_rate = {low = 1e-4, high = 1e-2, log = true}\n"
    )
    words = [
        "model.dim=[64, 128]",
        "model.levels=[[4, 8], [16, 32]]",
        "model.spectral_dim=8..64:step=8",
        "train.learning_rate=1e-4..1e-2:log",
    ]
    space = read_space(tmp_path / "space.toml", [])
    assert space == read_space(None, words)
    assert space["model.dim"] == CategoricalDistribution((64, 128))
    assert space["train.learning_rate"] == FloatDistribution(1e-4, 1e-2, log=True)
    assert read_space(tmp_path / "space.toml", ["model.dim=2..8"])["model.dim"] == IntDistribution(2, 8)


def test_a_file_with_nothing_to_search_is_refused(tune, tmp_path, capsys):
    (tmp_path / "space.toml").write_text("[model]\n")
    assert tune(tmp_path / "out", "--space", tmp_path / "space.toml") == 1
    assert "says nothing to search" in capsys.readouterr().err


def test_lists_are_kept_as_texts_and_become_lists_again():
    space = read_space(None, ["model.levels=[[4, 8, 16, 32], [16, 32]]"])
    assert to_values(start_of(space, ModelConfig(), TrainConfig())) == {"model.levels": (4, 8, 16, 32)}


@given(
    epochs=st.integers(0, 20),
    batch=st.integers(1, 5000),
    rate=st.floats(1e-6, 1),
    ridge=st.floats(1e-3, 1e6),
    heads=st.sampled_from([1, 3, 4, 8]),
)
def test_the_default_search_holds_any_start(epochs, batch, rate, ridge, heads):
    model = ModelConfig(dim=heads * 5, history_heads=heads)
    train = TrainConfig(epochs=epochs, batch=batch, learning_rate=rate, content_ridge=ridge)
    space = default_space(model, train)
    check_space(space, model, train)
    assert ("train.batch" in space) == (epochs > 0)


@given(ends=st.tuples(*[st.floats(1e-9, 1)] * 2).map(sorted), log=st.booleans())
def test_a_range_is_read_as_it_is_told(ends, log):
    space = read_space(None, [f"train.learning_rate={ends[0]!r}..{ends[1]!r}{':log' * log}"])
    assert space == {"train.learning_rate": FloatDistribution(*ends, log=log)}
    assert read_space(None, [f"train.learning_rate={describe(space['train.learning_rate'])}"]) == space


@given(
    text=st.text()
    | st.builds("{}={}".format, st.sampled_from([f"train.{n}" for n in NAMES["train"]]), st.text())
)
def test_whatever_is_typed_is_searched_or_refused_as_settings_are(text):
    try:
        space = read_space(None, [text])
    except ConfigError as error:
        assert str(error)
    else:
        assert len(space) == 1


def test_the_best_settings_are_complete(searched):
    content = tomllib.loads((searched / "best.toml").read_text())
    assert {table: set(values) for table, values in content.items()} == {
        table: set(names) for table, names in NAMES.items()
    }
