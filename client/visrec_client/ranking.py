"""The last say on a ranked answer, where the caller's own rules apply: exclude, cap, diversify.

>>> answer = [RankedItem("a", 0.5), RankedItem("b", 0.3), RankedItem("c", 0.2)]
>>> [item.item_id for item in rank(answer, 2, exclude=["a"])]
['b', 'c']
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
import numpy.typing as npt

from visrec_client.errors import InvalidRequest


@dataclass(frozen=True, slots=True)
class RankedItem:
    """One item of an answer. `score` is the probability that the model gives it, over the whole catalogue."""

    item_id: str
    score: float


def rank(
    items: Iterable[RankedItem],
    k: int,
    *,
    exclude: Iterable[str] = (),
    categories: Mapping[str, str] | None = None,
    max_per_category: int | None = None,
    vectors: Mapping[str, npt.NDArray[np.floating[Any]]] | None = None,
    diversity: float = 0.0,
) -> tuple[RankedItem, ...]:
    """Choose at most `k` of the items, best first.

    With `diversity` 0 the order of `items` is kept. Otherwise items are chosen one by one by maximal
    marginal relevance (Carbonell and Goldstein, 1998): each time the item with the largest

        (1 - diversity) * relevance - diversity * (largest cosine with an item chosen before; 0 for the first)

    where relevance is the logarithm of the score, brought to 0..1 over the items that are not excluded
    (least 0, greatest 1; all 1 if they are equal). The logarithm undoes the softmax, in which the first few
    items would dwarf the rest. On a tie the item that stands earlier in `items` wins.

    Args:
        items: a ranked answer, best first; of a repeated id only the first counts.
        k: how many to return at most.
        exclude: ids to leave out.
        categories: item id to category, for `max_per_category`; items that are not in it are not capped.
        max_per_category: how many items of one category to return at most.
        vectors: item id to a vector [d], for `diversity`; needed for each item that is not excluded.
        diversity: from 0, relevance alone, to 1, difference alone.

    Returns:
        Some of `items`, with their scores as they were; fewer than `k` when there are no more.

    Raises:
        InvalidRequest: an argument is out of range, or what `max_per_category` or `diversity` needs is
            missing.
    """
    if isinstance(exclude, str):
        raise InvalidRequest(f"exclude is the text {exclude!r}: give a collection of ids")
    k = check_count(k)
    _check(categories, max_per_category, vectors, diversity)
    excluded = frozenset(exclude)
    first: dict[str, RankedItem] = {}
    for item in items:
        first.setdefault(item.item_id, item)
    candidates = [item for item in first.values() if item.item_id not in excluded]
    cap = _CategoryCap(categories or {}, max_per_category)
    if vectors is None or diversity == 0:
        return tuple([item for item in candidates if cap.admit(item)][:k])
    return _diversify(candidates, k, cap, vectors, diversity)


def check_count(k: object) -> int:
    """A number of items, of any kind of whole number, such as NumPy's.

    Raises:
        InvalidRequest: it is none, or less than 1.
    """
    if isinstance(k, Integral) and not isinstance(k, bool) and int(k) >= 1:
        return int(k)
    raise InvalidRequest(f"k is {k!r}: ask for a whole number of items, at least 1")


def _check(
    categories: Mapping[str, str] | None,
    max_per_category: int | None,
    vectors: Mapping[str, npt.NDArray[np.floating[Any]]] | None,
    diversity: float,
) -> None:
    if max_per_category is not None and max_per_category < 1:
        raise InvalidRequest(f"max_per_category is {max_per_category}: it must be at least 1")
    if max_per_category is not None and categories is None:
        raise InvalidRequest("max_per_category needs categories, a mapping from item id to category")
    if not 0 <= diversity <= 1:
        raise InvalidRequest(f"diversity is {diversity}: it must be from 0 to 1")
    if diversity > 0 and vectors is None:
        raise InvalidRequest("diversity needs vectors, a mapping from item id to a vector")


class _CategoryCap:
    """Counts what was admitted, and admits no more than so many of a category."""

    def __init__(self, categories: Mapping[str, str], most: int | None) -> None:
        self._categories = categories
        self._most = most
        self._admitted: Counter[str] = Counter()

    def admit(self, item: RankedItem) -> bool:
        category = self._categories.get(item.item_id)
        if category is None or self._most is None:
            return True
        self._admitted[category] += 1
        return self._admitted[category] <= self._most


def _diversify(
    candidates: Sequence[RankedItem],
    k: int,
    cap: _CategoryCap,
    vectors: Mapping[str, npt.NDArray[np.floating[Any]]],
    diversity: float,
) -> tuple[RankedItem, ...]:
    if not candidates:
        return ()
    directions = _directions(candidates, vectors)
    relevance = _relevance(candidates)
    likeness = np.zeros(len(candidates))  # largest cosine with what was chosen
    left = np.ones(len(candidates), bool)
    chosen: list[RankedItem] = []
    while len(chosen) < k and left.any():
        value = np.where(left, (1 - diversity) * relevance - diversity * likeness, -np.inf)
        best = int(np.argmax(value))
        left[best] = False
        if not cap.admit(candidates[best]):
            continue
        cosines = directions @ directions[best]
        likeness = np.maximum(likeness, cosines) if chosen else cosines
        chosen.append(candidates[best])
    return tuple(chosen)


def _directions(
    items: Sequence[RankedItem], vectors: Mapping[str, npt.NDArray[np.floating[Any]]]
) -> npt.NDArray[np.float64]:
    """Unit vectors, [items, d]; a vector of zeros stays so and is like nothing."""
    missing = [item.item_id for item in items if item.item_id not in vectors]
    if missing:
        raise InvalidRequest(
            f"diversity needs a vector for each item: {len(missing)} are missing, "
            f"first {', '.join(missing[:3])}"
        )
    rows = [np.asarray(vectors[item.item_id], np.float64) for item in items]
    if rows[0].ndim != 1 or any(row.shape != rows[0].shape for row in rows):
        raise InvalidRequest("vectors must all be of one shape [d]")
    matrix = np.stack(rows)
    if not np.isfinite(matrix).all():
        raise InvalidRequest("vectors must be finite: one holds NaN or infinity")
    lengths = np.linalg.norm(matrix, axis=1, keepdims=True)
    return np.divide(matrix, lengths, out=np.zeros_like(matrix), where=lengths > 0)


def _relevance(items: Sequence[RankedItem]) -> npt.NDArray[np.float64]:
    scores = np.array([item.score for item in items], np.float64)
    if not (scores >= 0).all():
        raise InvalidRequest("diversity needs scores that are probabilities: one is negative or NaN")
    logits = np.log(np.maximum(scores, np.finfo(np.float32).tiny))  # softmax in float32 can reach 0
    spread = logits.max() - logits.min()
    return (logits - logits.min()) / spread if spread > 0 else np.ones_like(logits)
