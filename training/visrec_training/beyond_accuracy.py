"""What a ranking is like besides right: whom it reaches, how new it is, whether scores can be believed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from visrec_training.metrics import hits
from visrec_training.rows import Flags, Ragged, Rows

TOP = 10
BINS = 10
BANDS = ((1, 5), (6, 10), (11, 20))
"""First and last ranks."""


def beyond_accuracy(
    ranked: Rows, popularity: Rows, rankable: Flags, vectors: npt.NDArray[np.float32]
) -> dict[str, float]:
    """Describe the top 10 of many queries.

    Args:
        ranked: int64 [n, 10 or more], item rows, best first; -1 where there are fewer answers.
        popularity: int64 [N], how many people liked each item in training.
        rankable: bool [N], items that could have been ranked.
        vectors: float [N, d], what items are like, of length 1 or 0; see `category_vectors`.

    Returns:
        `coverage`: share of the rankable items that stand in some top 10. `novelty`: mean self-information
        of an answered item, -log2 of the share of liked interactions that are with it, in bits (Zhou et al.,
        PNAS 107:10, 2010). `diversity`: mean 1 - cosine of the pairs of a top 10 (Ziegler et al., WWW 2005).
        `popularity`: mean share of the rankable items that are less popular than an answered one, ties by
        half. `gini`: how unevenly the answers are spread over the rankable items, 0 to 1.
    """
    top = ranked[:, :TOP]
    answered = top[top >= 0]
    exposure = np.bincount(answered, minlength=len(popularity))[rankable]
    shares = (popularity + 1) / (popularity.sum() + len(popularity))  # nothing is infinitely new
    return {
        "coverage": float((exposure > 0).mean()),
        "novelty": float(-np.log2(shares[answered]).mean()),
        "diversity": _diversity(top, vectors),
        "popularity": float(_percentiles(popularity, rankable)[answered].mean()),
        "gini": _gini(exposure),
    }


def calibration(ranked: Rows, scores: npt.NDArray[np.float32], targets: Ragged) -> dict[str, float]:
    """Whether SCORE tells how likely an item is the one that is turned to.

    An item's outcome is 1 / (number of right answers) where it is one, else 0: the chance that a right answer
    drawn at random is this one, which is what a softmax states. Answers are put into ten bins of equal
    size by their score (Naeini et al., AAAI 2015, with bins of equal mass).

    Args:
        ranked: int64 [n, 10 or more], item rows; -1 where there are fewer answers.
        scores: float [n, 10 or more].
        targets: the right answers of each query.

    Returns:
        `expected calibration error`: mean |outcome - score| of the bins; and `mean score`, `mean outcome`.
    """
    top = ranked[:, :TOP]
    outcomes = (hits(top, targets) / targets.sizes[:, None])[top >= 0]
    stated = scores[:, :TOP][top >= 0].astype(np.float64)
    order = np.argsort(stated, kind="stable")
    bins = [chosen for chosen in np.array_split(order, BINS) if len(chosen)]
    gaps = [abs(outcomes[chosen].mean() - stated[chosen].mean()) * len(chosen) for chosen in bins]
    return {
        "expected calibration error": float(np.sum(gaps) / len(order)),
        "mean score": float(stated.mean()),
        "mean outcome": float(outcomes.mean()),
    }


def new_among_known(ranked: Rows, targets: Ragged, is_new: Flags) -> dict[str, dict[str, float]]:
    """Whether new items are placed as well as the known ones that they are ranked among.

    Where new and known items of the same ranks are right equally often, new ones stand where they should; if
    they are right more often, they stand too low. That holds where the known items that somebody likes are
    held out as the new ones are: for people who are not tested on known items, only new ones can be right.

    Args:
        ranked: int64 [n, 20], item rows, best first; -1 where there are fewer answers.
        targets: the right answers of each query, known and new, at least one a query.
        is_new: bool [N], items that training did not see.

    Returns:
        For `ranks 1-5`, `ranks 6-10` and `ranks 11-20`: `share new`, of the items that stand there, and
        `new right` and `known right`, the share of the new and of the known ones that are right answers, 0
        where there are none.
    """
    right = hits(ranked, targets)
    new, known = (ranked >= 0) & is_new[ranked], (ranked >= 0) & ~is_new[ranked]
    table = {}
    for first, last in BANDS:
        band = np.s_[:, first - 1 : last]
        table[f"ranks {first}-{last}"] = {
            "share new": _share(new[band], new[band] | known[band]),
            "new right": _share(right[band], new[band]),
            "known right": _share(right[band], known[band]),
        }
    return table


def category_vectors(categories: tuple[str, ...]) -> npt.NDArray[np.float32]:
    """Items by their categories, where | joins those of one item: float32 [N, number of categories].

    Of length 1; 0 for an item without any.
    """
    named = [frozenset(category.split("|")) - {""} for category in categories]
    column = {name: place for place, name in enumerate(sorted(frozenset().union(*named)))}
    vectors = np.zeros((len(named), max(1, len(column))), dtype=np.float32)
    for row, names in enumerate(named):
        vectors[row, [column[name] for name in names]] = len(names) ** -0.5 if names else 0
    return vectors


def _share(chosen: Flags, among: Flags) -> float:
    """The share of some flags, bool [n, k], that are chosen too; 0 where there are none."""
    return float(chosen[among].mean()) if among.any() else 0.0


def _diversity(top: Rows, vectors: npt.NDArray[np.float32]) -> float:
    shown = vectors[top] * (top >= 0)[..., None]
    total = (shown.sum(axis=1) ** 2).sum(axis=-1) - (shown**2).sum(axis=(1, 2))
    counts = (top >= 0).sum(axis=1)
    pairs = counts * (counts - 1)  # each pair twice, as in `total`
    asked = pairs > 0
    return float((1 - total[asked] / pairs[asked]).mean()) if asked.any() else 0.0


def _percentiles(popularity: Rows, rankable: Flags) -> npt.NDArray[np.float64]:
    """Float64 [N]: share of the rankable items that are less popular; equals count half."""
    ordered = np.sort(popularity[rankable])
    below = np.searchsorted(ordered, popularity, side="left")
    not_above = np.searchsorted(ordered, popularity, side="right")
    return (below + not_above) / (2 * len(ordered))


def _gini(exposure: Rows) -> float:
    ordered = np.sort(exposure)
    count = len(ordered)
    ranks = 1 + np.arange(count)
    return float((2 * ranks - count - 1) @ ordered / (count * ordered.sum())) if ordered.sum() else 0.0
