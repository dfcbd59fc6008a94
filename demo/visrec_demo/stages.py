"""Stages that are skipped while nothing that they depend on has changed."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from visrec_training.files import write_text


@dataclass(frozen=True, slots=True)
class Stage:
    """A step that makes files."""

    title: str
    """What it does, in a heading's few words."""
    inputs: object
    """Whatever decides the result; its `repr` goes into the stamp."""
    outputs: Callable[[], Iterable[Path]]
    """Lists the files it makes."""
    make: Callable[[], object]
    """Does the work."""


class Stages:
    """Runs stages in order, tells of each, and remembers in a small stamp file what each was made from."""

    def __init__(self, stamps: Path, total: int) -> None:
        """Start a run.

        Args:
            stamps: folder of the stamp files; made if missing.
            total: number of stages, for the headings.
        """
        self._stamps = stamps
        self._total = total
        self._number = 0
        self._before = ""  # the stamp of the stage before: what follows a stage made anew is made anew

    def heading(self, title: str) -> None:
        """Announce the next stage."""
        self._number += 1
        print(f"\n[{self._number}/{self._total}] {title}", flush=True)

    def run(self, stage: Stage) -> bool:
        """Announce a stage and do it unless it is up to date.

        Returns:
            Whether it was done.
        """
        self.heading(stage.title)
        digest = hashlib.sha256(f"{self._before}\n{stage.inputs!r}".encode()).hexdigest()
        stamp = self._stamps / f"{self._number}.json"
        if _read(stamp) == (now := _stamp(digest, stage.outputs())):
            self._before = now
            print("      up to date", flush=True)
            return False
        stamp.unlink(missing_ok=True)
        start = time.monotonic()
        stage.make()
        self._before = _stamp(digest, stage.outputs())
        write_text(stamp, self._before)
        print(f"      done in {time.monotonic() - start:.1f} s", flush=True)
        return True


def sources_digest(*modules: str) -> str:
    """A digest of the Python files of modules or whole packages: changed code makes anew what it made."""
    digest = hashlib.sha256()
    for name in modules:
        file = Path(str(import_module(name).__file__))
        files = sorted(file.parent.rglob("*.py")) if file.name == "__init__.py" else [file]
        for path in files:
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _read(stamp: Path) -> str | None:
    try:
        return stamp.read_text("utf-8")
    except (FileNotFoundError, UnicodeDecodeError):
        return None


def _stamp(digest: str, outputs: Iterable[Path]) -> str:
    """What is written when a stage is done: the digest of its inputs, then size and time of each file."""
    stats = {str(path): path.stat() if path.is_file() else None for path in sorted(outputs)}
    files = {path: stat and [stat.st_size, stat.st_mtime_ns] for path, stat in stats.items()}
    return json.dumps({"inputs": digest, "outputs": files}, indent=1)
