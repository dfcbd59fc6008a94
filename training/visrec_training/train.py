"""The training loop: the closed form first, then gradient steps, kept where validation says so."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from visrec_training import stages
from visrec_training.baselines import popularity_of
from visrec_training.checkpoint import Checkpoint
from visrec_training.closed_form import KEPT
from visrec_training.config import ModelConfig, TrainConfig
from visrec_training.encoder import Encoder
from visrec_training.errors import CheckpointError, DataError
from visrec_training.examples import (
    AnyItem,
    QueryWords,
    follows,
    history_length,
    make_examples,
)
from visrec_training.fingerprint import fingerprint
from visrec_training.item_texts import background, read_item_texts
from visrec_training.item_tower import Items
from visrec_training.live_items import LiveItems
from visrec_training.model import Model
from visrec_training.objective import Objective
from visrec_training.optimizer import Optimizer
from visrec_training.prepare import Prepared, summarize, warn
from visrec_training.stages import Stages
from visrec_training.text.encoders import text_encoder
from visrec_training.text_space import TextSpace
from visrec_training.tuning import Tuning
from visrec_training.validation import Validation
from visrec_training.vocabulary import NO_WORDS, Vocabulary, cut_texts

EPOCH_EXAMPLES, SAMPLED_EXAMPLES = 102_400, 25_600
"""The most of an epoch, and where the softmax is sampled: validation is asked before all of very many were
seen."""


@dataclass
class Progress:
    """Where training stands."""

    is_started: bool = False
    """Whether what comes before the first epoch is done."""
    epoch: int = 0
    best: float = -math.inf
    best_epoch: int = 0
    new_scale: float = 1.0
    closed_form: dict[str, float] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)


class Trainer:
    """Trains one model on one prepared data set."""

    def __init__(
        self,
        prepared: Prepared,
        encoder: Encoder,
        model_config: ModelConfig,
        config: TrainConfig,
        out: Path,
        device: torch.device,
        *,
        keeps_stages: bool = False,
    ) -> None:
        """Build the model, seeded, and fit what is known in closed form.

        Args:
            prepared: the data.
            encoder: with its weights.
            model_config: the model's shape.
            config: how to train.
            out: folder for `last.pt`, `best.pt`, `closed_form.pt` and TensorBoard's files.
            device: where to train.
            keeps_stages: whether what comes before the first epoch is kept in `out` until the end.

        Raises:
            DataError: all items are cold.
        """
        split, catalogue = prepared.split, prepared.dataset.catalogue
        if not len(split.warm_items):
            raise DataError("every item is cold in the column split: nothing is left to learn from")
        length = model_config.history or history_length(split.train)
        model_config = dataclasses.replace(model_config, history=length)
        _settle(config.seed)
        self.prepared, self.config, self.out, self.device = prepared, config, out, device
        space = TextSpace(model_config, text_encoder(model_config.text_encoder).width, NO_WORDS)
        space.fit_meaning(torch.from_numpy(background(model_config.text_encoder)))
        texts = read_item_texts(catalogue, model_config.text_encoder, space)
        self.vocabulary = Vocabulary.learn(texts.tokens.take(split.warm_items))
        self.fingerprint = fingerprint(prepared.dataset, prepared.regions, split)
        self.model = Model(model_config, self.vocabulary, len(catalogue), encoder).to(device)
        self.model.text_space.mean.copy_(space.mean)
        self.model.text_space.axes.copy_(space.axes)
        about = {
            "data": self.fingerprint,
            "encoder": encoder.digest(),
            "model": dataclasses.asdict(model_config),
            "train": dataclasses.asdict(config),
        }
        kept = Stages(out if keeps_stages else None, about, device, KEPT)
        self.live = LiveItems(self.model, prepared, texts, self.vocabulary, config, kept)
        self.summary = summarize(prepared, cut_texts(self.live.texts_cut, model_config.item_words))
        self.validation = Validation(split, catalogue, config.seed + 1)
        self.tuning = Tuning(self.model, self.live, self.validation, split)
        self.finetuned = encoder.freeze_all_but(config.finetune_blocks)
        self._prepare_steps()
        self.progress = Progress()
        self._watch: Callable[[Progress], None] | None = None

    def _prepare_steps(self) -> None:
        """What gradient steps need: examples, what is to be reached with them, and the optimizer."""
        model, config, catalogue = self.model, self.config, self.prepared.dataset.catalogue
        taught = self.prepared.split.without(self.tuning.taken_for_new)
        query_words = QueryWords(catalogue, self.vocabulary, model.config)
        self.examples = make_examples(taught, catalogue, query_words, model.config.history, config)
        # items without interactions are masked from the softmax, unless content is all that is learned from
        masked = ~taught.candidates if follows(taught.train) else taught.is_cold
        answers = torch.from_numpy(np.where(masked, -1.0, popularity_of(taught))).float().to(self.device)
        told = isinstance(self.examples, AnyItem)
        self.objective = Objective(model, self.live, config, answers, masks_told=told)
        is_sampled = self.objective.is_sampled
        self.epoch_examples = min(len(self.examples), SAMPLED_EXAMPLES if is_sampled else EPOCH_EXAMPLES)
        steps = config.epochs * math.ceil(self.epoch_examples / config.batch)
        self.optimizer = Optimizer(model, self.finetuned, config, steps, sparse_ids=is_sampled)

    def resume(self, path: Path) -> None:
        """Go on from `last.pt`; the result is that of a run that was never interrupted.

        Raises:
            CheckpointError: it was trained with other data or another configuration.
        """
        checkpoint = Checkpoint.load(path)
        for name, mine, other in (
            ("model", self.model.config, checkpoint.model_config),
            ("training", self.config, checkpoint.train_config),
        ):
            if mine != other:
                raise CheckpointError(
                    f"{path} was trained with another {name} configuration: give the same options, or train"
                    " anew"
                )
        checkpoint.check_data(self.fingerprint)
        progress = dict(checkpoint.progress)
        self.model.load_state_dict(checkpoint.state)
        self.optimizer.load_state_dict(progress.pop("optimizer"))
        self.progress = Progress(**progress)
        self.live.new_scale = self.progress.new_scale
        if self.finetuned:
            self.live.encode_again()

    def run(self, watch: Callable[[Progress], None] | None = None) -> Progress:
        """Train until the last epoch, or until validation stops getting better.

        Where there is nothing to validate on, the training loss takes its place.

        Args:
            watch: called after the closed form, where there is one, and after each epoch, in place of what is
                told on stderr; what it raises ends training.

        Raises:
            DataError: the loss is no number any more.
        """
        self._watch = watch
        if watch is None:
            warn(self._shortcomings())
        with SummaryWriter(str(self.out / "tensorboard")) as board:
            self.live.look(new_gists=True)
            if not self.progress.is_started:
                self._start()
                if watch and self.live.closed_form:
                    watch(self.progress)
            while self.progress.epoch < self.config.epochs and not self._is_stale():
                figures = {"loss": self._epoch()}
                self.live.look(new_gists=bool(self.finetuned))
                trained = copy.deepcopy(self.model.query_tower.state_dict())
                self.tuning.after_epoch()
                figures |= self.tuning.score()
                self.progress.epoch += 1
                self.progress.history.append(figures)
                for name, value in figures.items():
                    board.add_scalar(name if name == "loss" else f"valid/{name}", value, self.progress.epoch)
                if self._is_best(figures):
                    self.progress.best, self.progress.best_epoch = _reached(figures), self.progress.epoch
                    self._checkpoint(figures_only=True).save(self.out / "best.pt")
                self.model.query_tower.load_state_dict(trained)
                self._checkpoint(figures_only=False).save(self.out / "last.pt")
                if watch:
                    watch(self.progress)
        stages.forget(self.out)
        return self.progress

    def _start(self) -> None:
        """Weigh what was fitted in closed form, and save it: a model by itself."""
        if self.live.closed_form:
            untuned = copy.deepcopy(self.model.query_tower.state_dict())
            self.tuning.before_training()
            self.progress.closed_form = self.tuning.score()
            if self.progress.closed_form:
                self.progress.best = _reached(self.progress.closed_form)
            self._checkpoint(figures_only=True).save(self.out / "closed_form.pt")
        if self.live.closed_form or not self.config.epochs:
            self._checkpoint(figures_only=True).save(self.out / "best.pt")
        if self.live.closed_form:
            self.model.query_tower.load_state_dict(untuned)
        self.progress.is_started = True
        if self.config.epochs:
            self._checkpoint(figures_only=False).save(self.out / "last.pt")

    def _shortcomings(self) -> list[str]:
        """What the data is too small for, and what is done instead: a line each."""
        lines = []
        if self.prepared.dataset.interactions is not None and not follows(self.prepared.split.train):
            lines.append(
                "nobody liked two or more of the items that are not held out: what is like what is learned"
                " from pictures, words and categories, and interactions say what is popular"
            )
        if self.validation.lacking:
            lines.append(f"nothing to validate on: {self.validation.lacking}; training stops by its own loss")
        return lines

    def _is_best(self, figures: dict[str, float]) -> bool:
        """Whether an epoch is better than all before it, and on no validation worse than the closed form."""
        no_worse = all(figures[name] >= value for name, value in self.progress.closed_form.items())
        return no_worse and _reached(figures) > self.progress.best

    def _is_stale(self) -> bool:
        """Whether the latest epochs were no better than one before them, whatever the closed form reached."""
        reached = [_reached(figures) for figures in self.progress.history]
        return len(reached) > self.config.patience + int(np.argmax(reached)) if reached else False

    def _epoch(self) -> float:
        epoch = self.progress.epoch
        torch.manual_seed(self.config.seed * 10_007 + epoch)
        self.model.train()
        losses = []
        steps = math.ceil(self.epoch_examples / self.config.batch)
        with tqdm(
            self.examples.batches(self.config, epoch, self.epoch_examples),
            total=steps,
            desc=f"epoch {epoch + 1}/{self.config.epochs}",
            unit="step",
            disable=self._watch is not None,
        ) as progress:
            for batch in progress:
                loss = self.objective.loss(batch.to(self.device))
                loss.backward()
                nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
                self.optimizer.step()
                losses.append(loss.item())
                progress.set_postfix(loss=f"{np.mean(losses[-50:]):.3f}", refresh=False)
        if self.finetuned:
            self.live.encode_again()
        mean = float(np.mean(losses))
        if not math.isfinite(mean):
            raise DataError(
                f"the training loss is {mean} in epoch {epoch + 1}: training can't go on; try a lower"
                " --learning-rate"
            )
        return mean

    def _checkpoint(self, *, figures_only: bool) -> Checkpoint:
        self.progress.new_scale = self.live.new_scale
        progress = dataclasses.asdict(self.progress)
        if not figures_only:
            progress["optimizer"] = self.optimizer.state_dict()
        return Checkpoint(
            model_config=self.model.config,
            train_config=self.config,
            vocabulary=self.vocabulary,
            item_ids=self.prepared.dataset.catalogue.item_ids,
            fingerprint=self.fingerprint,
            summary=self.summary.to_dict(),
            state={name: value.detach().cpu() for name, value in self.model.state_dict().items()},
            items=Items(*(each.cpu() for each in self.live.items)),
            progress=progress,
        )


def _settle(seed: int) -> None:
    """Have torch compute the same each time."""
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True, warn_only=True)
    # nothing here reads memory that was not written
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def _reached(figures: dict[str, float]) -> float:
    """What an epoch is judged by: the mean of what validation says, or the loss where it says nothing."""
    judged = [value for name, value in figures.items() if name != "loss"]
    return float(np.mean(judged)) if judged else -figures["loss"]
