"""What a search over settings varies: for each setting its choices, or the range that it lies in.

A file says it in the tables [model] and [train], as `dim = [64, 128, 256]` or
`learning_rate = {low = 1e-4, high = 1e-2, log = true}`; the command line as `model.dim=[64,128,256]` or
`train.learning_rate=1e-4..1e-2:log`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from optuna.distributions import (
    BaseDistribution,
    CategoricalChoiceType,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from visrec_training.config import ConfigError, ModelConfig, TrainConfig
from visrec_training.config_file import (
    Settings,
    check_name,
    check_settings,
    make_configs,
    parse_value,
    read_tables,
    to_settings,
)

Space: TypeAlias = dict[str, BaseDistribution]
"""Setting → what is tried of it. Lists, which a study can't keep, stand in it as texts: `[8, 16]`."""

SEARCH = "--search"
ALLOWED = "a list of choices, or {low = …, high = …}, with log = true or step = N"
ON_THE_LINE = "NAME=[A,B,C], NAME=LOW..HIGH, NAME=LOW..HIGH:log or NAME=LOW..HIGH:step=N"
FIXED = ("train.seed", "train.cold_share")
"""Settings that no search may vary: they decide what validation asks."""


def default_space(model: ModelConfig, train: TrainConfig) -> Space:
    """What is searched unless something else is asked for; it holds what the search starts from.

    Left out is what validation can't judge: it sends no words, so it would have words trained less
    (`keep_words`, `item_words`, the widths of the text space). So is what sets how much work training is,
    such as `epochs`, and what makes pictures be encoded anew. What only gradient steps use is left out where
    there are none.

    Args:
        model: what the search starts from.
        train: likewise.
    """
    fitted = {
        "train.content_ridge": {"low": 0.3, "high": 30.0, "log": True},
        "train.picture_share": {"low": 0.05, "high": 2.0, "log": True},
        "train.new_item_spread": {"low": 0.0, "high": 1.0},
        "model.regression_dim": {"low": 16, "high": 128, "log": True},
        "model.spectral_dim": {"low": 4, "high": 64, "log": True},
    }
    learned = {
        "train.learning_rate": {"low": 3e-4, "high": 1e-2, "log": True},
        "train.weight_decay": {"low": 1e-3, "high": 0.1, "log": True},
        "train.id_dropout": {"low": 0.0, "high": 0.6},
        "train.batch": [128, 256, 512],
        "model.dim": [dim for dim in (64, 128, 256) if not dim % model.history_heads],
        "model.dropout": {"low": 0.0, "high": 0.4},
    }
    start = to_settings(model, train)
    chosen = fitted | learned if train.epochs else fitted
    return _make({name: _with(said, start[name]) for name, said in chosen.items()}, "the default search")


def read_space(path: Path | None, texts: Sequence[str]) -> Space:
    """Read what to search.

    Args:
        path: a TOML file; None for none.
        texts: what the command line gives as NAME=WHAT, which overrides the file.

    Raises:
        ConfigError: a setting does not exist, can't be searched, or what is said of it is no choice or range.
    """
    space = _make(read_tables(path), str(path)) if path else {}
    return space | _make(dict(map(_parse, texts)), SEARCH)


def check_space(space: Space, model: ModelConfig, train: TrainConfig) -> None:
    """Make sure that the search can start where it shall, and that each of its values is allowed from there.

    Raises:
        ConfigError: names the setting, its value and what is allowed.
    """
    start = to_settings(model, train)
    for name, tried in space.items():
        if not _holds(tried, start[name]):
            raise ConfigError(
                f"{name} starts at {start[name]!r}, which is not searched ({describe(tried)}): search it"
                f" too, or start elsewhere with --set {name}=…"
            )
        for value in _extremes(tried):
            try:
                make_configs(start | to_values({name: value}))
            except ConfigError as error:
                raise ConfigError(f"{name} can't be searched ({describe(tried)}): {error}") from error


def start_of(space: Space, model: ModelConfig, train: TrainConfig) -> dict[str, Any]:
    """What a search starts from, as parameters of a study."""
    start = to_settings(model, train)
    return {name: _kept(start[name]) for name in space}


def to_values(parameters: Mapping[str, Any]) -> Settings:
    """The settings that parameters of a study stand for."""
    values = {
        name: parse_value(value) if isinstance(value, str) and value.startswith("[") else value
        for name, value in parameters.items()
    }
    return check_settings(values, SEARCH)


def describe(tried: BaseDistribution) -> str:
    """Choices or a range as the command line takes them, but for spaces."""
    match tried:
        case CategoricalDistribution():
            return ", ".join(map(str, tried.choices))
        case IntDistribution() | FloatDistribution():
            how = ":log" if tried.log else f":step={tried.step}" if tried.step not in (None, 1) else ""
            return f"{tried.low}..{tried.high}{how}"
    raise TypeError(f"no such distribution is made here: {tried}")


def _make(said: Mapping[str, object], source: str) -> Space:
    return {name: _distribution(name, what, source) for name, what in said.items()}


def _distribution(name: str, said: object, source: str) -> BaseDistribution:
    check_name(name, source)
    if name in FIXED:
        raise ConfigError(
            f"{source}: {name} can't be searched: it decides what validation asks, so that trials"
            " could not be compared"
        )
    match said:
        case [_, *_]:
            choices = [check_settings({name: value}, source)[name] for value in said]
            return CategoricalDistribution(tuple(dict.fromkeys(map(_kept, choices))))
        case {"low": low, "high": high, **how} if how.keys() <= {"log", "step"}:
            low, high = (check_settings({name: end}, source)[name] for end in (low, high))
            try:
                return _range(low, high, how.get("log", False), how.get("step", 1))
            except (TypeError, ValueError) as error:
                raise ConfigError(f"{source}: {name} can't be searched: {error}") from error
    raise ConfigError(f"{source}: {name} is given {said!r} to search; allowed: {ALLOWED}")


def _range(low: object, high: object, log: object, step: object) -> BaseDistribution:
    """A range of numbers.

    Raises:
        TypeError: it is described by something else.
        ValueError: there can be no such range.
    """
    if not isinstance(log, bool):
        raise TypeError(f"log is {log!r}; allowed: true or false")
    if type(step) is not int or step < 1:
        raise TypeError(f"step is {step!r}; allowed: a whole number of at least 1")
    if isinstance(low, bool) or not (isinstance(low, int | float) and isinstance(high, int | float)):
        raise TypeError("it is no number, and has no range; allowed: a list of choices")
    if not low <= high:
        raise ValueError(f"low is {low} and high is {high}; allowed: a high that is no less than low")
    if log and low <= 0:
        raise ValueError(f"low is {low} and log is true; allowed: a low above 0")
    whole = isinstance(low, int) and isinstance(high, int)
    if step != 1 and (log or not whole):
        raise ValueError(f"step is {step}; allowed: for whole numbers alone, and without log")
    if whole:
        return IntDistribution(int(low), int(high - (high - low) % step), log=log, step=step)
    return FloatDistribution(low, high, log=log)


def _parse(text: str) -> tuple[str, object]:
    """What one text of the command line says, as the file would."""
    name, equals, said = (part.strip() for part in text.partition("="))
    value = parse_value(said)
    if not equals or not (isinstance(value, list) or ".." in said):
        raise ConfigError(f"{SEARCH} {text!r} says no choices and no range; allowed: {ON_THE_LINE}")
    if isinstance(value, list):
        return name, value
    ends, colon, how = said.partition(":")
    low, _, high = ends.partition("..")
    said_how: dict[str, object] = {}
    if colon:
        word, _, number = how.partition("=")
        said_how = {word: parse_value(number) if number else True}
    return name, {"low": parse_value(low), "high": parse_value(high), **said_how}


def _with(said: object, start: object) -> object:
    """Choices or a range, widened to what the search starts from."""
    match said:
        case list():
            return said if start in said else [*said, start]
        case dict():
            return said | {"low": min(said["low"], start), "high": max(said["high"], start)}
    raise TypeError(f"neither choices nor a range: {said!r}")


def _kept(value: object) -> CategoricalChoiceType:
    """A value of a setting as a study keeps it."""
    return value if isinstance(value, bool | int | float | str) else str(list(value))  # type: ignore[call-overload]


def _holds(tried: BaseDistribution, value: object) -> bool:
    match tried, value:
        case CategoricalDistribution(), _:
            return _kept(value) in tried.choices
        case IntDistribution(), int():
            return tried.low <= value <= tried.high and not (value - tried.low) % tried.step
        case FloatDistribution(), float():
            return tried.low <= value <= tried.high
    return False


def _extremes(tried: BaseDistribution) -> tuple[CategoricalChoiceType, ...]:
    """Values that are allowed if all are."""
    match tried:
        case CategoricalDistribution():
            return tried.choices
        case IntDistribution() | FloatDistribution():
            return (tried.low, tried.high)
    raise TypeError(f"no such distribution is made here: {tried}")
