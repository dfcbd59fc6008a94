"""Which items speak for which, and how much: a sparse item-to-item table, fitted in closed form.

What is chosen together in a long tail has a high rank: a few main directions lose it, a few dozen neighbours
an item keep it. Among items that people met, the votes are EASE's regression weights (Steck, WWW 2019), with
words that two items share counted beside the people they share (Jeunen et al., RecSys 2020); both strengths
are chosen on validation. For items that nobody met, kernel ridge regression from content predicts how alike
their audience would be to that of the others (cosine, as in item-kNN, Sarwar et al., WWW 2001); its strength
is chosen on a tenth of the items, each predicted as if nobody had met it.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple, Self, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from visrec_training.attention import LEAST_GIST
from visrec_training.interactions import Rows
from visrec_training.metrics import ranking_metrics
from visrec_training.query_tower import EVIDENCE
from visrec_training.retrieval import rank_scores
from visrec_training.split import NOTHING, Queries, Section

NEIGHBOURS = 50  # of an item; with more, no figure of any set that was tried got better
CHOICE_ITEMS, CHOICE_PEOPLE = 6_000, 2_000  # the most met and the first, that strengths are chosen on
RIDGES, WORDS = (100.0, 10.0, 500.0), (1.0, 0.0, 10.0)  # in people; the first where nothing can be validated
CONTENT_RIDGES = (3.0, 1.0, 10.0, 30.0, 100.0, 300.0)
MEANING_SHARE, LOOKS_SHARE = 0.5, 0.5  # of the content's kernel, next to 1 for words
PROBE_SHARE = 0.1  # of the items, taken for new where something is chosen for new items
NEW_SCALES = (1.0, 0.25, 0.5, 2.0, 4.0, 8.0, 16.0)
BLOCK = 1_024  # new items at a time
Entries: TypeAlias = tuple[Tensor, Tensor, Tensor]
"""Who speaks, for whom, and how much: rows int64 [n] of the catalogue, twice, and votes float [n]."""


class Neighbours(NamedTuple):
    """For each of N items which others it speaks for."""

    neighbours: Tensor
    """int32 [N, m], rows of the catalogue."""
    votes: Tensor
    """float32 [N, m]; 0 fills up."""


@dataclass(frozen=True)
class Content:
    """What is known of N items without any behaviour."""

    words: Tensor
    """Sparse float64 [N, V + 1], TF-IDF."""
    meanings: Tensor
    """float [N, sentence_dim], of length 1 or 0."""
    looks: Tensor
    """float [N, d], of their pictures: of length 1, or shorter where one is hardly unlike the average."""

    @classmethod
    def of(cls, words: Tensor, meanings: Tensor, gists: Tensor) -> Self:
        """Content of which the pictures are known by their gists, float [N, d]."""
        return cls(words, meanings, F.normalize(gists - gists.mean(0), dim=1, eps=LEAST_GIST))

    def kernel(self, rows: Tensor, columns: Tensor) -> Tensor:
        """How alike the content of items is, float64 [rows, columns]."""
        return (
            self.shared_words(rows, columns)
            + MEANING_SHARE * self.meanings[rows].double() @ self.meanings[columns].double().T
            + LOOKS_SHARE * self.looks[rows].double() @ self.looks[columns].double().T
        )

    def shared_words(self, rows: Tensor, columns: Tensor) -> Tensor:
        """How alike their words are, float64 [rows, columns]."""
        return products(*(self.words.index_select(0, chosen) for chosen in (rows, columns)))


@torch.no_grad()
def fit_neighbours(
    people: Tensor, met: Tensor, content: Content, validation: Section
) -> tuple[Neighbours, float]:
    """Fit the table.

    Args:
        people: float64 [people, n] of 0 and 1, who chose which of the items that were met.
        met: int64 [n], their rows in the catalogue, in its order.
        content: of all N items.
        validation: questions that `people` do not answer; may have none.

    Returns:
        The table, and how far histories move logits by it: the mean over people of the deviation over items.
    """
    count = len(content.meanings)
    together = people.T @ people
    words, ridge = _strengths(people, met, content, validation)
    votes = strongest(ease(together + words * content.shared_words(met, met), ridge).float())
    told = people[:CHOICE_PEOPLE].float()
    told /= told.sum(1, keepdim=True).clamp_min(1) ** EVIDENCE
    known = _spread(told, votes)
    entries = [_entries(votes, met, met)]
    is_new = torch.ones(count, dtype=torch.bool, device=met.device)
    is_new[met] = False
    if is_new.any():
        alike = audience_cosine(together)
        inverse = _inverse(content.kernel(met, met), _content_ridge(people, met, content))
        predicted = _left_out(alike, inverse)
        timid = _spread(told, predicted)
        scale = known / timid if timid else 0.0  # a cosine is no regression weight
        scale *= _new_item_scale(votes, scale * predicted, met, validation)
        new = is_new.nonzero().flatten()
        entries += _entries_of_new(votes, scale * alike, inverse, content, met, new)
    rows, said = _table(entries, count)
    return (Neighbours(rows, said / known), 1.0) if known else (Neighbours(rows, said), 0.0)


def no_neighbours(items: int, device: torch.device) -> Neighbours:
    """The table where nobody did anything."""
    return Neighbours(
        torch.zeros(items, 0, dtype=torch.int32, device=device), torch.zeros(items, 0, device=device)
    )


def strongest(votes: Tensor) -> Tensor:
    """Votes [n, k] with all but the `NEIGHBOURS` largest of each row set to 0."""
    kept = _strongest(votes)
    return torch.zeros_like(votes).scatter(1, kept, votes.gather(1, kept))


def audience_cosine(together: Tensor) -> Tensor:
    """How alike the audiences of items are, float32 [n, n], from how often two occur together."""
    norms = together.diagonal().sqrt()
    return (together / norms / norms.unsqueeze(1)).float()


def ease(gram: Tensor, ridge: float) -> Tensor:
    """Item-to-item weights [n, n] that predict each item from the others; the diagonal is 0.

    Args:
        gram: float64 [n, n], how often two items occur together.
        ridge: λ.
    """
    precision = _inverse(gram, ridge)
    weights = precision / -precision.diagonal()
    weights.diagonal().zero_()
    return weights


def products(one: Tensor, other: Tensor) -> Tensor:
    """Inner products of the rows of two sparse matrices, dense [n, k]."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # sparse times sparse is said to be in beta
        return torch.sparse.mm(one, other.t()).to_dense()


def _strengths(people: Tensor, met: Tensor, content: Content, validation: Section) -> tuple[float, float]:
    """How much shared words count beside shared people, and EASE's ridge, in people."""
    chosen = _most_met(people)
    rows = met[chosen]
    asked = _among(validation.first(CHOICE_PEOPLE), rows)
    if not len(asked.queries):
        return WORDS[0], RIDGES[0]
    together, shared = people[:, chosen].T @ people[:, chosen], content.shared_words(rows, rows)
    histories = _histories(asked.queries, rows)

    @cache
    def score(words: float, ridge: float) -> float:
        return _ndcg(histories @ strongest(ease(together + words * shared, ridge).float()), asked)

    words = max(WORDS, key=lambda each: score(each, RIDGES[0]))
    return words, max(RIDGES, key=lambda each: score(words, each))


def _content_ridge(people: Tensor, met: Tensor, content: Content) -> float:
    """The ridge of the regression from content: that which ranks a tenth of the items best."""
    chosen = _most_met(people)
    told, rows = people[:, chosen], met[chosen]
    is_probe = _probes(len(chosen)).to(people.device)
    asks = (told * is_probe).any(1) & (told * ~is_probe).any(1)
    told = told[asks][:CHOICE_PEOPLE].float()
    if not len(told) or is_probe.sum() < 2:
        return CONTENT_RIDGES[0]
    alike, kernel = audience_cosine(people[:, chosen].T @ people[:, chosen]), content.kernel(rows, rows)
    targets = [np.flatnonzero(row) for row in (told * is_probe).cpu().numpy()]
    nobody = [NOTHING] * len(told)
    queries = Queries(np.arange(len(told)), nobody, np.full(len(told), -1), targets, nobody)
    section = Section(queries, is_probe.cpu().numpy())

    def score(ridge: float) -> float:
        return _ndcg((told * ~is_probe) @ _left_out(alike, _inverse(kernel, ridge)), section)

    return max(CONTENT_RIDGES, key=score)


def _new_item_scale(votes: Tensor, predicted: Tensor, met: Tensor, validation: Section) -> float:
    """By how much to multiply votes for new items, so that people find new and known items in one ranking.

    A tenth of the items is taken for new: people are asked for those that they chose and for the known items
    that they turned to next, and all are ranked together.

    Args:
        votes: float [n, n], of and for items that are known.
        predicted: float [n, n], for each item as if it were new.
        met: int64 [n], their rows in the catalogue.
        validation: who is asked.
    """
    asked = _among(validation.first(CHOICE_PEOPLE), met).queries
    if not len(asked):
        return NEW_SCALES[0]
    is_probe = _probes(len(met)).to(met.device)
    histories = _histories(asked, met)
    known = histories * ~is_probe
    seen = [np.flatnonzero(row) for row in known.cpu().numpy()]
    new = [np.flatnonzero(row) for row in (histories * is_probe).cpu().numpy()]
    targets = [np.union1d(one, other) for one, other in zip(asked.targets, new, strict=True)]
    section = Section(dataclasses.replace(asked, targets=targets, seen=seen), np.ones(len(met), dtype=bool))
    by_known, by_content = known @ votes, known @ predicted

    def score(scale: float) -> float:
        return _ndcg(by_known.where(~is_probe, scale * by_content), section)

    return max(NEW_SCALES, key=score)


def _probes(items: int) -> Tensor:
    """Which of n items are taken for new, bool [n]."""
    return torch.from_numpy(np.random.default_rng(0).random(items) < PROBE_SHARE)


def _left_out(values: Tensor, inverse: Tensor) -> Tensor:
    """What regression predicts of each column of [n, n] from all others, by its kernel's inverse."""
    return values - values @ inverse.float() / inverse.diagonal().float()


def _inverse(kernel: Tensor, ridge: float) -> Tensor:
    kernel = kernel.clone()
    kernel.diagonal().add_(ridge)
    return torch.cholesky_inverse(torch.linalg.cholesky(kernel))


def _most_met(people: Tensor) -> Tensor:
    """Columns of the items that most people chose, in order: int64 [at most CHOICE_ITEMS]."""
    return people.sum(0).argsort(descending=True, stable=True)[:CHOICE_ITEMS].sort().values


def _among(section: Section, rows: Tensor) -> Section:
    """A section about some of the items alone, in their order; what is looked at joins the history."""
    chosen = rows.cpu().numpy()
    place = np.full(len(section.ranked), -1)
    place[chosen] = np.arange(len(chosen))

    def placed(items: Rows) -> Rows:
        found: Rows = place[items]
        return found[found >= 0]

    asked = section.queries.with_viewed()
    targets = [placed(each) for each in asked.targets]
    kept = [row for row, each in enumerate(targets) if len(each)]
    queries = Queries(
        users=asked.users[kept],
        histories=[placed(asked.histories[row]) for row in kept],
        viewed=np.full(len(kept), -1),
        targets=[targets[row] for row in kept],
        seen=[placed(asked.seen[row]) for row in kept],
    )
    return Section(queries, section.ranked[chosen])


def _histories(queries: Queries, rows: Tensor) -> Tensor:
    """Who asks with which of the items at `rows`: float32 [queries, rows]."""
    asked = torch.zeros(len(queries), len(rows))
    for row, history in enumerate(queries.histories):
        asked[row, torch.from_numpy(history)] = 1
    return asked.to(rows.device)


def _ndcg(scores: Tensor, section: Section) -> float:
    ranked = rank_scores(scores.cpu().numpy(), section)
    return ranking_metrics(ranked, section.queries.targets)["ndcg@10"]


def _spread(people: Tensor, votes: Tensor) -> float:
    """How far what people chose puts items apart: the mean over people of the deviation over items."""
    return float((people @ votes).std(1).mean()) if votes.shape[1] > 1 else 0.0


def _strongest(votes: Tensor) -> Tensor:
    """Columns of the `NEIGHBOURS` largest of each row, int64 [n, at most NEIGHBOURS]."""
    return votes.abs().topk(min(NEIGHBOURS, votes.shape[1]), dim=1).indices


def _entries_of_new(
    votes: Tensor, alike: Tensor, inverse: Tensor, content: Content, met: Tensor, new: Tensor
) -> Iterator[Entries]:
    """What known and new items say for each other, a block of new items at a time.

    Args:
        votes: float [n, n], of and for the items that were met.
        alike: float [n, n], what regression predicts for the new ones.
        inverse: float64 [n, n], of its kernel.
        content: of all N items.
        met: int64 [n], rows of the catalogue.
        new: int64, rows of all others.
    """
    spoken, said = new[:0].expand(len(met), 0), votes[:, :0]
    for block in new.split(BLOCK):
        by_content = (inverse @ content.kernel(met, block)).float()
        spoken = torch.cat([spoken, block.expand(len(met), -1)], dim=1)
        said = torch.cat([said, alike @ by_content], dim=1)
        kept = _strongest(said)
        spoken, said = spoken.gather(1, kept), said.gather(1, kept)
        yield _entries(strongest(by_content.T @ votes), block, met)
    speakers = met.unsqueeze(1).expand_as(spoken)
    yield speakers[said != 0], spoken[said != 0], said[said != 0]


def _entries(votes: Tensor, speakers: Tensor, spoken: Tensor) -> Entries:
    """What is not 0 in a matrix of votes, by the rows of those who speak and of those they speak for."""
    by, of = votes.nonzero(as_tuple=True)
    return speakers[by], spoken[of], votes[by, of]


def _table(entries: Iterable[Entries], count: int) -> Neighbours:
    """Lay out entries by who speaks; m is what the most talkative needs, at most 2 * NEIGHBOURS."""
    speakers, spoken, votes = map(torch.cat, zip(*entries, strict=True))
    order = speakers.argsort(stable=True)
    speakers, spoken, votes = speakers[order], spoken[order], votes[order]
    sizes = speakers.bincount(minlength=count)
    slot = torch.arange(len(speakers), device=votes.device) - (sizes.cumsum(0) - sizes)[speakers]
    width = int(sizes.max())
    rows = torch.zeros(count, width, dtype=torch.int32, device=votes.device)
    filled = torch.zeros(count, width, device=votes.device)
    rows[speakers, slot], filled[speakers, slot] = spoken.int(), votes
    return Neighbours(rows, filled)
