"""Which release a model repository serves: the numbers that its configs name.

The three models of a release have the same version number. Their configs list the versions that Triton loads,
the ensembles' steps name the one that answers. A fused graph, where a release has one, is that version of the
recommender, and configs/fused.pbtxt names it.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from visrec_client.errors import VisrecError

MODELS = ("encoder", "attention", "fusion_scorer")
ENSEMBLES = ("recommender", "ranker", "embedder")
FUSED = "recommender"
"""The ensemble whose place a fused graph takes."""
_STEP = re.compile(r"\bmodel_version: (-?\d+)")
_VERSIONS = re.compile(r"\bversions: \[([\d, ]*)\]")


def configs(repository: Path, models: Sequence[str] = (*MODELS, *ENSEMBLES)) -> Iterator[Path]:
    """List the configs of models, alternatives included."""
    for model in models:
        yield repository / model / "config.pbtxt"
        yield from sorted((repository / model / "configs").glob("*.pbtxt"))


def served(repository: Path) -> int | None:
    """The release that the recommender names; None where nothing was exported yet."""
    config = repository / FUSED / "config.pbtxt"
    pin = _STEP.search(_read(config)) if config.is_file() else None
    number = int(pin[1]) if pin else 0
    return number if (repository / f"release-{number}.json").is_file() else None


def loaded(repository: Path) -> list[int]:
    """The releases that Triton is told to load: the one that is served, and another to go back to."""
    found = _VERSIONS.search(_read(repository / MODELS[0] / "config.pbtxt"))
    return [int(number) for number in found[1].split(",")] if found else []


def named(repository: Path) -> set[int]:
    """The releases that ensembles name: one, unless a release was cut short between them."""
    return {int(pin) for config in configs(repository, ENSEMBLES) for pin in _STEP.findall(_read(config))}


def load(repository: Path, releases: Iterable[int]) -> None:
    """Have Triton load these releases, next time it loads the models."""
    listed = ", ".join(map(str, sorted(set(releases))))
    write(
        {
            config: _VERSIONS.sub(f"versions: [ {listed} ]", _read(config))
            for config in configs(repository, MODELS)
        }
    )


def serve(repository: Path, release: int) -> None:
    """Have the ensembles, and a fused recommender, name this release."""
    write({config: pinned(_read(config), release) for config in configs(repository, ENSEMBLES)})


def pinned(config: str, release: int) -> str:
    """The text of an ensemble's config, or of a fused recommender's, that names this release."""
    if "ensemble_scheduling" in config:
        return _STEP.sub(f"model_version: {release}", config)
    return _VERSIONS.sub(f"versions: [ {release} ]", config)


def texts(repository: Path) -> dict[Path, str]:
    """All configs as they are, to put back with `write`."""
    return {config: _read(config) for config in configs(repository)}


def write(texts: Mapping[Path, str]) -> None:
    """Write configs: all of them, or none where the disk is full.

    Raises:
        VisrecError: they can't be written.
    """
    # Triton loads again whatever was written
    changed = {config: text for config, text in texts.items() if text != _read(config)}
    with contextlib.ExitStack() as written:
        beside = {config: config.with_name(f".{config.name}.new") for config in changed}
        for path in beside.values():
            written.callback(path.unlink, missing_ok=True)
        try:
            for config, text in changed.items():
                beside[config].write_text(text, "utf-8")
            for config, path in beside.items():
                path.replace(config)
        except OSError as error:
            raise VisrecError(f"can't write the configs: {error.strerror or error}") from error


def _read(config: Path) -> str:
    return config.read_text("utf-8")
