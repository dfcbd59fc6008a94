"""The Triton model repository: committed configs, and numbered versions beside them.

The three models of a release have the same version number; the ensembles' steps name it. A fused graph, where
a release has one, is that version of the recommender, and configs/fused.pbtxt names it. A version is complete
before anything names it, so an export that is cut short leaves the old release as it was. Shapes are set with
a repository's first release and stay.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from visrec_export.errors import RepositoryError
from visrec_export.fused import FUSED
from visrec_export.graphs import MODELS
from visrec_training.files import write_text

ENSEMBLES = ("recommender", "ranker", "embedder")
ENSEMBLE_VERSION = "1"
"""An ensemble's config names the release, so it needs but one version, which Triton wants a folder for."""
Shapes = Mapping[str, Sequence[int]]


def ensure_configs(repository: Path) -> None:
    """Copy the configs that a repository lacks from those that come with visrec.

    Raises:
        RepositoryError: the place is taken by a file.
    """
    if repository.exists() and not repository.is_dir():
        raise RepositoryError(f"{repository} is a file, not a model repository")
    template = _template()
    for source in sorted(template.glob("**/*.pbtxt")):
        target = repository / source.relative_to(template)
        if not target.exists():
            write_text(target, source.read_text())


def next_release(repository: Path) -> int:
    """The number of the release to come: one more than the highest of any model."""
    return 1 + max((number for model in MODELS for number in _versions(repository / model)), default=0)


def check_shapes(repository: Path, shapes: Shapes) -> None:
    """Make sure that a release of these shapes can stand beside those that are there.

    Raises:
        RepositoryError: it can't, since a config speaks for all versions of its model.
    """
    if next_release(repository) == 1:
        return
    for config in _configs(repository):
        if _set_dims(text := config.read_text(), shapes) != text:
            raise RepositoryError(
                f"the releases in {repository} have tensors of other shapes than this checkpoint's"
                f" ({config.parent.name}): give another --repository"
            )


def publish(repository: Path, release: int, built: Path, shapes: Shapes, report: str) -> None:
    """Move built models into place, then let the ensembles name them.

    Args:
        repository: holds the configs.
        release: the number of all three versions.
        built: folder with a folder a model, on the repository's file system; it is emptied.
        shapes: dims, without batch, of each tensor: what the configs must say.
        report: JSON text, kept beside the models.
    """
    for folder in sorted(built.iterdir()):
        if folder.is_dir():
            folder.rename(repository / folder.name / str(release))
    for ensemble in ENSEMBLES:
        (repository / ensemble / ENSEMBLE_VERSION).mkdir(exist_ok=True)
    write_text(_report(repository, release), report)
    for config in _configs(repository):
        text = config.read_text()
        changed = _pin(_set_dims(text, shapes), release)
        if changed != text:
            write_text(config, changed)


def prune(repository: Path, keep: int) -> list[int]:
    """Remove all but the newest `keep` releases.

    Returns:
        The numbers of those removed.
    """
    releases = sorted({number for model in MODELS for number in _versions(repository / model)})
    removed = releases[:-keep]
    for release in removed:
        for model in MODELS:
            shutil.rmtree(repository / model / str(release), ignore_errors=True)
        _remove_fused(repository / FUSED / str(release))
        _report(repository, release).unlink(missing_ok=True)
    return removed


def _remove_fused(version: Path) -> None:
    """Remove what a release may have here; the ensemble's own folder stays."""
    if not version.is_dir():
        return
    (version / "model.onnx").unlink(missing_ok=True)
    if version.name != ENSEMBLE_VERSION:
        version.rmdir()


def _template() -> Path:
    """The configs that come with visrec: in the wheel beside this file, in a checkout at its root."""
    packaged = Path(__file__).parent / "model_repository"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "model_repository"


def _configs(repository: Path) -> Iterator[Path]:
    for model in (*MODELS, *ENSEMBLES):
        yield repository / model / "config.pbtxt"
        yield from sorted((repository / model / "configs").glob("*.pbtxt"))


def _versions(model: Path) -> list[int]:
    return [int(path.name) for path in model.glob("[0-9]*") if path.is_dir() and path.name.isdecimal()]


def _report(repository: Path, release: int) -> Path:
    return repository / f"release-{release}.json"


def _set_dims(config: str, shapes: Shapes) -> str:
    """Write each tensor's dims where a config declares it or warms it up; comments stay as they are."""
    for tensor, dims in shapes.items():
        declared = rf'((?:name|key): "{tensor}"[^\[\]]*?\bdims: \[)[^\]]*(\])'
        config = re.sub(declared, rf"\g<1> {', '.join(map(str, dims))} \2", config)
    return config


def _pin(config: str, release: int) -> str:
    """Name the release: in an ensemble's steps, or as the one version that a fused recommender serves."""
    if "ensemble_scheduling" in config:
        return re.sub(r"\bmodel_version: -?\d+", f"model_version: {release}", config)
    return re.sub(r"\bversions: \[ \d+ \]", f"versions: [ {release} ]", config)
