"""Settings: the fields of both configurations, as a TOML file and the command line give them.

A setting has the name of its table and its field, such as `train.epochs`.
"""

from __future__ import annotations

import ast
import dataclasses
import difflib
import inspect
import itertools
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import tomlkit

from visrec_training.config import ConfigError, ModelConfig, TrainConfig
from visrec_training.files import write_text

Settings = dict[str, Any]
"""What was chosen, by name: checked to exist and to be of the right type."""

_TABLES = {config.table: config for config in (ModelConfig, TrainConfig)}
NAMES = {
    table: tuple(field.name for field in dataclasses.fields(config)) for table, config in _TABLES.items()
}
"""The fields of each table."""
_TYPES = {
    f"{table}.{name}": get_type_hints(config)[name]
    for table, config in _TABLES.items()
    for name in NAMES[table]
}
_EXPECTED = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a text in quotes",
    tuple[int, ...]: "a list of whole numbers, such as [8, 16]",
}
_FOUND = {
    int: "a whole number",
    float: "a number with a decimal point",
    bool: "true or false",
    str: "a text",
    list: "a list",
    dict: "a table",
}
_BEYOND = 2**63  # whole numbers of TOML have 64 bits


def read_settings(path: Path) -> Settings:
    """Read a file with the tables [model] and [train], each of which may lack any of its fields.

    Raises:
        ConfigError: it can't be read, is no TOML, or holds something else; the text names the file.
    """
    return check_settings(read_tables(path), str(path))


def read_tables(path: Path) -> dict[str, object]:
    """Read whatever a file says of settings in the tables [model] and [train], by name, unchecked.

    Raises:
        ConfigError: it can't be read, is no TOML, or has other tables; the text names the file.
    """
    try:
        content = tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"can't read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 (byte {error.start}): save it as UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error
    said: dict[str, object] = {}
    for table, values in content.items():
        if not isinstance(values, dict):
            raise ConfigError(f"{path}: {table!r} stands in no table; put it below [model] or [train]")
        if table not in _TABLES:
            raise ConfigError(f"{path}: there is no table {table!r}; allowed: [model] and [train]")
        said.update({f"{table}.{name}": value for name, value in values.items()})
    return said


def parse_settings(texts: list[str]) -> Settings:
    """Read settings that the command line gives as NAME=VALUE; the last of a name counts.

    Args:
        texts: each VALUE is a TOML value; what is none is taken as a text.

    Raises:
        ConfigError: one is no setting, or its value is of another type.
    """
    settings = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"--set {text!r} has no value; allowed: NAME=VALUE, such as train.epochs=20")
        settings[name.strip()] = parse_value(value.strip())
    return check_settings(settings, "--set")


def check_settings(settings: Mapping[str, object], source: str) -> Settings:
    """Check that settings exist and have their types.

    Args:
        settings: values as TOML or the command line gives them.
        source: where they are from, for the error.

    Returns:
        The values as the configurations take them.

    Raises:
        ConfigError: names the setting that is wrong, and the nearest one or the type that is expected.
    """
    return {name: _check(name, value, source) for name, value in settings.items()}


def make_configs(settings: Settings) -> tuple[ModelConfig, TrainConfig]:
    """Make both configurations; what is not set has its default.

    Raises:
        ConfigError: a value is outside what is allowed.
    """
    chosen: dict[str, Settings] = {table: {} for table in _TABLES}
    for name, value in settings.items():
        table, _, field = name.partition(".")
        chosen[table][field] = value
    return ModelConfig(**chosen["model"]), TrainConfig(**chosen["train"])


def to_settings(model: ModelConfig, train: TrainConfig) -> Settings:
    """Every setting of both configurations, by name; `make_configs` makes them again."""
    return {
        f"{config.table}.{name}": getattr(config, name)
        for config in (model, train)
        for name in NAMES[config.table]
    }


def write_settings(path: Path, model: ModelConfig, train: TrainConfig) -> None:
    """Write every setting with what it means, whole or not at all; `read_settings` reads it back.

    Raises:
        VisrecError: the file can't be written.
        ConfigError: a text can't be written as UTF-8.
    """
    document = tomlkit.document()
    for config in (model, train):
        table, meanings = tomlkit.table(), _meanings(type(config))
        for name in NAMES[config.table]:
            if name in meanings:
                table.add(tomlkit.comment(meanings[name]))
            value = getattr(config, name)
            table.add(name, list(value) if isinstance(value, tuple) else value)
        document.add(config.table, table)
    try:
        write_text(path, tomlkit.dumps(document))
    except UnicodeEncodeError as error:
        raise ConfigError(
            f"can't write {path}: a text in it, such as a folder's name, is not UTF-8"
        ) from error


def parse_value(text: str) -> object:
    """What a text says as a TOML value; itself where it is none."""
    try:
        values = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    return values["value"] if len(values) == 1 else text


def check_name(name: str, source: str) -> None:
    """Make sure that there is such a setting.

    Raises:
        ConfigError: names the nearest one.
    """
    if name in _TYPES:
        return
    tables = {field: table for table, fields in NAMES.items() for field in fields}
    close = difflib.get_close_matches(name.rpartition(".")[2], tables, n=1)
    hint = f"did you mean {tables[close[0]]}.{close[0]}? " if close else ""
    raise ConfigError(
        f"{source}: there is no setting {name!r}: {hint}`visrec train --help` lists all settings"
    )


def _check(name: str, value: object, source: str) -> object:
    check_name(name, source)
    kind = _TYPES[name]
    try:
        return _convert(value, kind)
    except TypeError as error:
        allowed = _EXPECTED.get(kind) or " or ".join(map(repr, get_args(kind)))
        raise ConfigError(f"{source}: {name} is {error}; allowed: {allowed}") from None


def _convert(value: object, kind: object) -> object:
    """The value as a field of this type takes it.

    Raises:
        TypeError: it is of another type; the text says which.
    """
    match value:
        case bool() | float() if type(value) is kind:
            return value
        case str() if kind is str or get_origin(kind) is Literal:
            return value
        case int() if type(value) is int and abs(value) < _BEYOND and kind in (int, float):
            return float(value) if kind is float else value
        case list() if get_origin(kind) is tuple:
            return tuple(_convert(part, int) for part in value)
        case int() if abs(value) >= _BEYOND:
            raise TypeError("a whole number of more than 64 bits")
    raise TypeError(_FOUND.get(type(value), "a date or a time"))


def _meanings(config: type) -> dict[str, str]:
    """The first sentence of each field's docstring."""
    try:
        (definition,) = ast.parse(inspect.getsource(config)).body
    except OSError:  # visrec was installed without its sources
        return {}
    meanings = {}
    for field, docstring in itertools.pairwise(ast.iter_child_nodes(definition)):
        match field, docstring:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                meanings[name] = " ".join(text.split()).split(". ")[0].removesuffix(".") + "."
    return meanings
