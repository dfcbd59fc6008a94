"""How much one item that people met says for another: ridge regression of each item on all others.

EASE (Steck, WWW 2019), with words that two items share counted beside the people they share (Jeunen et al.,
Closed-Form Models for Collaborative Filtering with Side-Information, RecSys 2020). People who chose much may
count less, and items that many chose may be held smaller, as dropout would (EDLAE, Steck, NeurIPS 2020).
Where an order is known, what people chose after what is mixed in (`transitions`). All strengths are chosen on
validation.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import TypeAlias, TypeVar

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from visrec_training.audiences import CHOICE_ITEMS, CHOICE_PEOPLE, ridge_inverse
from visrec_training.content import Content
from visrec_training.local_weights import fit_local_transitions, fit_local_weights
from visrec_training.metrics import ranking_metrics
from visrec_training.neighbours import Entries, entries, strongest_entries
from visrec_training.people import People
from visrec_training.queries import Queries, Section
from visrec_training.retrieval import rank_scores
from visrec_training.rows import Ragged
from visrec_training.stages import Stages
from visrec_training.transitions import Transitions

BLOCK = 1 << 14  # items that speak at a time
COMMONEST = (
    5_000  # items that have a word which counts where items are many: more would cost more than it tells
)
RIDGES, WORDS = (100.0, 10.0, 300.0, 1000.0), (1.0, 0.0, 10.0, 30.0)
"""In people; the first where nothing can be validated, as of all options."""
ACTIVITY = (0.0, 0.5, 0.75)
"""Powers of how much a person chose, by which that person counts less."""
DROPOUTS = (0.0, 0.3, 0.5)
"""Shares of a history that are dropped where items are predicted from it."""
ORDERS = (0.0, 0.3, 0.5, 0.7)
"""Shares of what comes after what."""
Matrix = TypeVar("Matrix", Tensor, sparse.csr_array)


@dataclass(frozen=True)
class DenseWeights:
    """Each of n items predicted from all others."""

    votes: Tensor
    """float64 [n, n]: row i is what i says; the diagonal is 0."""

    @property
    def matrix(self) -> Tensor:
        """All of them, float64 [n, n]."""
        return self.votes

    def among(self, places: Tensor) -> Tensor:
        """What some of the items, int64 [k], say for each other: float32 [k, k]."""
        return self.votes[places][:, places].float()

    def rest(self, sources: Tensor, targets: Tensor, unit: float, kept: Tensor) -> Entries:
        """The strongest of what `unit` times the weights has beyond the products of sources and targets.

        Args:
            sources: float32 [n, rank].
            targets: float32 [n, rank].
            unit: of the products, in weights.
            kept: int64 [k], the items that speak, and are spoken for; the entries count in all n.
        """
        votes = unit * self.among(kept) - sources[kept] @ targets[kept].T
        return entries(votes, kept, kept)


@dataclass(frozen=True)
class SparseWeights:
    """Each of n items predicted from a few others."""

    votes: sparse.csr_array
    """float32 [n, n]: row i is what i says; the diagonal is 0."""
    device: torch.device

    def among(self, places: Tensor) -> Tensor:
        """As `DenseWeights.among`."""
        rows = places.cpu().numpy()
        return torch.from_numpy(self.votes[rows][:, rows].toarray()).to(self.device)

    def rest(self, sources: Tensor, targets: Tensor, unit: float, kept: Tensor) -> Entries:
        """As `DenseWeights.rest`; of what the weights have no entry for, nothing is said."""
        is_kept = torch.zeros(len(sources), dtype=torch.bool, device=self.device)
        is_kept[kept] = True
        parts = []
        for start in range(0, len(sources), BLOCK):
            speakers, spoken, votes = self._entries(start)
            chosen = is_kept[speakers] & is_kept[spoken]
            speakers, spoken, votes = speakers[chosen], spoken[chosen], unit * votes[chosen]
            votes -= (sources[speakers] * targets[spoken]).sum(1)
            parts.append(strongest_entries(speakers, spoken, votes))
        speakers, spoken, votes = map(torch.cat, zip(*parts, strict=True))
        return speakers, spoken, votes

    @property
    def matrix(self) -> Tensor:
        """All of them, sparse float32 [n, n], rows compressed: no copy of them."""
        found = self.votes
        starts, columns, values = (
            torch.from_numpy(each).to(self.device) for each in (found.indptr, found.indices, found.data)
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # compressed rows are said to be in beta
            return torch.sparse_csr_tensor(starts, columns, values, found.shape, check_invariants=True)

    def _entries(self, start: int) -> Entries:
        """What the `BLOCK` items from `start` on say."""
        found = self.votes[start : start + BLOCK].tocoo()
        rows = (torch.from_numpy(each.astype(np.int64)) for each in (found.row + start, found.col))
        speakers, spoken = (each.to(self.device) for each in rows)
        return speakers, spoken, torch.from_numpy(found.data).to(self.device)


ItemWeights: TypeAlias = DenseWeights | SparseWeights


def fit_weights(
    people: People,
    transitions: Transitions | None,
    met: Tensor,
    content: Content,
    validation: Section,
    most_dense: int,
    stages: Stages,
) -> ItemWeights:
    """Fit the weights.

    Args:
        people: who chose which of the items that were met.
        transitions: what they chose after what; None where no order is known.
        met: int64 [n], their rows in the catalogue, in its order.
        content: of all N items.
        validation: questions that `people` do not answer; may have none.
        most_dense: beyond so many items each is predicted from a few others.
        stages: keeps what takes long.
    """
    chosen = stages.keep("strengths", lambda: _strengths(people, transitions, met, content, validation))
    if len(met) > most_dense:
        words = _rare_words(content, met, chosen.words)
        counted = people.weighed(chosen.activity)
        local = _kept(
            stages,
            "chosen together",
            lambda: fit_local_weights(counted, words, chosen.ridge, chosen.dropout),
        )
        if transitions and chosen.order:
            after = _kept(
                stages, "chosen after others", lambda: fit_local_transitions(transitions, chosen.ridge)
            )
            local = _mixed(local, after, chosen.order, sparse.linalg.norm)
        return SparseWeights(local, met.device)
    together = people.weighed(chosen.activity).together()
    if chosen.words:
        together += chosen.words * content.shared_words(met, met)
    votes = ease(together, chosen.ridge, chosen.dropout)
    if transitions and chosen.order:
        votes = _mixed(votes, transitions.weights(chosen.ridge), chosen.order, torch.linalg.norm)
    return DenseWeights(votes)


def ease(gram: Tensor, ridge: float, dropout: float = 0.0) -> Tensor:
    """Item-to-item weights [n, n] that predict each item from the others; the diagonal is 0.

    Args:
        gram: float64 [n, n], how often two items occur together.
        ridge: λ.
        dropout: p, share of what predicts that is dropped: p / (1 - p) of how often an item occurs joins λ.
    """
    precision = ridge_inverse(gram, ridge + dropout / (1 - dropout) * gram.diagonal())
    weights = precision / -precision.diagonal()
    weights.diagonal().zero_()
    return weights


def _rare_words(content: Content, met: Tensor, share: float) -> sparse.csr_array:
    """Words of which two items' product is `share` times what they share of rare ones, float32 [n, words]."""
    counted = content.words[met.cpu().numpy()].tocsc()
    rare = counted[:, np.diff(counted.indptr) <= COMMONEST].tocsr() * np.sqrt(np.float32(share))
    rare.eliminate_zeros()  # entries of 0 would cost as much, and count as something that items share
    return rare


def _kept(stages: Stages, name: str, make: Callable[[], sparse.csr_array]) -> sparse.csr_array:
    """A sparse matrix [n, n] that a stage makes."""

    def parts() -> tuple[Tensor, ...]:
        made = make()
        return tuple(map(torch.from_numpy, (made.data, made.indices, made.indptr)))

    data, indices, indptr = (each.cpu().numpy() for each in stages.keep(name, parts))
    return sparse.csr_array((data, indices, indptr), shape=(len(indptr) - 1, len(indptr) - 1))


@dataclass(frozen=True)
class Strengths:
    """What is chosen on validation."""

    words: float = WORDS[0]
    """How much shared words count beside shared people."""
    ridge: float = RIDGES[0]
    """In people."""
    activity: float = ACTIVITY[0]
    """Power of how much a person chose, by which that person counts less."""
    dropout: float = DROPOUTS[0]
    """Share of a history that is dropped where items are predicted from it."""
    order: float = ORDERS[0]
    """Share of what comes after what, in the weights."""


CHOSEN = (
    ("words", WORDS),
    ("ridge", RIDGES),
    ("activity", ACTIVITY),
    ("dropout", DROPOUTS),
    ("ridge", RIDGES),  # who counts less, and what is dropped, change what is best
)
"""What is chosen in turn, all else as it is then."""


def _strengths(
    people: People, transitions: Transitions | None, met: Tensor, content: Content, validation: Section
) -> Strengths:
    among = people.most_met(CHOICE_ITEMS)
    rows = met[among]
    asked = _among(validation.first(CHOICE_PEOPLE), rows)
    if not len(asked.queries):
        return Strengths()
    shared, histories = content.shared_words(rows, rows), _histories(asked.queries, rows)
    together = cache(lambda activity: people.among(among).weighed(activity).together())

    def fit(tried: Strengths) -> Tensor:
        return ease(together(tried.activity) + tried.words * shared, tried.ridge, tried.dropout)

    def score(votes: Tensor) -> float:
        ranked = rank_scores((histories @ votes.float()).cpu().numpy(), asked)
        return ranking_metrics(ranked, asked.queries.targets)["ndcg@10"]

    fitted = cache(lambda tried: score(fit(tried)))
    chosen = Strengths()
    for name, options in CHOSEN:
        chosen = max((replace(chosen, **{name: each}) for each in options), key=fitted)
    if transitions is None:
        return chosen
    votes, after = fit(chosen), transitions.among(among).weights(chosen.ridge)
    order = max(ORDERS, key=lambda each: score(_mixed(votes, after, each, torch.linalg.norm)))
    return replace(chosen, order=order)


def _mixed(votes: Matrix, after: Matrix, order: float, norm: Callable[[Matrix], float]) -> Matrix:
    """Weights of which a share comes from what was chosen after what, made as large as the others first."""
    size = norm(after)
    return (1 - order) * votes + (order * norm(votes) / size) * after if size else votes


def _among(section: Section, rows: Tensor) -> Section:
    """A section about some of the items alone, in their order; what is looked at joins the history."""
    chosen = rows.cpu().numpy()
    place = np.full(len(section.ranked), -1)
    place[chosen] = np.arange(len(chosen))

    def placed(lists: Ragged) -> Ragged:
        found = lists.replaced(place[lists.values])
        return found.where(found.values >= 0)

    asked = section.queries.with_viewed()
    histories, targets, seen = map(placed, (asked.histories, asked.targets, asked.seen))
    queries = Queries(asked.users, histories, np.full(len(asked), -1), targets, seen)
    return Section(queries.part(np.flatnonzero(targets.sizes)), section.ranked[chosen])


def _histories(queries: Queries, rows: Tensor) -> Tensor:
    """Who asks with which of the items at `rows`: float32 [queries, rows]."""
    asked = torch.zeros(len(queries), len(rows))
    told = queries.histories
    asked[torch.from_numpy(told.owners), torch.from_numpy(told.values)] = 1
    return asked.to(rows.device)
