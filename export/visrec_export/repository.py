"""The Triton model repository: committed configs, and numbered versions beside them.

A version is complete before anything names it, so an export that is cut short leaves the old release as it
was. A repository's first release is named at once; `visrec release` has a server switch to those that follow.
Shapes are set with the first release and stay.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from visrec_export.errors import RepositoryError
from visrec_serving import history, pins
from visrec_serving.lock import locked
from visrec_serving.pins import ENSEMBLES, FUSED, MODELS
from visrec_serving.repository import check_name
from visrec_training.files import make_folder, write_text

ENSEMBLE_VERSION = "1"
"""An ensemble's config names the release, so it needs but one version, which Triton wants a folder for."""
Shapes = Mapping[str, Sequence[int]]


def ensure_configs(repository: Path) -> None:
    """Copy the configs that a repository lacks from those that come with visrec.

    Raises:
        RepositoryError: the place is taken by a file.
        ServerFailed: its path is not UTF-8.
    """
    check_name(repository)
    if repository.exists() and not repository.is_dir():
        raise RepositoryError(f"{repository} is a file, not a model repository")
    make_folder(repository)
    template = _template()
    with locked(repository, "release", wait=True):
        for source in sorted(template.glob("**/*.pbtxt")):
            target = repository / source.relative_to(template)
            if not target.exists():
                write_text(target, source.read_text())
        if (served := pins.served(repository)) is not None:  # configs that are new here name it as well
            pins.load(repository, pins.loaded(repository))
            pins.serve(repository, served)


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
    for config in pins.configs(repository):
        if _set_dims(text := config.read_text(), shapes) != text:
            raise RepositoryError(
                f"the releases in {repository} have tensors of other shapes than this checkpoint's"
                f" ({config.parent.name}): give another --repository"
            )


def publish(repository: Path, release: int, built: Path, shapes: Shapes) -> None:
    """Move a release into place, all of it or nothing; the first one is served from now on.

    Args:
        repository: holds the configs.
        release: its number.
        built: holds a folder a model and the release's own files, its report among them, on the repository's
            file system; it is emptied.
        shapes: dims, without batch, of each tensor: what the configs must say.
    """
    _flush(built)
    with locked(repository, "release", wait=True):
        first = pins.served(repository) is None
        _move(repository, release, built)
        for ensemble in ENSEMBLES:
            (repository / ensemble / ENSEMBLE_VERSION).mkdir(exist_ok=True)
        pins.write({path: _set_dims(text, shapes) for path, text in pins.texts(repository).items()})
        if first:
            pins.load(repository, [release])
            pins.serve(repository, release)
            history.note(repository, release)


def _flush(built: Path) -> None:
    """Have the disk hold what is about to be named."""
    for path in built.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())


def _move(repository: Path, release: int, built: Path) -> None:
    """Rename everything into place, the report last; back again if something is in the way."""
    report = f"release-{release}.json"
    moved: list[tuple[Path, Path]] = []
    try:
        for source in sorted(built.iterdir(), key=lambda path: path.name == report):
            target = repository / source.name
            target = target / str(release) if source.is_dir() else target
            source.rename(target)
            moved.append((source, target))
    except BaseException:
        for source, target in moved:
            target.rename(source)
        raise


def prune(repository: Path, keep: int) -> list[int]:
    """Remove all but the newest `keep` releases, and those that are served or can be gone back to.

    Returns:
        The numbers of those removed.
    """
    with locked(repository, "release", wait=True):
        releases = sorted({number for model in MODELS for number in _versions(repository / model)})
        needed = {*pins.loaded(repository), *pins.named(repository), history.before(repository)}
        removed = [number for number in releases[:-keep] if number not in needed]
        for release in removed:
            for name in (f"release-{release}.json", f"canary-{release}.npz", f"catalogue-{release}.npz"):
                (repository / name).unlink(missing_ok=True)
            for model in MODELS:
                shutil.rmtree(repository / model / str(release), ignore_errors=True)
            _remove_fused(repository / FUSED / str(release))
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


def _versions(model: Path) -> list[int]:
    return [int(path.name) for path in model.glob("[0-9]*") if path.is_dir() and path.name.isdecimal()]


def _set_dims(config: str, shapes: Shapes) -> str:
    """Write each tensor's dims where a config declares it or warms it up; comments stay as they are."""
    for tensor, dims in shapes.items():
        declared = rf'((?:name|key): "{tensor}"[^\[\]]*?\bdims: \[)[^\]]*(\])'
        config = re.sub(declared, rf"\g<1> {', '.join(map(str, dims))} \2", config)
    return config
