"""What a model repository holds."""

from __future__ import annotations

from pathlib import Path

from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from visrec_serving.errors import ServerFailed


def servable_models(repository: Path, wanted: tuple[str, ...] = ()) -> tuple[str, ...]:
    """List the models to load, after checking that Triton can find a version of each.

    Args:
        repository: folder with a folder for each model.
        wanted: the models to load; empty for all.

    Returns:
        Names of models, sorted.

    Raises:
        ServerFailed: if the repository or a model is missing, or a model has no version.
    """
    if not repository.is_dir():
        raise ServerFailed(f"no model repository at {repository}: give its folder with --repository")
    check_name(repository)
    found = {path.parent.name: versions(path.parent) for path in repository.glob("*/config.pbtxt")}
    if not found:
        raise ServerFailed(f"no models in {repository}: expected folders with a config.pbtxt")
    names = tuple(sorted(wanted or found))
    if missing := [name for name in names if name not in found]:
        raise ServerFailed(
            f"no model {', '.join(missing)} in {repository}: it has {', '.join(sorted(found))}"
        )
    if empty := [name for name in names if not found[name]]:
        raise ServerFailed(f"no versions of {', '.join(empty)} in {repository}: run `visrec export` first")
    return names


def check_name(repository: Path) -> None:
    """Check that everything that works on a repository can open it.

    Raises:
        ServerFailed: its path is not UTF-8.
    """
    try:
        str(repository.resolve()).encode()
    except UnicodeEncodeError as error:
        raise ServerFailed(
            f"the path {repository} is not UTF-8, so ONNX Runtime can't open it: rename it"
        ) from error


def config_path(repository: Path, model: str, config_name: str | None) -> Path:
    """The config that a model runs with: its alternative of that name, where it has one."""
    alternative = repository / model / "configs" / f"{config_name}.pbtxt"
    return alternative if config_name and alternative.is_file() else repository / model / "config.pbtxt"


def check_alternatives(repository: Path, models: tuple[str, ...], config_name: str) -> None:
    """Check that alternative configs are there, and the graphs that they name.

    Args:
        repository: folder with a folder for each model.
        models: those that are loaded.
        config_name: each model's `configs/<config_name>.pbtxt` is used where it has one.

    Raises:
        ServerFailed: no model has one, or one can't be read or names a version without a graph.
    """
    paths = sorted(repository.glob(f"*/configs/{config_name}.pbtxt"))
    if not paths:
        raise ServerFailed(f"no model in {repository} has a configs/{config_name}.pbtxt")
    for path in paths:
        model = path.parents[1]
        try:
            policy = text_format.Parse(path.read_text("utf-8"), ModelConfig()).version_policy
        except text_format.ParseError as error:
            raise ServerFailed(f"{path} can't be read: {error}") from error
        for version in policy.specific.versions:
            if model.name in models and not (model / str(version) / "model.onnx").is_file():
                raise ServerFailed(
                    f"{config_name}.pbtxt of {model.name} is for a graph that release {version} lacks: run "
                    "`visrec export --fused`, or leave out --model-config-name"
                )


def versions(model: Path) -> list[int]:
    """List the numbered versions in a model's folder, oldest first."""
    numbers = (path.name for path in model.iterdir() if path.is_dir())
    return sorted(int(name) for name in numbers if name.isdecimal() and not name.startswith("0"))
