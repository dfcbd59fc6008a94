"""What a model repository has served, and since when: `served.json` beside the models."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from visrec_training.files import write_text

KEPT = 20
"""Entries."""


@dataclass(frozen=True, slots=True)
class Served:
    """A release that was served."""

    release: int
    since: str
    """ISO 8601, UTC."""


def read(repository: Path) -> list[Served]:
    """What was served, oldest first; what was gone back from is not among it. The last one is served now."""
    path = repository / "served.json"
    return [Served(**entry) for entry in json.loads(path.read_text("utf-8"))] if path.is_file() else []


def before(repository: Path) -> int | None:
    """The release to go back to."""
    entries = read(repository)
    return entries[-2].release if len(entries) > 1 else None


def note(repository: Path, release: int) -> None:
    """Write down that a release is served from now on; going back takes out what was served since."""
    entries = read(repository)
    earlier = [place for place, entry in enumerate(entries) if entry.release == release]
    kept = entries[: earlier[-1]] if earlier else entries
    now = Served(release, datetime.now(UTC).isoformat(timespec="seconds"))
    write_text(
        repository / "served.json",
        json.dumps([asdict(entry) for entry in [*kept, now][-KEPT:]], indent=2) + "\n",
    )
