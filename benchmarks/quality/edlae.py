"""EDLAE: EASE that shrinks what an item says by how many people liked it.

Steck, Autoencoders that don't overfit towards the Identity, NeurIPS 2020.
"""

from __future__ import annotations

from itertools import product

import numpy as np

from visrec_training.baselines import RIDGES, ItemToItem, Matrix

DROPOUTS = (0.3, 0.1, 0.5, 0.7)
"""Shares of a history that are left out; the first where nothing can be validated."""
STRENGTHS = tuple(product(RIDGES, DROPOUTS))
"""Each ridge, in people, with each dropout."""


def edlae(together: Matrix, ridge: float, dropout: float) -> ItemToItem:
    """Each item predicted by ridge regression from what dropout leaves of all others.

    In closed form, dropping out a share p adds p / (1 - p) of an item's count to its ridge.

    Args:
        together: [N, N], of `liked_together`.
        ridge: λ, in people, the same for every item.
        dropout: p, from 0, which is EASE, to less than 1.
    """
    penalty = dropout / (1 - dropout) * together.diagonal()
    return ItemToItem.ease(together + np.diag(penalty), ridge)
