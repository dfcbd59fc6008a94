"""What is chosen on validation: how much each fitted part counts, for known and for new items."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch

from visrec_training.balance import FITTED, NEIGHBOURS, REGRESSION, SPECTRAL, choose
from visrec_training.examples import follows
from visrec_training.fusion_scorer import FusionScorer
from visrec_training.item_tower import Items
from visrec_training.live_items import LiveItems
from visrec_training.lookup import find
from visrec_training.metrics import ranking_metrics
from visrec_training.model import Model
from visrec_training.queries import Section
from visrec_training.rehearsal import Rehearsal
from visrec_training.retrieval import Modalities, Read, rank_catalogue, read_queries
from visrec_training.rows import Rows
from visrec_training.split import Split
from visrec_training.validation import BOTH, HISTORY, PICTURE, Validation

SCORED, ASKED = (1_000, 8_000), (100, 2_000)
"""Questions that an epoch is judged by and that a choice is made by: the least and the most."""
SCORED_ITEMS, ASKED_ITEMS = 40_000_000, 4_000_000
"""Items that they score, by all that is sent, between the least and the most."""
RANKED = SCORED_ITEMS // SCORED[0]
"""Items, the most: where there are more, so many are drawn, always the same, beside those that are named."""
SHORT = 3  # items of a history that is not long
NEW_SCALES = (1.0, 0.0, 0.25, 0.5, 2.0, 4.0, 8.0)
"""How loud histories may speak for new items, next to what puts these as far apart as known ones."""
FINER = (1.0, 0.7, 0.84, 1.2, 1.4)  # times the best of those
NEW_SHARE = 0.35
"""Weight of new items in the geometric mean, next to 1 - NEW_SHARE of known ones: they draw fewer
interactions, but have to be found."""
LEAST = 1 / math.log2(11)  # DCG of a hit in the tenth place
FADES = (0.0, 0.2, 0.4, 0.6)
"""Powers by which older items of a history count less, where an order is known; at 0, as it is learned."""


class Tuning:
    """Chooses by two validations: items that people turned to, and such as if nobody had met some of them."""

    def __init__(self, model: Model, live: LiveItems, validation: Validation, split: Split) -> None:
        """Take what is tuned, and what it is judged by."""
        self._model, self._live, self._validation = model, live, validation
        self._has_order = split.has_order
        items = len(split.is_cold) * len(validation.sent)
        scored = int(np.clip(SCORED_ITEMS // items, *SCORED))
        self._known = validation.section.sample(scored)
        self._with_new: tuple[Section, ...] = ()
        self.taken_for_new = np.zeros_like(split.is_cold)
        """bool [N]: items that were met, but are not to be learned from by gradient."""
        if live.closed_form and validation.asks_people:
            is_probe = live.closed_form.is_probe.cpu().numpy()
            asked = split.validation_with_new(is_probe)
            if asked and follows(split.without(is_probe).train):
                self.taken_for_new = is_probe
                self._with_new = tuple(each.sample(scored) for each in asked)
        rows = some_items((self._known, *self._with_new), RANKED)
        self._known, *with_new = (each.among(rows) for each in (self._known, *self._with_new))
        self._with_new = tuple(with_new)
        by = int(np.clip(ASKED_ITEMS // items, *ASKED))
        # what a choice is made by
        self._asked, self._asked_new = self._known.first(by), [each.first(by) for each in with_new]
        self._rows = torch.from_numpy(rows).to(live.has_id.device)

    def before_training(self) -> None:
        """Weigh all that is fitted in closed form; without people to ask, leave it as it is."""
        self._look()
        if not self._with_new:
            return
        tower = self._model.query_tower
        tower.balance.leave_content_out()
        tower.balance.weigh(FITTED, self._rehearse())
        self._fade()
        self._scale_new_items()
        self._temper()  # keeps the options below away from the bound of weights, MAX_LOG_SCALE
        tower.balance.weigh_looks(*map(self._rehearse_pictures, (PICTURE, BOTH)))
        self._temper()

    def after_epoch(self) -> None:
        """Weigh what is fitted in closed form, and what was trained next to it.

        Training sees no table, and places that were fitted to the very examples that it learns from.
        """
        self._look()
        if self._with_new:
            balance, rehearse = self._model.query_tower.balance, self._rehearse()
            balance.weigh((REGRESSION, NEIGHBOURS, SPECTRAL), rehearse)
            balance.weigh_content(rehearse)
            balance.weigh((REGRESSION, NEIGHBOURS), rehearse)
            self._fade()
            self._scale_new_items()
            self._temper()

    def score(self) -> dict[str, float]:
        """Validation's figures; none where there are no questions."""
        if self._validation.lacking:
            return {}
        figures = {"ndcg@10": self._ndcg(self._items(), self._known)}
        if self._with_new:
            items = self._items_on_trial()
            reached = [self._ndcg(items, section) for section in self._with_new]
            counts = [len(section.queries) for section in self._with_new]
            figures["ndcg@10 with new items"] = joint_quality(reached, counts)
        return figures

    def _ndcg(self, items: Items, section: Section) -> float:
        """Mean NDCG@10 of a section, over all that is sent; asked once, so nothing is kept to ask again."""
        scorer, targets = self._scorer(items), section.queries.targets
        ranked = (
            rank_catalogue(scorer, self._aspects, self._maps, section, sent).rows
            for sent in self._validation.sent
        )
        return float(np.mean([ranking_metrics(rows, targets)["ndcg@10"] for rows in ranked]))

    def _rehearse(self, sent: Sequence[Modalities] = ()) -> Callable[[], float]:
        """Says how good rankings are by the balance as it is then; all else stays as it is now.

        Of known items, and with new ones among them, by long and by short histories.

        Args:
            sent: what is sent; none for all that validation sends.
        """
        known, new = self._asked, self._asked_new
        of_known = self._questions((known, self._short(known)), sent)
        of_new = self._questions((*new, *map(self._short, new)), sent, on_trial=True)
        return lambda: sum(of_known.ndcg()) + self._joint(of_new)

    def _rehearse_pictures(self, sent: Modalities) -> Callable[[], float]:
        """Says how good rankings are by the balance as it is then, for people who look at a picture."""
        known, new = self._looking(self._asked), list(map(self._looking, self._asked_new))
        of_known, of_new = self._questions([known], [sent]), self._questions(new, [sent], on_trial=True)
        return lambda: sum(of_known.ndcg()) + self._joint(of_new)

    def _rehearse_new(self) -> Callable[[], float]:
        """Says how good rankings with new items are, by how loud histories speak for these then."""
        scorer = self._scorer(self._items_on_trial())
        asked = [(section, self._read(scorer, section)) for section in self._asked_new]
        is_new = self._live.is_new(self._rows, on_trial=True)
        return lambda: self._joint(Rehearsal(self._scorer(self._items_on_trial()), is_new, asked))

    def _joint(self, rehearsal: Rehearsal) -> float:
        """The sum of `joint_quality` of the sections with new items, asked once or more, kind after kind."""
        counts, reached = [len(section.queries) for section in self._asked_new], rehearsal.ndcg()
        starts = range(0, len(reached), len(counts))
        return sum(joint_quality(reached[start : start + len(counts)], counts) for start in starts)

    def _short(self, section: Section) -> Section:
        return Section(section.queries.with_recent(SHORT, self._rng()), section.ranked)

    def _looking(self, section: Section) -> Section:
        return Section(section.queries.looking(self._rng()), section.ranked)

    def _rng(self) -> np.random.Generator | None:
        """Draws from histories; None where their order is known, and the newest items are taken."""
        return None if self._has_order else np.random.default_rng(0)

    def _fade(self) -> None:
        """Choose how fast a history fades, where an order is known."""
        if not self._has_order:
            return
        history = self._model.query_tower.history
        learned = history.recency.detach().clone()

        def fade(power: float) -> None:
            history.recency.data.copy_(learned)
            if power:
                history.fade(power)

        choose(FADES, fade, lambda: self._rehearse([HISTORY])())

    def _scale_new_items(self) -> None:
        take, quality = partial(setattr, self._live, "new_scale"), self._rehearse_new()
        best = choose(NEW_SCALES, take, quality)
        if best:
            choose([best * step for step in FINER], take, quality)

    def _temper(self) -> None:
        rehearsal = self._questions([self._asked])
        self._model.query_tower.balance.temper(rehearsal.excess)

    def _look(self) -> None:
        """Take what is seen in pictures as it is now."""
        self._aspects, self._maps = self._live.aspects[self._rows], self._live.maps[self._rows]

    def _items(self) -> Items:
        """Those that are ranked, and those that questions name, as they are now."""
        return self._renumbered(self._live.items_at(self._rows))

    def _items_on_trial(self) -> Items:
        """The same, some of them as if nobody had met them."""
        return self._renumbered(self._live.on_trial(self._rows))

    def _renumbered(self, items: Items) -> Items:
        """Items whose neighbours count among these alone; of what is said for others, nothing is said."""
        place, is_there = find(self._rows, items.neighbours.long())
        return items._replace(neighbours=place.int(), votes=items.votes * is_there)

    def _questions(
        self, sections: Sequence[Section], sent: Sequence[Modalities] = (), *, on_trial: bool = False
    ) -> Rehearsal:
        scorer = self._scorer(self._items_on_trial() if on_trial else self._items())
        asked = [(section, self._read(scorer, section, sent)) for section in sections]
        return Rehearsal(scorer, self._live.is_new(self._rows, on_trial=on_trial), asked)

    def _scorer(self, items: Items) -> FusionScorer:
        model = self._model
        return FusionScorer(model.query_tower, model.text_space, items, model.config.top_k).eval()

    def _read(
        self, scorer: FusionScorer, section: Section, sent: Sequence[Modalities] = ()
    ) -> list[list[Read]]:
        """A section, read once for each of what is sent; none for all that validation sends."""
        return [
            list(read_queries(scorer, self._aspects, self._maps, section, each))
            for each in sent or self._validation.sent
        ]


def some_items(sections: Sequence[Section], most: int) -> Rows:
    """Rows of all items, int64 [k], or of `most` of them, always the same, and all that sections name."""
    count = len(sections[0].ranked)
    if count <= most:
        return np.arange(count)
    drawn = np.random.default_rng(0).choice(count, most, replace=False)
    return np.unique(np.concatenate([drawn, *(each.queries.named() for each in sections)]))


def joint_quality(reached: Sequence[float], counts: Sequence[int]) -> float:
    """Geometric mean of what known and new items reached, or what one ranking of both did.

    Where nothing was found for one kind, it is as if one of its questions had found something in the last
    place that counts: the other kind still decides.

    Args:
        reached: mean NDCG@10 of each kind, known items first.
        counts: questions of each kind, 1 or more.
    """
    found = [max(value, LEAST / count) for value, count in zip(reached, counts, strict=True)]
    shares = (1 - NEW_SHARE, NEW_SHARE) if len(found) > 1 else (1.0,)
    return math.prod(value**share for value, share in zip(found, shares, strict=True))
