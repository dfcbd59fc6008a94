"""A search over settings: many trainings of the same data, of which the best on validation is kept.

A trial is as good as the mean of the validations that its training reaches, the same figure that a training
is judged by. The first trial is what the search starts from, and no other one is the best unless it is at
least as good on each of them. What evaluation measures on is never asked.

The study is a database that can be killed at any time. Each trial's proposal follows from the seed, from how
many trials ended before it and from what they reached: a search that went on after it was stopped proposes
what an uninterrupted one would have.
"""

from __future__ import annotations

import copy
import dataclasses
import fcntl
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import optuna
import torch
from optuna.distributions import distribution_to_json
from optuna.exceptions import StorageInternalError
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from visrec_client.errors import VisrecError
from visrec_training.config import ModelConfig, TrainConfig
from visrec_training.config_file import make_configs, to_settings
from visrec_training.data import Dataset
from visrec_training.encoder import Encoder
from visrec_training.errors import DataError
from visrec_training.fingerprint import fingerprint
from visrec_training.preflight import check_memory
from visrec_training.prepare import Prepared, prepare
from visrec_training.search_space import Space, start_of, to_values
from visrec_training.train import Progress, Trainer
from visrec_training.validation import Validation

STUDY = "study.db"
FIGURES, ERROR = "figures", "error"
"""What is kept of a trial: what each validation reached, or why training failed."""


@dataclass(frozen=True, slots=True)
class Start:
    """What a search starts from: the settings of its first trial."""

    model: ModelConfig
    train: TrainConfig
    weights: str
    """The backbone's, as `Encoder` takes them."""

    def with_parameters(self, parameters: dict[str, Any]) -> tuple[ModelConfig, TrainConfig]:
        """Both configurations with some settings changed.

        Raises:
            ConfigError: they don't go together.
        """
        return make_configs(to_settings(self.model, self.train) | to_values(parameters))


class Workshop:
    """Trains one configuration after the other on the same data."""

    def __init__(
        self, dataset: Dataset, start: Start, cache: Path, folder: Path, device: torch.device
    ) -> None:
        """Encode the pictures as the search starts.

        Args:
            dataset: the data, read.
            start: what the search starts from.
            cache: keeps the features of pictures.
            folder: for what a training writes; it is removed after each.
            device: where to train.

        Raises:
            VisrecError: the data can't be trained on, or there is nothing to validate on.
        """
        self._start, self._cache, self._folder, self._device = start, cache, folder, device
        self._dataset = dataset
        # features of one backbone may take gigabytes; those of others come from the cache on disk
        self._encoded = lru_cache(maxsize=2)(self._encode)
        _, prepared = self._prepared(start.model)
        validation = Validation(prepared.split, prepared.dataset.catalogue, start.train.seed + 1)
        if validation.lacking:
            raise DataError(f"nothing to search by: {validation.lacking}")
        self.data = dict(fingerprint(prepared.dataset, prepared.regions, prepared.split))
        """Names the data."""

    def train(self, model: ModelConfig, train: TrainConfig, watch: Callable[[Progress], None]) -> Progress:
        """Train one configuration, the same way each time.

        Raises:
            VisrecError: it can't be trained.
            RuntimeError: it needs more memory than there is, or its numbers can't be computed with.
        """
        encoder, prepared = self._prepared(model)
        encoder = copy.deepcopy(encoder)  # fine-tuning changes it
        try:
            trainer = Trainer(prepared, encoder, model, train, self._folder, self._device)
            return trainer.run(watch)
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _prepared(self, model: ModelConfig) -> tuple[Encoder, Prepared]:
        return self._encoded(model.backbone, model.levels, model.picture_size)

    def _encode(self, backbone: str, levels: tuple[int, ...], size: int) -> tuple[Encoder, Prepared]:
        start = self._start
        torch.manual_seed(start.train.seed)  # decides the weights of a random backbone
        encoder = Encoder(backbone, levels, weights=start.weights)
        model = dataclasses.replace(start.model, backbone=backbone, levels=levels, picture_size=size)
        check_memory(self._dataset, encoder.dim, model, start.train)
        return encoder, prepare(self._dataset, encoder, model, start.train, self._cache, self._device)


class Search:
    """One study: opened, gone on with, and read."""

    def __init__(self, folder: Path, space: Space, start: Start) -> None:
        """Open a study, or begin one.

        Args:
            folder: it exists, and holds the study.
            space: what is searched.
            start: what it starts from; `space` holds it.

        Raises:
            VisrecError: the folder holds another search.
        """
        self.space, self.start = space, start
        location = (folder / STUDY).resolve().as_uri()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with _stored(folder):
            self.study = optuna.create_study(
                storage=f"sqlite:///{location}?uri=true",
                study_name="visrec tune",
                direction="maximize",
                load_if_exists=True,
                # from the second trial on: epochs are dear next to the closed form, which tells most of it
                pruner=optuna.pruners.MedianPruner(n_startup_trials=1),
            )
        self._folder = folder
        searched = {name: distribution_to_json(tried) for name, tried in space.items()}
        settings = to_settings(start.model, start.train) | {"weights": start.weights}
        self._claim("space", searched)
        self._claim("start", {name: str(value) for name, value in settings.items()})

    @property
    def ended(self) -> list[FrozenTrial]:
        """Trials that came to an end by themselves, the first of which is what the search starts from."""
        states = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
        trials = self.study.get_trials(deepcopy=False, states=states)
        return [each for each in trials if each.state is not TrialState.FAIL or ERROR in each.user_attrs]

    @property
    def best(self) -> FrozenTrial:
        """The best trial of those that are on no validation worse than the first; at least one has ended."""
        return self.study.best_trial

    def configs(self, trial: FrozenTrial) -> tuple[ModelConfig, TrainConfig]:
        """The settings of a trial."""
        return self.start.with_parameters(trial.params)

    def run(
        self, workshop: Workshop, trials: int, deadline: float, tell: Callable[[FrozenTrial], None]
    ) -> None:
        """Go on until so many trials have ended, those of earlier runs among them.

        Args:
            workshop: trains.
            trials: how many in all.
            deadline: no trial is begun after it, in seconds of `time.monotonic`.
            tell: called after each.

        Raises:
            VisrecError: the study was made with other data, the first trial failed, or the study can't be
                written.
        """
        with _stored(self._folder):
            self._claim("data", workshop.data)
            for stale in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                self.study.tell(stale.number, state=TrialState.FAIL)  # killed; its proposal is made again
            while (done := len(self.ended)) < trials and time.monotonic() < deadline:
                tell(self._run(workshop, done))

    def _run(self, workshop: Workshop, done: int) -> FrozenTrial:
        """Run the trial that follows those that are done."""
        self.study.sampler = optuna.samplers.TPESampler(seed=(self.start.train.seed + done) % 2**32)
        if not done and not self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            self.study.enqueue_trial(start_of(self.space, self.start.model, self.start.train))
        trial = self.study.ask(self.space)
        latest = Progress()
        try:
            model, train = self.start.with_parameters(trial.params)

            def watch(progress: Progress) -> None:
                nonlocal latest
                latest = progress
                trial.report(progress.best, progress.epoch)
                if progress.epoch < train.epochs and trial.should_prune():
                    raise optuna.TrialPruned

            latest = workshop.train(model, train, watch)
        except optuna.TrialPruned:
            return self._tell(trial, latest, TrialState.PRUNED)
        # torch raises the last when memory is short
        except (VisrecError, MemoryError, RuntimeError) as error:
            return self._fail(trial, error)
        return self._tell(trial, latest, TrialState.COMPLETE)

    def _tell(self, trial: optuna.Trial, progress: Progress, state: TrialState) -> FrozenTrial:
        """Keep what a trial reached, and whether it is on any validation worse than the first."""
        figures = reached(progress)
        if not figures:
            return self._fail(trial, DataError("neither a closed form nor an epoch was measured"))
        first = self.ended[0].user_attrs[FIGURES] if self.ended else figures
        for name, value in figures.items():
            trial.set_constraint(name, first[name] - value)
        trial.set_user_attr("epochs", progress.epoch)
        trial.set_user_attr("best epoch", progress.best_epoch)
        trial.set_user_attr(FIGURES, figures)
        return self.study.tell(trial, progress.best if state is TrialState.COMPLETE else None, state=state)

    def _fail(self, trial: optuna.Trial, error: Exception) -> FrozenTrial:
        """Keep why a trial failed; but for the first, which stays open, so that it is tried again."""
        told = " ".join(str(error).split()) or type(error).__name__
        if not self.ended:
            raise VisrecError(f"the settings that the search starts from fail: {told}") from error
        trial.set_user_attr(ERROR, told)
        return self.study.tell(trial, state=TrialState.FAIL)

    def _claim(self, name: str, now: dict[str, str]) -> None:
        """Have the study be one of this, or make sure that it is.

        Raises:
            VisrecError: it is one of something else.
        """
        then = self.study.user_attrs.get(name)
        if then is None:
            self.study.set_user_attr(name, now)
        elif then != now:
            changed = sorted(each for each in then | now if then.get(each) != now.get(each))
            raise VisrecError(
                f"{self._folder} holds a search with another {name}, by {', '.join(changed)}: give the same"
                " arguments to go on, or another folder with --out"
            )


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the folder of a search; the system gives it back if this process dies.

    Raises:
        VisrecError: another search is at work there.
    """
    with (folder / "study.lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise VisrecError(
                f"another search is at work in {folder}: give another folder with --out"
            ) from error
        yield


def reached(progress: Progress) -> dict[str, float]:
    """What each validation says of the best state of a training, as `best.pt` holds it."""
    figures = progress.history[progress.best_epoch - 1] if progress.best_epoch else progress.closed_form
    return {name: value for name, value in figures.items() if name != "loss"}


@contextmanager
def _stored(folder: Path) -> Iterator[None]:
    """Tell in one line what is wrong with the database of a study."""
    try:
        yield
    except (StorageInternalError, SQLAlchemyError) as error:
        cause = error.__cause__ or error
        raise VisrecError(f"can't use {folder / STUDY}: {str(cause).splitlines()[0]}") from error
