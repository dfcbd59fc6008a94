"""How much one item says for another, where there are too many for a matrix of all by all.

Each item is predicted by ridge regression from those that are most often chosen with it, and from no others:
EASE with one small system of equations an item in place of one large one (fsSLIM, Ning & Karypis, ICDM 2011).
Time and memory grow with what people did.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from scipy import sparse
from tqdm import tqdm

from visrec_training.people import People
from visrec_training.transitions import Transitions

CANDIDATES = 64, 128  # items that an item is predicted from: the least and the most
CANDIDATE_NUMBERS = 1 << 26  # of all items, between the least and the most
KEPT = 1_024  # of an item's counts of who chose it with others, those by which it is most alike
KEPT_NUMBERS = 1 << 28  # of all items: where they are very many, fewer of each are kept
BLOCK = 256  # items solved at once


def fit_local_weights(
    people: People, words: sparse.csr_array, ridge: float, dropout: float = 0.0
) -> sparse.csr_array:
    """Fit the weights, float32 [n, n]: row i is what i says, and the diagonal is 0.

    Args:
        people: who chose which of n items.
        words: float32 [n, V], whose products count beside the people whom two items share.
        ridge: λ, in people.
        dropout: p, of `item_weights.ease`.
    """
    by_item = sparse.hstack([people.chose.T.astype(np.float32), words]).tocsr()
    together = _strongest_products(by_item, by_item)
    return _fit(together, together, ridge, dropout)


def fit_local_transitions(transitions: Transitions, ridge: float) -> sparse.csr_array:
    """As `fit_local_weights`, of what comes after what."""
    before, after = (each.T.tocsr() for each in (transitions.before, transitions.after))
    together, follow = _strongest_products(before, before), _strongest_products(after, before)
    return _fit(together, follow, ridge * transitions.cuts)


def _strongest_products(rows: sparse.csr_array, columns: sparse.csr_array) -> sparse.csr_array:
    """Inner products of what n items are, float32 [n, features] twice: [n, n].

    Of each row the `KEPT` that are most alike by cosine, those first. The item itself is kept in any case.
    """
    sizes = columns.multiply(columns).sum(axis=1)
    count, transposed = len(sizes), columns.T.tocsr()
    most = min(count, max(2 * CANDIDATES[1], min(KEPT, KEPT_NUMBERS // count)) + 1)
    # what is not written of these takes no memory
    indices, data = np.empty(count * most, np.int32), np.empty(count * most, np.float32)
    indptr = np.zeros(count + 1, np.int64)
    for item, (others, counts) in enumerate(_rows_of_products(rows, transposed)):
        alike = np.where(others == item, np.inf, counts / np.sqrt(sizes[others]))
        if len(others) > most:
            strongest = np.argpartition(-alike, most - 1)[:most]
            others, counts, alike = others[strongest], counts[strongest], alike[strongest]
        order = np.lexsort((others, -alike))
        place = slice(indptr[item], indptr[item] + len(order))
        indices[place], data[place], indptr[item + 1] = others[order], counts[order], place.stop
    kept = indptr[-1]
    return sparse.csr_array((data[:kept], indices[:kept], indptr), shape=(count, count))


def _rows_of_products(
    rows: sparse.csr_array, transposed: sparse.csr_array
) -> Iterator[tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]]:
    """Row after row of a product of sparse matrices: its columns and values that are not 0."""
    for start in range(0, rows.shape[0], BLOCK):
        products = rows[start : start + BLOCK] @ transposed
        for first, end in pairwise(products.indptr.tolist()):
            yield products.indices[first:end], products.data[first:end]


Solved: TypeAlias = tuple[npt.NDArray[np.int32], npt.NDArray[np.float32], npt.NDArray[np.int64]]
"""Who speaks for some items, one item after another, how much, and how many for each."""


def _fit(
    together: sparse.csr_array, wanted: sparse.csr_array, ridge: float, dropout: float = 0.0
) -> sparse.csr_array:
    """Predict each item from those that are strongest in its row of `wanted`."""
    count = together.shape[0]
    most = int(np.clip(CANDIDATE_NUMBERS // count, *CANDIDATES))

    def fit(start: int) -> Solved:
        chosen = [_others(wanted, item, most) for item in range(start, min(start + BLOCK, count))]
        speaking = [others for others, _ in chosen]
        sizes = np.asarray([len(each) for each in speaking])
        return np.concatenate(speaking), _solve(together, chosen, ridge, dropout), sizes

    solved: list[Solved] = []
    with (
        tqdm(total=count, desc="weighing items", unit="item", leave=False) as progress,
        ThreadPoolExecutor(torch.get_num_threads()) as pool,
    ):
        try:
            for block in pool.map(fit, range(0, count, BLOCK)):
                solved.append(block)
                progress.update(len(block[2]))
        except BaseException:  # Ctrl-C does not wait for what was not begun
            pool.shutdown(cancel_futures=True)
            raise
    speakers, votes, sizes = map(np.concatenate, zip(*solved, strict=True))
    flat = votes, speakers, np.append(0, sizes.cumsum())
    weights = sparse.csc_array(flat, shape=(count, count)).tocsr()
    weights.eliminate_zeros()
    return weights


def _solve(
    together: sparse.csr_array,
    chosen: Sequence[tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]],
    ridge: float,
    dropout: float,
) -> npt.NDArray[np.float32]:
    """The regressions of some items: how much each of those that speak for them says, one after another.

    Args:
        together: float32 [n, n], how often two items occur together.
        chosen: for each item which others, int32 [k], speak for it, and how often they occur with it.
        ridge: λ.
        dropout: p, of `item_weights.ease`.
    """
    width = max(1, *(len(speakers) for speakers, _ in chosen))
    systems = np.zeros((len(chosen), width, width), np.float32)
    answers = np.zeros((len(chosen), width, 1), np.float32)
    place = np.full(together.shape[0], -1, np.int16)
    for system, answer, (speakers, counts) in zip(systems, answers, chosen, strict=True):
        place[speakers] = np.arange(len(speakers))
        shared = together[speakers]
        column = place[shared.indices]
        found = np.flatnonzero(column >= 0)
        row = np.arange(len(speakers)).repeat(np.diff(shared.indptr))[found]
        system[row, column[found]] = shared.data[found]
        answer[: len(speakers), 0] = counts
        place[speakers] = -1
    systems = np.maximum(systems, systems.transpose(0, 2, 1))  # a long row may lack what a short one has
    each = np.arange(width)
    systems[:, each, each] = systems[:, each, each] / (1 - dropout) + ridge
    solved = torch.linalg.solve(torch.from_numpy(systems), torch.from_numpy(answers)).numpy()
    return np.concatenate([row[: len(each), 0] for row, (each, _) in zip(solved, chosen, strict=True)])


def _others(
    wanted: sparse.csr_array, item: int, most: int
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """The strongest of an item's row without itself, at most so many, and how strong they are."""
    place = slice(wanted.indptr[item], wanted.indptr[item + 1])
    others, counts = wanted.indices[place], wanted.data[place]
    kept = np.flatnonzero(others != item)[:most]
    return others[kept], counts[kept]
