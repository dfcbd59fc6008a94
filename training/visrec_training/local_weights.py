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
    together = _most_alike(people, words)
    count = together.shape[0]
    parts = []
    with tqdm(total=count, desc="weighing items", unit="item", leave=False) as progress:
        for start in range(0, count, BLOCK):
            items = np.arange(start, min(start + BLOCK, count))
            parts.append(_solve(together, items, ridge))
            progress.update(len(items))
    speakers, spoken, votes = (np.concatenate(each) for each in zip(*parts, strict=True))
    weights = sparse.coo_array((votes, (speakers, spoken)), shape=(count, count)).tocsr()
    weights.eliminate_zeros()
    return weights


def _most_alike(people: People, words: sparse.csr_array) -> sparse.csr_array:
    """What two items share, in people and words: float32 [n, n].

    Of each row the `KEPT` that are most alike by cosine, and itself. The diagonal is first in its row, the
    others follow, most alike first.
    """
    chose = people.chose.astype(np.float32)
    by_item = chose.T.tocsr()
    shared, by_word = words.tocsr(), words.T.tocsr()
    sizes = people.counts.cpu().numpy() + shared.multiply(shared).sum(axis=1)
    indptr, indices, data = [0], [], []
    for start in range(0, len(sizes), BLOCK):
        block = slice(start, start + BLOCK)
        together = (by_item[block] @ chose + shared[block] @ by_word).tocsr()
        for row, item in enumerate(range(start, start + together.shape[0])):
            place = slice(together.indptr[row], together.indptr[row + 1])
            others, counts = together.indices[place], together.data[place]
            # an item is most like itself
            cosine = np.where(others == item, np.inf, counts / np.sqrt(sizes[others]))
            order = np.lexsort((others, -cosine))[: KEPT + 1]
            indices.append(others[order])
            data.append(counts[order])
            indptr.append(indptr[-1] + len(order))
    flat = np.concatenate(data), np.concatenate(indices), np.asarray(indptr)
    return sparse.csr_array(flat, shape=(len(sizes), len(sizes)))


def _solve(
    together: sparse.csr_array, items: npt.NDArray[np.int64], ridge: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """The regressions of some items: who speaks, for which of them, and how much."""
    speakers = [
        together.indices[together.indptr[item] + 1 : together.indptr[item + 1]][:CANDIDATES] for item in items
    ]
    width = max(1, max(map(len, speakers)))
    systems = np.zeros((len(items), width, width), np.float32)
    wanted = np.zeros((len(items), width, 1), np.float32)
    for row, (item, chosen) in enumerate(zip(items, speakers, strict=True)):
        size, start = len(chosen), together.indptr[item] + 1
        counts = together[chosen][:, chosen].toarray()
        systems[row, :size, :size] = np.maximum(counts, counts.T)  # a long row may lack what a short one has
        wanted[row, :size, 0] = together.data[start : start + size]
    systems[:, np.arange(width), np.arange(width)] += ridge
    solved = torch.linalg.solve(torch.from_numpy(systems), torch.from_numpy(wanted)).numpy()
    votes = [solved[row, : len(chosen), 0] for row, chosen in enumerate(speakers)]
    spoken = np.repeat(items, [len(chosen) for chosen in speakers])
    return np.concatenate(speakers).astype(np.int64), spoken, np.concatenate(votes)
