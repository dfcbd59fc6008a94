"""Settings of `visrec train`: every field of both configurations, from a file and from the command line."""

import argparse
import dataclasses
import itertools
import json
import math
import tomllib
from contextlib import suppress
from typing import Literal, get_args, get_origin, get_type_hints

import pytest
import tomlkit
from hypothesis import example, given
from hypothesis import strategies as st
from tiny_shops import each, write_shop

from visrec_training import train_cli
from visrec_training.checkpoint import Checkpoint
from visrec_training.config import MOST, ConfigError, ModelConfig, TrainConfig
from visrec_training.config_file import NAMES, make_configs, parse_settings, read_settings, write_settings

ALL = [f"{table}.{name}" for table, names in NAMES.items() for name in names]
OF_TYPE = {
    int: st.integers(2, MOST),
    float: st.floats(0, 0.5, exclude_min=True),
    bool: st.booleans(),
    str: st.text(),
    tuple[int, ...]: st.lists(st.integers(1, 2**63 - 1), min_size=1).map(tuple),
}
SPECIAL = {
    "history_heads": st.sampled_from([1, 2, 4]),
    "dim": st.integers(1, MOST // 4).map(lambda heads: 4 * heads),
    "epochs": st.integers(0, 2**63 - 1),
    "content_ridge": st.floats(1e-3, allow_infinity=False),
}


def valid(config):
    """Any valid configuration of the kind."""
    kinds = get_type_hints(config)
    fields = {
        field.name: st.sampled_from(get_args(kinds[field.name]))
        if get_origin(kinds[field.name]) is Literal
        else SPECIAL.get(field.name, OF_TYPE.get(kinds[field.name]))
        for field in dataclasses.fields(config)
    }
    return st.builds(config, **fields)


toml_values = st.recursive(
    st.one_of(st.booleans(), st.integers(), st.floats(), st.text(), st.dates(), st.times(), st.datetimes()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=4,
)
names = st.sampled_from([name.partition(".")[2] for name in ALL]) | st.text()
documents = st.dictionaries(
    st.sampled_from(["model", "train"]) | st.text(),
    st.dictionaries(names, toml_values, max_size=3) | toml_values,
    max_size=3,
)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("settings") / "shop.toml"


def configs(*words):
    """What `visrec train` is set to by these words."""
    parser = argparse.ArgumentParser()
    train_cli.add_arguments(parser)
    return train_cli.read_configs(parser.parse_args(["--data", "shop", *map(str, words)]))


@given(model=valid(ModelConfig), train=valid(TrainConfig))
def test_what_is_written_is_read_back_the_same(file, model, train):
    write_settings(file, model, train)
    assert make_configs(read_settings(file)) == (model, train)


def test_the_file_tells_every_setting_and_what_it_means(file):
    write_settings(file, *make_configs({}))
    written = tomllib.loads(file.read_text())
    assert {table: tuple(values) for table, values in written.items()} == NAMES
    lines = file.read_text().splitlines()
    assert all(before.startswith("# ") for before, line in itertools.pairwise(lines) if " = " in line)
    assert lines[lines.index("picture_size = 224") - 1] == "# Height and width of IMAGE, in pixels."


def test_without_settings_all_are_defaults():
    assert configs() == (ModelConfig(), TrainConfig())


def test_every_setting_can_be_set_on_the_command_line():
    model = ModelConfig(levels=(8, 16), user_attention=False, text_encoder="none", dim=64, dropout=0.5)
    train = TrainConfig(predict="any", epochs=0, learning_rate=1.0, weight_decay=1e-7)
    words = []
    for name in ALL:
        table, field = name.split(".")
        value = getattr({"model": model, "train": train}[table], field)
        words += ["--set", f"{name}={value if isinstance(value, str) else json.dumps(value)}"]
    assert configs(*words) == (model, train)


def test_an_option_overrides_the_file_and_set_overrides_both(file):
    file.write_text(
        "[train]\nseed = 1\nepochs = 1\nbatch = 1\n[model]\nbackbone = 'resnet18'\ntext_encoder = 'none'"
    )
    model, train = configs(
        "--set", "train.batch=2", "--config", file, "--epochs", 10, "--batch", 3, "--set", "train.batch=4"
    )
    assert model == ModelConfig(backbone="resnet18", text_encoder="none")
    assert train == TrainConfig(seed=1, epochs=10, batch=4), "10 was asked for, though it is the default"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("any", "any"),
        ("'any'", "any"),
        ('"next"', "next"),
        (" any ", "any"),
        ("any # as liked", "any # as liked"),
    ],
)
def test_a_bare_word_is_a_text(text, value):
    assert parse_settings([f"train.predict={text}"]) == {"train.predict": value}


def test_a_whole_number_will_do_for_a_number():
    (value,) = parse_settings(["train.content_ridge=500"]).values()
    assert isinstance(value, float)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            "[train]\nepoch = 3",
            "there is no setting 'train.epoch': did you mean train.epochs? `visrec train --help`",
        ),
        ("[train]\ndim = 3", "there is no setting 'train.dim': did you mean model.dim? "),
        (
            "[train]\nzzzzzz = 3",
            "there is no setting 'train.zzzzzz': `visrec train --help` lists all settings",
        ),
        ("epochs = 3", "'epochs' stands in no table; put it below [model] or [train]"),
        ("train = 3", "'train' stands in no table"),
        ("[trian]\nepochs = 3", "there is no table 'trian'; allowed: [model] and [train]"),
        ("[train]\nepochs = '3'", "train.epochs is a text; allowed: a whole number"),
        ("[train]\nepochs = 3.0", "train.epochs is a number with a decimal point; allowed: a whole number"),
        ("[train]\nepochs = true", "train.epochs is true or false; allowed: a whole number"),
        ("[train]\nepochs = 2024-01-01", "train.epochs is a date or a time; allowed: a whole number"),
        ("[train]\nwarmup = true", "train.warmup is true or false; allowed: a number"),
        (
            f"[train]\nwarmup = 0x{'f' * 9000}",
            "train.warmup is a whole number of more than 64 bits; allowed: a number",
        ),
        ("[train]\npredict = 1", "train.predict is a whole number; allowed: 'auto' or 'next' or 'any'"),
        ("[train]\nepochs.most = 1", "train.epochs is a table; allowed: a whole number"),
        ("[model]\nuser_attention = 1", "model.user_attention is a whole number; allowed: true or false"),
        (
            "[model]\nlevels = 8",
            "model.levels is a whole number; allowed: a list of whole numbers, such as [8, 16]",
        ),
        ("[model]\nlevels = [8, true]", "model.levels is true or false; allowed: a list of whole numbers"),
        ("[model]\nlevels = [[8]]", "model.levels is a list; allowed: a list of whole numbers"),
        ("[train]\nepochs = ", "is not TOML: Invalid value"),
        ("[train]\nepochs = " + "9" * 5000, "is not TOML: Exceeds the limit"),
        ("train = " + "[" * 100_000, "is not TOML: maximum recursion depth exceeded"),
    ],
)
def test_a_file_that_is_wrong_is_told_by_its_name_and_what_is_allowed(file, content, said):
    file.write_text(content)
    with pytest.raises(ConfigError) as error:
        read_settings(file)
    assert str(error.value).startswith(str(file))
    assert said in str(error.value)


def test_a_file_that_can_not_be_read_says_why(tmp_path):
    (tmp_path / "latin.toml").write_bytes("# Möbel".encode("latin-1"))
    for name, said in (
        ("none.toml", "can't read .*none.toml: No such file or directory"),
        ("", "can't read .*: Is a directory"),
        ("latin.toml", r"latin.toml is not UTF-8 \(byte 3\): save it as UTF-8"),
    ):
        with pytest.raises(ConfigError, match=said):
            read_settings(tmp_path / name)


def test_a_byte_order_mark_is_passed_over(file):
    file.write_text("[train]\r\nseed = 3\r\n", "utf-8-sig")
    assert read_settings(file) == {"train.seed": 3}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--set", "train.epochs"), "--set 'train.epochs' has no value; allowed: NAME=VALUE, such as"),
        (("--set", "epochs=3"), "--set: there is no setting 'epochs': did you mean train.epochs?"),
        (("--set", "train.epochs=many"), "--set: train.epochs is a text; allowed: a whole number"),
        (("--set", "train.epochs=1\nseed=2"), "--set: train.epochs is a text; allowed: a whole number"),
        (("--set", "train.epochs=-1"), "train.epochs is -1; allowed: a whole number of at least 0"),
        (("--set", "train.predict=never"), "train.predict is 'never'; allowed: 'auto', 'next' or 'any'"),
        (("--set", "train.warmup=nan"), "train.warmup is nan; allowed: at least 0 and below 1"),
        (
            ("--set", "train.content_ridge=inf"),
            "train.content_ridge is inf; allowed: a finite number of at least 0.001",
        ),
        (("--set", "model.dim=7"), "model.history_heads is 8; allowed: a divisor of dim (7)"),
        (("--set", f"model.text_encoder={'a' * 300}"), "there is no text encoder 'aaa"),
        (("--batch", 2**70), "options: train.batch is a whole number of more than 64 bits; allowed: a whole"),
        (("--seed", 2**32), "train.seed is 4294967296; allowed: a whole number from 0 to 4294967295"),
        (("--config", "none.toml"), "can't read none.toml: No such file or directory"),
    ],
)
def test_a_wrong_setting_is_one_line(visrec, capsys, words, said):
    assert visrec("train", "--data", "nowhere", *words) == 1
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


@given(content=documents.map(tomlkit.dumps).map(str.encode) | st.text().map(str.encode) | st.binary())
@example(content=b"[model]\ntext_encoder = '\x00'")
def test_any_file_gives_configurations_or_is_refused(file, content):
    file.write_bytes(content)
    with suppress(ConfigError):
        make_configs(read_settings(file))


@given(
    st.lists(
        st.text()
        | st.tuples(st.sampled_from(ALL), st.just("="), st.text() | toml_values.map(repr)).map("".join)
    )
)
@example(["model.levels=" + "[" * 100_000])
@example(["model.levels=[0x" + "f" * 9000 + "]"])
def test_any_words_give_configurations_or_are_refused(texts):
    with suppress(ConfigError):
        make_configs(parse_settings(texts))


def test_a_text_that_is_not_utf_8_can_not_be_written(file):
    with pytest.raises(ConfigError, match="is not UTF-8"):
        write_settings(file, ModelConfig(text_encoder="/models/\udcff"), TrainConfig())


@given(name=st.sampled_from(ALL), value=toml_values)
def test_no_setting_takes_what_is_no_number_or_of_another_type(name, value):
    table, _, field = name.partition(".")
    try:
        made = make_configs(parse_settings([f"{name}={tomlkit.item(value).as_string()}"]))
    except ConfigError as error:
        assert name in str(error) or name == "model.dim"  # whose divisor is asked for instead
        return
    default = getattr(dict(zip(NAMES, make_configs({}), strict=True))[table], field)
    taken = getattr(dict(zip(NAMES, made, strict=True))[table], field)
    assert type(taken) is type(default)
    assert not isinstance(taken, float) or math.isfinite(taken)


@pytest.fixture
def train(visrec, cache, tmp_path):
    """Trains on a tiny shop; gives the exit code."""
    shop = write_shop(tmp_path / "shop", 6, each(7, 3))
    return lambda *words: visrec("train", "--data", shop, "--cache", cache, "--out", tmp_path / "run", *words)


def test_a_run_keeps_its_settings_and_another_can_be_made_from_them(train, tmp_path):
    first = ("--epochs", 1, "--text-encoder", "none", "--set", "train.predict=any", "--set", "model.dim=16")
    assert train(*first) == 0
    kept = tmp_path / "run" / "config.toml"
    checkpoint = Checkpoint.load(tmp_path / "run" / "last.pt")
    assert make_configs(read_settings(kept)) == (checkpoint.model_config, checkpoint.train_config)
    assert checkpoint.train_config == TrainConfig(epochs=1, predict="any")
    assert train("--config", kept) == 0
    assert Checkpoint.load(tmp_path / "run" / "last.pt").digest() == checkpoint.digest()


def test_a_run_goes_on_by_its_own_settings_unless_others_are_given(train, tmp_path, capsys):
    assert train("--epochs", 1, "--text-encoder", "none") == 0
    kept = (tmp_path / "run" / "config.toml").read_bytes()
    assert train("--resume") == 0
    assert f"settings: those of {tmp_path / 'run' / 'config.toml'}" in capsys.readouterr().out
    assert train("--resume", "--epochs", 1) == 1
    assert "another model configuration" in capsys.readouterr().err
    assert (tmp_path / "run" / "config.toml").read_bytes() == kept
