"""The training loop: full softmax over the catalogue, item vectors made anew in each step."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from visrec_training.attention import GIST
from visrec_training.checkpoint import Checkpoint
from visrec_training.collaborative import Learned, fit_places, learn_places, who_chose, word_features
from visrec_training.config import ModelConfig, TrainConfig
from visrec_training.encoder import Encoder
from visrec_training.errors import CheckpointError, DataError
from visrec_training.examples import AnyItem, Batch, QueryWords, follows, make_examples
from visrec_training.fingerprint import fingerprint
from visrec_training.fusion_scorer import FusionScorer
from visrec_training.item_texts import background, item_words, read_item_texts
from visrec_training.item_tower import Items
from visrec_training.model import Model
from visrec_training.neighbours import Content, Neighbours, fit_neighbours, no_neighbours
from visrec_training.optimizer import make_optimizer
from visrec_training.prepare import Prepared, reduce_regions, summarize, warn
from visrec_training.query_tower import ALL_PARTS, NEIGHBOURS, History
from visrec_training.regions import load_pictures
from visrec_training.text.encoders import text_encoder
from visrec_training.text_space import TextSpace
from visrec_training.validation import BALANCED_ON, Judged, Validation
from visrec_training.vocabulary import NO_WORDS, Vocabulary, cut_texts

FIT_PICTURES = 2_000  # more tell no more about the attention's fitted parts


@dataclass
class Progress:
    """Where training stands."""

    epoch: int = 0
    best: float = -math.inf
    best_epoch: int = 0
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
    ) -> None:
        """Build the model, seeded.

        Args:
            prepared: the data.
            encoder: with its weights.
            model_config: the model's shape.
            config: how to train.
            out: folder for `last.pt`, `best.pt`, `closed_form.pt` and TensorBoard's files.
            device: where to train.

        Raises:
            DataError: all items are cold.
        """
        if not len(prepared.split.warm_items):
            raise DataError("every item is cold in the column split: nothing is left to learn from")
        torch.manual_seed(config.seed)
        torch.use_deterministic_algorithms(True, warn_only=True)
        # nothing here reads memory that was not written
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        self.prepared, self.config, self.out, self.device = prepared, config, out, device
        catalogue, split = prepared.dataset.catalogue, prepared.split
        space = TextSpace(model_config, text_encoder(model_config.text_encoder).width, NO_WORDS)
        space.fit_meaning(torch.from_numpy(background(model_config.text_encoder)))
        texts = read_item_texts(catalogue, model_config.text_encoder, space)
        self.vocabulary = Vocabulary.learn([texts.tokens[row] for row in split.warm_items])
        tokens, cut = self.vocabulary.encode(texts.tokens, model_config.item_words)
        self.meanings = texts.meanings.to(device)
        self.tokens = torch.from_numpy(tokens).to(device)
        self.summary = summarize(prepared, cut_texts(cut, model_config.item_words))
        self.query_words = QueryWords(catalogue, self.vocabulary, model_config)
        self.examples = make_examples(split, catalogue, self.query_words, model_config.history, config)
        self.has_id = torch.from_numpy(split.candidates).to(device)
        # items without interactions are masked from the softmax, unless content is all that is learned from
        self.negatives = self.has_id if follows(split.train) else torch.from_numpy(~split.is_cold).to(device)
        self.fingerprint = fingerprint(prepared.dataset, prepared.regions, split)
        self.model = Model(model_config, self.vocabulary, len(catalogue), encoder).to(device)
        self._fit_attention()
        self.model.text_space.mean.copy_(space.mean)
        self.model.text_space.axes.copy_(space.axes)
        self.reduced = reduce_regions(self.model.attention.reduce, prepared.regions, device)
        self.learned, self.neighbours = None, no_neighbours(len(catalogue), device)
        if split.candidates.any():
            tower = self.model.item_tower
            self.learned = learn_places(split.train, tower.words, self.tokens, model_config, config)
            self.neighbours, spread = self._fit_neighbours(self.learned)
            self.model.query_tower.expect(*self.learned.spreads, spread, config.even_history)
        self.finetuned = encoder.freeze_all_but(config.finetune_blocks)
        steps = config.epochs * math.ceil(len(self.examples) / config.batch)
        self.optimizer, self.schedule = make_optimizer(self.model, self.finetuned, config, steps)
        self.validation = Validation(split, catalogue, config.seed + 1)
        self.progress = Progress()

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
        self.schedule.load_state_dict(progress.pop("schedule"))
        self.progress = Progress(**progress)
        if self.finetuned:
            self._encode_again()

    def run(self) -> Progress:
        """Train until the last epoch, or until validation stops getting better.

        Where there is nothing to validate on, the training loss takes its place.

        Raises:
            DataError: the loss is no number any more.
        """
        warn(self._shortcomings())
        with SummaryWriter(str(self.out / "tensorboard")) as board:
            self._look(new_gists=True)
            if not self.progress.epoch and self.learned:
                start = self.model.query_tower.balance.bias.detach().clone()
                if self.validation.asks_people:
                    tower = self.model.query_tower
                    tower.weigh(ALL_PARTS, lambda: self._ask().ndcg)
                    tower.temper(lambda: self._ask().excess)
                score = self._score()
                self.progress.best = -math.inf if score is None else score
                for name in ("closed_form.pt", "best.pt"):
                    self._checkpoint(figures_only=True).save(self.out / name)
                # training does not see the table, so it starts from parts that make up for it
                self.model.query_tower.balance.bias.data.copy_(start)
            while self.progress.epoch < self.config.epochs and not self._is_stale():
                loss = self._epoch()
                self._look(new_gists=bool(self.finetuned))
                if self.validation.asks_people:
                    self.model.query_tower.weigh((NEIGHBOURS,), lambda: self._ask().ndcg)
                score = self._score()
                self.progress.epoch += 1
                figures = {"loss": loss} if score is None else {"loss": loss, "ndcg@10": score}
                self.progress.history.append(figures)
                board.add_scalar("loss", loss, self.progress.epoch)
                if score is not None:
                    board.add_scalar("valid/ndcg@10", score, self.progress.epoch)
                better = -loss if score is None else score
                if better > self.progress.best:
                    self.progress.best, self.progress.best_epoch = better, self.progress.epoch
                    self._checkpoint(figures_only=True).save(self.out / "best.pt")
                self._checkpoint(figures_only=False).save(self.out / "last.pt")
        return self.progress

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

    def _score(self) -> float | None:
        """Validation NDCG@10; None where there is nothing to ask."""
        return None if self.validation.lacking else self._ask(len(self.validation.section.queries)).ndcg

    def _ask(self, most: int = BALANCED_ON) -> Judged:
        """Ask people of the validation part, as many as are needed to weigh parts."""
        model = self.model
        scorer = FusionScorer(model.query_tower, model.text_space, self.items, model.config.top_k).eval()
        return self.validation.ask(scorer, self.aspects, self.maps, most)

    def _is_stale(self) -> bool:
        """Whether the latest epochs were no better than one before them, whatever the closed form reached."""
        reached = [figures.get("ndcg@10", -figures["loss"]) for figures in self.progress.history]
        return len(reached) > self.config.patience + int(np.argmax(reached)) if reached else False

    @torch.no_grad()
    def _fit_neighbours(self, learned: Learned) -> tuple[Neighbours, float]:
        aspects, _ = self.model.aspects(self.reduced)
        words = word_features(self.model.item_tower.words, self.tokens)
        content, split = Content.of(words, self.meanings, aspects[:, GIST]), self.prepared.split
        people = who_chose(split.train, learned.rows.cpu().numpy(), len(words)).to(self.device)
        return fit_neighbours(people, learned.rows, content, split.validation)

    def _fit_attention(self) -> None:
        rng = np.random.default_rng(self.config.seed)
        warm = self.prepared.split.warm_items
        chosen = np.sort(rng.choice(warm, size=min(FIT_PICTURES, len(warm)), replace=False))
        self.model.attention.fit(torch.from_numpy(self.prepared.regions.values[chosen]).to(self.device))

    def _epoch(self) -> float:
        epoch = self.progress.epoch
        torch.manual_seed(self.config.seed * 10_007 + epoch)
        self.model.train()
        losses = []
        steps = math.ceil(len(self.examples) / self.config.batch)
        with tqdm(
            self.examples.batches(self.config, epoch),
            total=steps,
            desc=f"epoch {epoch + 1}/{self.config.epochs}",
            unit="step",
        ) as progress:
            for batch in progress:
                loss = self._loss(batch.to(self.device))
                self.optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
                self.optimizer.step()
                self.schedule.step()
                losses.append(loss.item())
                progress.set_postfix(loss=f"{np.mean(losses[-50:]):.3f}", refresh=False)
        if self.finetuned:
            self._encode_again()
        mean = float(np.mean(losses))
        if not math.isfinite(mean):
            raise DataError(
                f"the training loss is {mean} in epoch {epoch + 1}: training can't go on; try a lower"
                " --learning-rate"
            )
        return mean

    @torch.no_grad()
    def _look(self, *, new_gists: bool) -> None:
        """Look at the whole catalogue with the attention as it is now; place items where gists are new."""
        self.aspects, self.maps = self.model.aspects(self.reduced)
        if new_gists:
            self._place()
        items, space = self._items(self.aspects, self.has_id), self.model.text_space
        words = item_words(space, self.vocabulary.hashes, self.tokens)
        texts = space.items(self.meanings, self.aspects[:, GIST], words)
        self.items = items._replace(texts=texts, **self.neighbours._asdict())

    def _place(self) -> None:
        """Place items by their gists and words, both as they are known and as if nobody had met them."""
        tower, warm = self.model.item_tower, torch.from_numpy(self.prepared.split.warm_items)
        warm = warm.to(self.device)
        self.model.text_space.fit_looks(self.aspects[warm, GIST], self.meanings[warm])
        if self.learned:
            unseen = fit_places(tower, self.learned, self.aspects, self.config)
        self.known_places = self.new_places = tower.places(self.aspects, self.tokens, self.has_id)
        if self.learned:
            self.new_places = self.known_places.index_copy(0, self.learned.rows, unseen)

    def _loss(self, batch: Batch) -> Tensor:
        """Cross-entropy of softmax(query · items / τ) over all items that training may see.

        Without the table of neighbours: it was fitted to these very examples, so it would leave nothing to
        learn from them. How much it counts is chosen on validation, after each epoch.
        """
        model = self.model
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            aspects, maps = self._attend()
            kept = torch.rand(len(self.has_id), device=self.device) >= self.config.id_dropout
            items = self._items(aspects, self.has_id & kept)
            has_picture = (batch.pictures >= 0).view(-1, 1, 1)
            pictures = batch.pictures.clamp_min(0)
            query, _, _ = model.query_tower(
                aspects[pictures] * has_picture,
                maps[pictures] * has_picture,
                History.look_up(items.vectors, items.sources, batch.history, model.config),
                batch.tokens,
            )
        # outside autocast: half precision can't tell the best items apart
        logits = query.float() @ items.vectors.float().T
        logits = logits.masked_fill(~self.negatives, -1e9)
        if isinstance(self.examples, AnyItem):  # what is told already is no wrong answer
            told = torch.cat([batch.history, batch.pictures.unsqueeze(1)], dim=1)
            known = torch.zeros_like(logits).scatter_add(1, told.clamp_min(0), (told >= 0).float())
            logits = logits.masked_fill(known > 0, -1e9)
        is_target = batch.targets >= 0
        likely = F.log_softmax(logits, dim=1).gather(1, batch.targets.clamp_min(0))
        return -((likely * is_target).sum(1) / is_target.sum(1)).mean()

    def _items(self, aspects: Tensor, has_id: Tensor) -> Items:
        """The catalogue as if only items with an id, bool [N], had been met."""
        tower = self.model.item_tower
        places = torch.where(has_id.unsqueeze(1), self.known_places, self.new_places)
        return Items.join(tower.content(aspects, self.tokens, has_id), tower.as_met(places, has_id))

    def _attend(self) -> tuple[Tensor, Tensor]:
        """Aspects and maps of the whole catalogue; some pictures, drawn at random, are looked at anew.

        The others keep what was seen in them last: their content still takes part in every softmax, at a
        fraction of the cost. The draw must not depend on the batch: were targets always fresh, the model
        would learn to tell fresh from stale.
        """
        rows = torch.randperm(len(self.reduced), device=self.device)[: self.config.attended]
        aspects, maps = self.model.attention.attend(self._reduced(rows))
        aspects = self.aspects.index_copy(0, rows, aspects.float())
        maps = self.maps.index_copy(0, rows, maps.float())
        self.aspects, self.maps = aspects.detach(), maps.detach()
        return aspects, maps

    def _reduced(self, rows: Tensor) -> Tensor:
        """Reduced regions of some items; with a trained backbone the first few are encoded anew."""
        if not self.finetuned:
            return self.reduced[rows]
        fresh, rest = rows.split([n := min(len(rows), self.config.finetune_pictures), len(rows) - n])
        images = [self.prepared.dataset.catalogue.images[row] for row in fresh.tolist()]
        return torch.cat([self._encode(images), self.reduced[rest]])

    def _encode(self, images: Sequence[Path]) -> Tensor:
        """Pictures to reduced regions, float [n, 49, region_dim], with the backbone as it is now."""
        pictures, _ = load_pictures(images, self.model.config.picture_size)
        regions = self.model.encoder(torch.from_numpy(pictures).to(self.device))
        return self.model.attention.reduce(regions)

    @torch.no_grad()
    def _encode_again(self) -> None:
        """Bring the regions of the whole catalogue up to the backbone's newest weights."""
        self.model.eval()
        images = self.prepared.dataset.catalogue.images
        for start in tqdm(range(0, len(images), 32), desc="encoding pictures anew", leave=False):
            self.reduced[start : start + 32] = self._encode(images[start : start + 32])

    def _checkpoint(self, *, figures_only: bool) -> Checkpoint:
        progress = dataclasses.asdict(self.progress)
        if not figures_only:
            progress["optimizer"] = self.optimizer.state_dict()
            progress["schedule"] = self.schedule.state_dict()
        return Checkpoint(
            model_config=self.model.config,
            train_config=self.config,
            vocabulary=self.vocabulary,
            item_ids=self.prepared.dataset.catalogue.item_ids,
            fingerprint=self.fingerprint,
            summary=self.summary.to_dict(),
            state={name: value.detach().cpu() for name, value in self.model.state_dict().items()},
            items=Items(*(each.cpu() for each in self.items)),
            progress=progress,
        )
