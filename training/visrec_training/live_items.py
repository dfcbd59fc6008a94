"""The catalogue as the model has it while it learns: what its pictures show, and where its items lie."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from visrec_training.attention import GIST
from visrec_training.closed_form import ClosedForm, fit_closed_form
from visrec_training.collaborative import fit_places, word_features
from visrec_training.config import TrainConfig
from visrec_training.content import Content
from visrec_training.item_texts import ItemSentences, ItemTexts, item_words
from visrec_training.item_tower import Items
from visrec_training.model import Model
from visrec_training.neighbours import Neighbours, no_neighbours
from visrec_training.prepare import Prepared, reduce_regions
from visrec_training.regions import load_pictures
from visrec_training.scratch import Stored
from visrec_training.stages import Stages
from visrec_training.vocabulary import Vocabulary

FIT_PICTURES = 2_000  # more tell no more about the attention's fitted parts
ENCODED = 32  # pictures that go through the backbone at once
BLOCK = 8_192  # items that are made at once


class LiveItems:
    """Items of one catalogue by one model; fits those parts of it that are not trained."""

    aspects: Stored
    """float [N, M, d]."""
    maps: Stored
    """float [N, M, 49]."""
    new_scale: float
    """How loud histories speak for items that nobody met, by who would choose them. At 0 these lie where
    their words and pictures put them."""

    def __init__(
        self,
        model: Model,
        prepared: Prepared,
        texts: ItemTexts,
        vocabulary: Vocabulary,
        config: TrainConfig,
        stages: Stages,
    ) -> None:
        """Fit the attention to the pictures, and what is known in closed form to what people did.

        Args:
            model: on the device where it is to learn.
            prepared: the data.
            texts: of its items.
            vocabulary: knows their words.
            config: how to train.
            stages: keeps the closed form.
        """
        self._model, self._prepared, self._config, self._hashes = model, prepared, config, vocabulary.hashes
        device, split = next(model.parameters()).device, prepared.split
        tokens, self.texts_cut = vocabulary.encode(texts.tokens, model.config.item_words)
        self._tokens, self._meanings = torch.from_numpy(tokens).to(device), texts.meanings.to(device)
        self._features = word_features(model.item_tower.words, self._tokens)
        self._every = torch.arange(len(tokens), device=device)
        self._warm = torch.from_numpy(split.warm_items).to(device)
        self.has_id = torch.from_numpy(split.candidates).to(device)
        """bool [N]: somebody liked it in training."""
        rng = np.random.default_rng(config.seed)
        sample = np.sort(rng.choice(split.warm_items, min(FIT_PICTURES, len(self._warm)), replace=False))
        model.attention.fit(torch.from_numpy(prepared.regions.values[sample]).to(device))
        self._reduced = reduce_regions(model.attention.reduce, prepared.regions, device)
        self.closed_form: ClosedForm | None = None
        """None where nobody liked anything."""
        self.new_scale = 1.0
        if split.candidates.any():
            self.closed_form = stages.keep("closed form", lambda: self._fit(stages))
            model.query_tower.balance.expect(*self.closed_form.learned.spreads)
        fitted = self.closed_form
        self._is_probe = fitted.is_probe if fitted else torch.zeros_like(self.has_id)

    def _fit(self, stages: Stages) -> ClosedForm:
        """Fit what is known in closed form, by content and by what people did."""
        model, catalogue = self._model, self._prepared.dataset.catalogue
        aspects, _ = model.aspects(self._reduced)
        sentences = ItemSentences(catalogue, model.config.text_encoder, self._every.device)
        gists = aspects[:, GIST]
        content = Content.of(self._features, self._meanings, sentences, gists, catalogue.categories)
        return fit_closed_form(self._prepared.split, content, model.config, self._config.dense_items, stages)

    @torch.no_grad()
    def look(self, *, new_gists: bool) -> None:
        """Look at all pictures with the attention as it is now; place items where gists are new."""
        self.aspects, self.maps = self._model.aspects(self._reduced)
        if new_gists:
            self._place()
        blocks = self._every.split(BLOCK)
        self._content = torch.cat([self._content_of(rows, self.has_id[rows]) for rows in blocks])

    @property
    @torch.no_grad()
    def items(self) -> Items:
        """All of them as they are now, with texts and neighbours."""
        return self.placed(self._every)._replace(texts=self._texts, **self._table(self._every)._asdict())

    @torch.no_grad()
    def items_at(self, rows: Tensor) -> Items:
        """Some of them, int64 [k]; their neighbours count in the whole catalogue."""
        table = self._table(rows)
        return self.placed(rows)._replace(texts=self._texts[rows], **table._asdict())

    @torch.no_grad()
    def placed(self, rows: Tensor) -> Items:
        """Some of them, int64 [k], without texts and neighbours."""
        return Items.join(self._content[rows], self._places(rows, self.has_id[rows], self.new_scale))

    def is_new(self, rows: Tensor, *, on_trial: bool) -> Tensor:
        """Which of some items nobody met, bool [k]; on trial, or are taken for such."""
        return ~(self.has_id & ~self._is_probe if on_trial else self.has_id)[rows]

    @torch.no_grad()
    def on_trial(self, rows: Tensor) -> Items:
        """As `items_at`, but some items that were met are taken for new."""
        assert self.closed_form  # noqa: S101  (else nobody can be asked)
        has_id = ~self.is_new(rows, on_trial=True)
        content, probes = self._content[rows], self._is_probe[rows].nonzero().flatten()
        content[probes] = self._content_of(rows[probes], has_id[probes])
        table = self.closed_form.trial_tables.of(self.new_scale, self._table_share, rows)
        items = Items.join(content, self._places(rows, has_id, self.new_scale))
        return items._replace(texts=self._texts[rows], **table._asdict())

    def made(self, aspects: Tensor, has_id: Tensor) -> Items:
        """The items as if only those with an id, bool [N], had been met; without texts and table.

        The others lie where their words and pictures put them: what audiences say of them is fitted to all
        people, and would leave nothing to learn.
        """
        content = self._model.item_tower.content(aspects, self._tokens, has_id)
        return Items.join(content, self._places(self._every, has_id, scale=0.0))

    def made_of(self, rows: Tensor, has_id: Tensor) -> Items:
        """As `made`, some items alone, int64 [k], with what was seen in their pictures last.

        Args:
            rows: of the catalogue.
            has_id: bool [k].
        """
        return Items.join(self._content_of(rows, has_id), self._places(rows, has_id, scale=0.0))

    def attend_to(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Aspects [k, M, d] and maps [k, M, 49] of some pictures, int64 [k], looked at anew."""
        aspects, maps = self._model.attention.attend(self._fresh(rows))
        self.aspects[rows], self.maps[rows] = aspects.detach().float(), maps.detach().float()
        return aspects, maps

    def attend(self) -> tuple[Tensor, Tensor]:
        """Aspects and maps of the catalogue; some pictures, drawn at random, are looked at anew.

        The others keep what was seen in them last: their content still takes part in every softmax, at a
        fraction of the cost. The draw must not depend on the batch: were targets always fresh, the model
        would learn to tell fresh from stale.
        """
        rows = torch.randperm(len(self._every), device=self._every.device)[: self._config.attended]
        aspects, maps = self._model.attention.attend(self._fresh(rows))
        aspects = self.aspects[:].index_copy(0, rows, aspects.float())
        maps = self.maps[:].index_copy(0, rows, maps.float())
        self.aspects[:], self.maps[:] = aspects.detach(), maps.detach()
        return aspects, maps

    @torch.no_grad()
    def encode_again(self) -> None:
        """Bring the regions of all pictures up to the backbone's newest weights."""
        self._model.eval()
        images = self._prepared.dataset.catalogue.images
        for start in tqdm(range(0, len(images), ENCODED), desc="encoding pictures anew", leave=False):
            self._reduced[start : start + ENCODED] = self._encode(images[start : start + ENCODED])

    def _table(self, rows: Tensor) -> Neighbours:
        if self.closed_form is None:
            return no_neighbours(len(rows), rows.device)
        return self.closed_form.tables.of(self.new_scale, self._table_share, rows)

    @property
    def _table_share(self) -> float:
        return self._model.query_tower.balance.table_share

    def _content_of(self, rows: Tensor, has_id: Tensor) -> Tensor:
        return self._model.item_tower.content_of(rows, self.aspects[rows], self._tokens[rows], has_id)

    def _places(self, rows: Tensor, has_id: Tensor, scale: float) -> Tensor:
        places = self._known_places[rows]
        if self.closed_form:
            new = self._new_places[rows]
            if scale:
                new = self.closed_form.new.place(new, rows, scale)
                new = self.closed_form.left_out.place(new, rows, scale)
            places = torch.where(has_id.unsqueeze(1), places, new)
        return self._model.item_tower.as_met(places, has_id)

    def _place(self) -> None:
        """Place items by their gists and words, both as they are known and as if nobody had met them."""
        tower, space = self._model.item_tower, self._model.text_space
        gists = self.aspects[:, GIST]
        space.fit_looks(gists[self._warm], self._meanings[self._warm])
        if self.closed_form:
            unseen = fit_places(tower, self.closed_form.learned, self._features, gists, self._config)
        known = [
            tower.places_of(rows, self.aspects[rows], self._tokens[rows], self.has_id[rows])
            for rows in self._every.split(BLOCK)
        ]
        self._known_places = torch.cat(known)
        if self.closed_form:
            self._new_places = self._known_places.index_copy(0, self.closed_form.learned.rows, unseen)
        self._texts = space.items(self._meanings, gists, item_words(space, self._hashes, self._tokens))

    def _fresh(self, rows: Tensor) -> Tensor:
        """Reduced regions of some items; with a trained backbone the first few are encoded anew."""
        if not self._config.finetune_blocks:
            return self._reduced[rows]
        fresh, rest = rows.split([n := min(len(rows), self._config.finetune_pictures), len(rows) - n])
        images = [self._prepared.dataset.catalogue.images[row] for row in fresh.tolist()]
        return torch.cat([self._encode(images), self._reduced[rest]])

    def _encode(self, images: Sequence[Path]) -> Tensor:
        """Pictures to reduced regions, float [n, 49, region_dim], with the backbone as it is now."""
        pictures, _ = load_pictures(images, self._model.config.picture_size)
        regions = self._model.encoder(torch.from_numpy(pictures).to(self._every.device))
        return self._model.attention.reduce(regions)
