"""EDLAE, as its paper derives it: what dropout comes to where no item may predict itself."""

import numpy as np
import pytest
from benchmarks.quality.edlae import edlae

from visrec_training.baselines import ItemToItem

PEOPLE, ITEMS = 40, 6


@pytest.fixture(scope="module")
def liked():
    """Who likes what, some items more popular than others: float32 [40, 6]."""
    chance = np.linspace(0.2, 0.8, ITEMS)
    return (np.random.default_rng(0).random((PEOPLE, ITEMS)) < chance).astype(np.float32)


@pytest.mark.parametrize("item", range(ITEMS))
def test_it_is_the_regression_on_histories_from_which_items_were_dropped(liked, item):
    """Its weights are those of a ridge regression on very many copies of the histories, each with gaps."""
    weights = edlae(liked.T @ liked, ridge=3, dropout=0.4).weights
    others, copies = np.delete(np.arange(ITEMS), item), 20_000
    kept = np.random.default_rng(1).random((copies, PEOPLE, ITEMS - 1)) >= 0.4
    x = (kept * liked[:, others] / 0.6).reshape(-1, ITEMS - 1)  # dropout scales up what it keeps
    y = np.tile(liked[:, item], copies)
    solved = np.linalg.solve(x.T @ x / copies + 3 * np.eye(ITEMS - 1), x.T @ y / copies)
    np.testing.assert_allclose(weights[others, item], solved, atol=0.01)
    assert weights[item, item] == 0


def test_without_dropout_it_is_ease(liked):
    together = liked.T @ liked
    np.testing.assert_array_equal(edlae(together, 3, dropout=0).weights, ItemToItem.ease(together, 3).weights)
