"""The model in closed form: what behaviour says of the items that were met, and content of all others.

Weights between items are kept as a low rank (places) and the strongest of what that leaves (the table of
neighbours). For a new item, what histories say is predicted from its content; the low rank takes of it what
it can, and the table the rest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from visrec_training.audiences import CHOICE_ITEMS, Audiences, fit_audiences
from visrec_training.collaborative import Learned, learn_places, met_items
from visrec_training.config import ModelConfig
from visrec_training.content import Content
from visrec_training.item_weights import ItemWeights, Strengths, fit_weights
from visrec_training.lookup import find
from visrec_training.neighbours import Entries, Neighbours, entries, strongest, table
from visrec_training.people import People
from visrec_training.split import Split
from visrec_training.stages import Stages
from visrec_training.transitions import Transitions

PROBE_SHARE = 0.1  # of the items that were met, taken for new where something is chosen for new items
BLOCK = 1_024  # new items at a time


@dataclass(frozen=True)
class Newcomers:
    """Where k items lie by regression, as ones that nobody met."""

    rows: Tensor
    """int64 [k], of the catalogue."""
    sources: Tensor
    """float32 [k, regression_dim]."""
    targets: Tensor
    """float32 [k, regression_dim]."""

    def place(self, places: Tensor, of: Tensor, scale: float) -> Tensor:
        """Put them, with targets times a scale, into places, float [n, place_width].

        Args:
            places: where items lie now.
            of: int64 [n], their rows in the catalogue.
            scale: how loud histories speak for new items.
        """
        if not len(self.rows):
            return places
        found, is_there = find(self.rows, of)
        here, found = is_there.nonzero().flatten(), found[is_there]
        width, half = self.targets.shape[1], places.shape[1] // 2
        placed = places.clone()
        placed[here, :width] = self.sources[found]
        placed[here, half : half + width] = scale * self.targets[found]
        return placed


@dataclass(frozen=True)
class Tables:
    """The table of neighbours, and what is said for new items in two ways, which few items say."""

    known: Neighbours
    """What all items say for those that were met."""
    speakers: Tensor
    """int64 [l], ascending: who speaks for new items."""
    by_audience: Neighbours
    """[l, m]: what places by regression leave of what audiences foretell of new items."""
    by_content: Neighbours
    """[l, m]: what places by content leave: the rest of the weights, predicted from content."""

    def of(self, scale: float, share: float, chosen: Tensor) -> Neighbours:
        """What some items, int64 [k], say, with places by regression times a scale, or, at 0, by content.

        Args:
            scale: how loud histories speak for new items.
            share: how much the table counts for known items, next to places. For new ones both count alike:
                what is foretold was taken apart into the two, and neither is right without the other.
            chosen: rows of the catalogue.
        """
        said = self.by_audience.louder(scale / share) if scale else self.by_content.louder(1 / share)
        place, speaks = find(self.speakers, chosen)
        return self.known.said_by(chosen).beside(said.said_by(place).where(speaks))


@dataclass(frozen=True)
class ClosedForm:
    """What is fitted before training."""

    learned: Learned
    new: Newcomers
    """All items that nobody met."""
    tables: Tables
    left_out: Newcomers
    """All that were met, each as if nobody had."""
    is_probe: Tensor
    """bool [N]: the items that are taken for new to choose by."""
    trial_tables: Tables
    """The tables as if nobody had met those."""


KEPT = (ClosedForm, Newcomers, Tables, Learned, Neighbours, Strengths)
"""Types that stages hold beside tensors."""


@torch.no_grad()
def fit_closed_form(
    split: Split, content: Content, config: ModelConfig, most_dense: int, stages: Stages
) -> ClosedForm:
    """Fit places and table.

    Args:
        split: somebody liked something in `train`; `valid` is what strengths are chosen by.
        content: of all N items.
        config: says how wide places are.
        most_dense: beyond so many items, matrices of all by all are made of the most met ones alone.
        stages: keeps what takes long.
    """
    count, device = len(content.meanings), content.meanings.device
    met = met_items(split.train, count).to(device)
    people = People.of(split.train, met, count)
    landmarks = people.most_met(len(met) if len(met) <= most_dense else CHOICE_ITEMS)
    transitions = Transitions.of(split.train, met, count) if split.has_order else None
    weights = fit_weights(people, transitions, met, content, split.validation, most_dense, stages)
    learned = stages.keep("places", lambda: learn_places(people, met, landmarks, weights, config))
    audiences = fit_audiences(people.among(landmarks), met[landmarks], content, weights.among(landmarks))
    return _Assembly(learned, weights, audiences, people.told(), config).closed_form(count)


class _Assembly:
    """Takes weights apart into places and table, for known and for new items alike."""

    def __init__(
        self, learned: Learned, weights: ItemWeights, audiences: Audiences, told: Tensor, config: ModelConfig
    ) -> None:
        self.learned, self.weights, self.audiences = learned, weights, audiences
        self.landmarks = learned.rows[learned.landmarks]
        width, half = config.regression_dim, config.collaborative_dim
        places = learned.places
        self.places = places[:, :width], places[:, half : half + width]
        self.sources, targets = (each[learned.landmarks] for each in self.places)
        self.project = torch.linalg.pinv(self.sources)
        self.unit = 1 / learned.unit if learned.unit else 0.0
        votes = self.unit * weights.among(learned.landmarks)
        self.rest = votes - self.sources @ targets.T
        self.left_out, self.rest_left_out = audiences.left_out(), audiences.predict_others(self.rest)
        told = told[:, learned.landmarks]
        known, timid = _spread(told, votes), _spread(told, self.left_out)
        self.scale = known / timid if timid else 0.0  # an audience is no regression weight

    def closed_form(self, count: int) -> ClosedForm:
        rows = self.landmarks
        is_new = torch.ones(count, dtype=torch.bool, device=rows.device)
        is_new[self.learned.rows] = False
        new = is_new.nonzero().flatten()
        as_new = self.scale * self.left_out
        left_out = Newcomers(rows, self.sources, (self.project @ as_new).T)
        drawn = torch.from_numpy(np.random.default_rng(0).random(len(rows)) < PROBE_SHARE).to(rows.device)
        known, probes = (~drawn).nonzero().flatten(), drawn.nonzero().flatten()
        is_probe = torch.zeros_like(is_new).index_fill(0, rows[probes], True)
        among_known = self._among_known((~is_probe[self.learned.rows]).nonzero().flatten())

        def for_probes(votes: Tensor) -> Neighbours:
            said = _Loudest(known)
            said.hear(rows[probes], votes[known][:, probes])
            return said.table()

        trial_tables = Tables(
            table([among_known], count),
            rows[known],
            for_probes(as_new - self.sources @ left_out.targets.T),
            for_probes(self.rest_left_out),
        )
        return ClosedForm(self.learned, *self._newcomers(new, count), left_out, is_probe, trial_tables)

    def _newcomers(self, new: Tensor, count: int) -> tuple[Newcomers, Tables]:
        """Places of new items, and what they and known ones say for each other, a block at a time."""
        rows = self.landmarks
        sources, targets = [self.sources[:0]], [self.sources[:0]]
        said = [self._among_known(torch.arange(len(self.learned.rows), device=rows.device))]
        by_audience, by_content = _Loudest(rows), _Loudest(rows)
        regress = self.audiences.regress
        of_sources, of_rest, of_columns = regress(self.sources), regress(self.rest), regress(self.rest.T)
        for block in tqdm(new.split(BLOCK), desc="placing new items", unit="block", leave=False):
            kernel = self.audiences.kernel(block)
            foretold = self.scale * self.audiences.foretell(kernel)
            sources.append(kernel.T @ of_sources)
            targets.append((self.project @ foretold).T)
            said.append(entries(kernel.T @ of_rest, block, rows))
            by_audience.hear(block, foretold - self.sources @ targets[-1].T)
            by_content.hear(block, of_columns.T @ kernel)
        placed = Newcomers(new, torch.cat(sources), torch.cat(targets))
        return placed, Tables(table(said, count), rows, by_audience.table(), by_content.table())

    def _among_known(self, kept: Tensor) -> Entries:
        """What some of the items that were met, int64 [k] of n, say for each other beyond their places."""
        rows = self.learned.rows
        speakers, spoken, votes = self.weights.rest(*self.places, self.unit, kept)
        return rows[speakers], rows[spoken], votes


class _Loudest:
    """The strongest of what each speaker says for items that come a block at a time."""

    def __init__(self, speakers: Tensor) -> None:
        self._spoken = speakers[:0].expand(len(speakers), 0)
        self._votes = torch.zeros(len(speakers), 0, device=speakers.device)

    def hear(self, spoken: Tensor, votes: Tensor) -> None:
        """Take in votes, [n, k], for the items `spoken`, int64 [k]."""
        rows = torch.cat([self._spoken, spoken.expand(len(votes), -1)], dim=1)
        heard = torch.cat([self._votes, votes], dim=1)
        kept = strongest(heard)
        self._spoken, self._votes = rows.gather(1, kept), heard.gather(1, kept)

    def table(self) -> Neighbours:
        return Neighbours(self._spoken.int(), self._votes)


def _spread(told: Tensor, votes: Tensor) -> float:
    """How far what people chose puts items apart: the mean over people of the deviation over items."""
    return float((told @ votes).std(1).mean()) if votes.shape[1] > 1 else 0.0
