"""What a report sets beside the model: baselines, each asked the questions that the model is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

from tqdm import tqdm

from visrec_training.baselines import Baseline, Popularity, best_ease, best_item_knn, rank
from visrec_training.centroids import CONTENT, Centroid
from visrec_training.prepare import Prepared
from visrec_training.queries import Section
from visrec_training.retrieval import Modalities
from visrec_training.rows import Rows
from visrec_training.served import Served

POPULARITY, CLOSED_FORM, RANDOM = "popularity", "closed form", "random"
UNSEEDED = frozenset({POPULARITY, RANDOM, "item-kNN", "EASE", *(f"centroid of {name}" for name in CONTENT)})
"""Rows that come out the same whatever the seed."""
MOST_ITEMS = 10_000
"""Baselines invert and keep dense matrices of items by items; beyond this they take hours and gigabytes."""


class Reference(NamedTuple):
    """Something that answers from histories, of which what a person looks at is the last item."""

    name: str
    rank: Callable[[Section], Rows]
    """The best 20 items for each query of a section, int64 [n, 20]; -1 where fewer are ranked."""
    knows_new: bool = True
    """Whether it can tell items that nobody met apart."""


def references(prepared: Prepared, closed_form: Served | None) -> Iterator[Reference]:
    """Fit all that a model is compared with, one after another, with numbers chosen on validation.

    Args:
        prepared: the data.
        closed_form: the model as it was before it was trained by gradient, if it was.
    """
    yield Reference(POPULARITY, partial(rank, Popularity.fit(prepared.split)))
    if len(prepared.dataset.catalogue) <= MOST_ITEMS:
        yield from _baselines(prepared)
    if closed_form:
        history = Modalities(history=True, viewed_in_history=True)
        yield Reference(CLOSED_FORM, lambda section: closed_form.rank(section, history).rows)


def _baselines(prepared: Prepared) -> Iterator[Reference]:
    fits: dict[str, tuple[Callable[[], Baseline], bool]] = {
        "item-kNN": (partial(best_item_knn, prepared.split), False),
        "EASE": (partial(best_ease, prepared.split), False),
    }
    for name, (words, pictures) in CONTENT.items():
        fits[f"centroid of {name}"] = (partial(Centroid.fit, prepared, words=words, pictures=pictures), True)
    with tqdm(fits.items(), desc="asking baselines", unit="baseline") as progress:
        for name, (fit, knows_new) in progress:
            yield Reference(name, partial(rank, fit()), knows_new)
