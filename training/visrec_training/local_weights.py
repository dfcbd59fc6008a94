"""How much one item says for another, where there are too many for a matrix of all by all.

Each item is predicted by ridge regression from those that are most often chosen with it, and from no others:
EASE with one small system of equations an item in place of one large one (fsSLIM, Ning & Karypis, ICDM 2011).
Time and memory grow with what people did.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from scipy import sparse
from tqdm import tqdm

from visrec_training.people import People
from visrec_training.transitions import Transitions

CANDIDATES = 128  # items that an item is predicted from
KEPT = 1_024  # of an item's counts of who chose it with others, those by which it is most alike
BLOCK = 256  # items solved at once


def fit_local_weights(people: People, words: sparse.csr_array, ridge: float) -> sparse.csr_array:
    """Fit the weights, float32 [n, n]: row i is what i says, and the diagonal is 0.

    Args:
        people: who chose which of n items.
        words: float32 [n, V], whose products count beside the people whom two items share.
        ridge: λ, in people.
    """
    by_item = sparse.hstack([people.chose.T.astype(np.float32), words]).tocsr()
    together = _strongest_products(by_item, by_item)
    return _fit(together, together, ridge)


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
    transposed = columns.T.tocsr()
    indptr, indices, data = [0], [], []
    for start in range(0, len(sizes), BLOCK):
        products = (rows[start : start + BLOCK] @ transposed).tocsr()
        for row, item in enumerate(range(start, start + products.shape[0])):
            place = slice(products.indptr[row], products.indptr[row + 1])
            others, counts = products.indices[place], products.data[place]
            alike = np.where(others == item, np.inf, counts / np.sqrt(sizes[others]))
            order = np.lexsort((others, -alike))[: KEPT + 1]
            indices.append(others[order])
            data.append(counts[order])
            indptr.append(indptr[-1] + len(order))
    flat = np.concatenate(data), np.concatenate(indices), np.asarray(indptr)
    return sparse.csr_array(flat, shape=(len(sizes), len(sizes)))


def _fit(together: sparse.csr_array, wanted: sparse.csr_array, ridge: float) -> sparse.csr_array:
    """Predict each item from those that are strongest in its row of `wanted`."""
    count = together.shape[0]
    parts = []
    with tqdm(total=count, desc="weighing items", unit="item", leave=False) as progress:
        for start in range(0, count, BLOCK):
            items = np.arange(start, min(start + BLOCK, count))
            parts.append(_solve(together, wanted, items, ridge))
            progress.update(len(items))
    speakers, spoken, votes = (np.concatenate(each) for each in zip(*parts, strict=True))
    weights = sparse.coo_array((votes, (speakers, spoken)), shape=(count, count)).tocsr()
    weights.eliminate_zeros()
    return weights


def _solve(
    together: sparse.csr_array, wanted: sparse.csr_array, items: npt.NDArray[np.int64], ridge: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """The regressions of some items: who speaks, for which of them, and how much."""
    chosen = [_others(wanted, item) for item in items]
    width = max(1, *(len(speakers) for speakers, _ in chosen))
    systems = np.zeros((len(items), width, width), np.float32)
    answers = np.zeros((len(items), width, 1), np.float32)
    for row, (speakers, counts) in enumerate(chosen):
        size = len(speakers)
        shared = together[speakers][:, speakers].toarray()
        systems[row, :size, :size] = np.maximum(shared, shared.T)  # a long row may lack what a short one has
        answers[row, :size, 0] = counts
    systems[:, np.arange(width), np.arange(width)] += ridge
    solved = torch.linalg.solve(torch.from_numpy(systems), torch.from_numpy(answers)).numpy()
    votes = [solved[row, : len(speakers), 0] for row, (speakers, _) in enumerate(chosen)]
    spoken = np.repeat(items, [len(speakers) for speakers, _ in chosen])
    speaking = np.concatenate([speakers for speakers, _ in chosen])
    return speaking.astype(np.int64), spoken, np.concatenate(votes)


def _others(wanted: sparse.csr_array, item: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """The strongest of an item's row without itself, and how strong they are."""
    place = slice(wanted.indptr[item], wanted.indptr[item + 1])
    others, counts = wanted.indices[place], wanted.data[place]
    kept = np.flatnonzero(others != item)[:CANDIDATES]
    return others[kept], counts[kept]
