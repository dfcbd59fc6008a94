"""What the benchmark of training measures, and how it is told."""

import numpy as np
import pytest
from benchmarks import scale

from visrec_training.prepare import read


@pytest.mark.parametrize("items", [70, 300])
def test_a_simulated_shop_is_read_as_any_other(tmp_path, monkeypatch, items):
    monkeypatch.setattr(scale, "DRAWN", 100)
    scale.simulate(tmp_path, items, np.random.default_rng(0))
    shop = read(tmp_path, None)
    assert len(shop.catalogue) == items
    assert shop.item_rows.used == items
    assert len(set(shop.catalogue.images)) == min(items, 100)
    assert shop.interactions.user_count == items
    assert shop.interaction_rows.read == items * scale.CHOSEN
    assert len(np.unique(shop.interactions.items)) > items / 4


def test_people_choose_what_is_popular_among_a_few_kinds(tmp_path):
    scale.simulate(tmp_path, 640, np.random.default_rng(0))
    shop = read(tmp_path, None)
    kinds = np.asarray(shop.catalogue.categories)
    for chosen in shop.interactions.by_user(shop.interactions.liked):
        assert len(set(kinds[chosen])) <= scale.TASTES
    counts = np.sort(np.bincount(shop.interactions.items, minlength=640))
    assert counts[-64:].sum() > 3 * counts[:320].sum()


def test_sizes_are_told_in_order():
    row = {"machine": "2 cores", "interactions": 20, "minutes": 1.25, "gigabytes": 2.0, "epochs": 4}
    told = scale.table({"10000": {"items": 10_000, **row}, "1000": {"items": 1_000, **row}}).splitlines()
    assert told[2] == "| 1,000 | 20 | 1.2 | 2.0 | 4 |"
    assert told[3].startswith("| 10,000 |")
    assert told[-1].endswith("on 2 cores.")
