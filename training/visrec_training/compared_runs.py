"""The runs that a comparison is asked for: where they are, and whether they can be compared."""

from __future__ import annotations

import dataclasses
from collections import Counter
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from visrec_training.checkpoint import Checkpoint
from visrec_training.compare import Asked, Entry
from visrec_training.config import ModelConfig, TrainConfig
from visrec_training.errors import EvaluationError
from visrec_training.fingerprint import Fingerprint, differences
from visrec_training.intervals import HISTORY
from visrec_training.metrics import Values
from visrec_training.query_results import QUERY_RESULTS, SectionResults, load
from visrec_training.references import UNSEEDED


class Measured(NamedTuple):
    """A checkpoint's settings and data, and what was measured of it."""

    model_config: ModelConfig
    train_config: TrainConfig
    fingerprint: Fingerprint
    results: dict[str, SectionResults]


class Run(NamedTuple):
    """One row of what was measured of a checkpoint."""

    name: str
    """As it was given."""
    row: str
    measured: Measured

    @property
    def has_seed(self) -> bool:
        """Whether another seed would come out otherwise."""
        return self.row not in UNSEEDED

    @property
    def seed(self) -> int:
        """What decided all that was random in its training."""
        return self.measured.train_config.seed

    @property
    def settings(self) -> tuple[object, ...]:
        """What seeds of one configuration share; of what has no seed, its row alone."""
        if not self.has_seed:
            return (self.row,)
        return (self.row, self.measured.model_config, dataclasses.replace(self.measured.train_config, seed=0))


def find_runs(given: list[str]) -> list[Run]:
    """Read runs that can be compared.

    Args:
        given: an --out folder of a training, whose best.pt is meant, or a checkpoint; with `:ROW`, another
            row than `history` of what was measured. What is there as a path is not taken apart.

    Raises:
        CheckpointError: there is none.
        EvaluationError: one was not measured, has no such row, or was measured on other data or questions.
    """
    read = cache(_read)  # several rows may be of one run
    runs = []
    for name in given:
        path, row = name, HISTORY
        if not Path(name).exists() and ":" in name:
            path, _, row = name.rpartition(":")
        measured = read(Path(path) / "best.pt" if Path(path).is_dir() else Path(path))
        known = dict.fromkeys(row for section in measured.results.values() for row in section.reached)
        if known and row not in known:
            raise EvaluationError(f"{path} has no row {row!r}: it has {', '.join(known)}")
        runs.append(Run(name, row, measured))
    for other in runs[1:]:
        _check_comparable(runs[0], other)
    return runs


def by_settings(runs: list[Run]) -> list[list[Run]]:
    """Put runs together that differ in nothing but their seed.

    Raises:
        EvaluationError: a seed is there twice, or no settings have two seeds.
    """
    groups: dict[tuple[object, ...], list[Run]] = {}
    for run in runs:
        group = groups.setdefault(run.settings, [])
        if twin := next((other for other in group if other.seed == run.seed), None):
            raise EvaluationError(f"{twin.name} and {run.name} have the same settings and the same seed")
        group.append(run)
    if not any(len(group) > 1 and group[0].has_seed for group in groups.values()):
        raise EvaluationError("--seeds needs two runs or more that differ in nothing but their seed")
    return list(groups.values())


def make_entries(groups: list[list[Run]]) -> list[Entry]:
    """What is compared: each a run, or several seeds of one configuration.

    Runs of the same settings and seed are other states of one training, such as best.pt and last.pt, and say
    nothing of how much seeds differ: those settings then count as different.
    """
    seeds = Counter((run.settings, run.seed) for group in groups for run in group)
    states = {settings for (settings, _), count in seeds.items() if count > 1}
    entries = []
    for place, group in enumerate(groups):
        first = group[0]
        sections = {}
        for name, section in first.measured.results.items():
            if all(first.row in _reached(run, name) for run in group):
                reached = np.stack([_reached(run, name)[first.row] for run in group])
                sections[name] = Asked(section.people, reached)
        settings = (first.settings, place) if first.settings in states else first.settings
        entries.append(Entry(first.name, sections, settings if first.has_seed else None))
    return entries


def _reached(run: Run, section: str) -> dict[str, Values]:
    results = run.measured.results
    return results[section].reached if section in results else {}


def _read(path: Path) -> Measured:
    checkpoint = Checkpoint.load(path)
    results = load(path.with_name(QUERY_RESULTS), checkpoint.digest())
    return Measured(checkpoint.model_config, checkpoint.train_config, checkpoint.fingerprint, results)


def _check_comparable(first: Run, other: Run) -> None:
    """Make sure that two runs were asked the same on the same data.

    Raises:
        EvaluationError: they were not.
    """
    one, two = first.measured, other.measured
    if differing := differences(one.fingerprint, two.fingerprint):
        drawn = "; where the data has no column split, --seed and --cold-share decide what is held out"
        raise EvaluationError(
            f"{first.name} and {other.name} can't be compared: they were measured on different data (what"
            f" differs: {differing}{drawn if differing == 'split' else ''})"
        )
    for name in one.results.keys() & two.results.keys():
        if one.results[name].questions != two.results[name].questions:
            raise EvaluationError(
                f"{first.name} and {other.name} can't be compared: they were asked different questions"
                f" ({name}): run `visrec evaluate` on both with the same version of visrec"
            )
