"""The simulated shoppers are labelled, repeatable, and as predictable as their docstring says."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from oracle import Oracle

from visrec_demo.shoppers import ShopperConfig, TasteModel, read_taste, simulate, write_shoppers

CONFIG = ShopperConfig(shoppers=500)


@pytest.fixture(scope="module")
def taste(shop: Path) -> TasteModel:
    return read_taste(shop, CONFIG)


def changed(taste: TasteModel, **settings: float) -> TasteModel:
    """The same shoppers and stickers with some settings changed."""
    return TasteModel(replace(CONFIG, **settings), taste.category.tolist(), taste.look)


@pytest.fixture(scope="module")
def oracle(taste: TasteModel) -> Oracle:
    return Oracle(taste, simulate(taste))


def test_nobody_picks_a_sticker_twice_and_everybody_picks_in_time(oracle: Oracle) -> None:
    picks = oracle.picks
    pairs = set(zip(picks.shoppers.tolist(), picks.items.tolist(), strict=True))
    assert len(pairs) == len(picks.items)
    assert (np.diff(picks.timestamps)[np.diff(picks.shoppers) == 0] > 0).all()
    counts = np.bincount(picks.shoppers)
    assert len(counts) == CONFIG.shoppers
    assert (counts.min(), counts.max()) == (15, 45)
    assert counts.mean() == pytest.approx(30, rel=0.05)


def test_who_wants_more_than_there_is_picks_everything_once() -> None:
    looks = np.random.default_rng(0).random((4, 15))
    picks = simulate(TasteModel(replace(CONFIG, shoppers=3), ["a", "a", "b", "b"], looks))
    assert [sorted(picks.items[picks.shoppers == shopper]) for shopper in range(3)] == [[0, 1, 2, 3]] * 3


def test_a_seed_always_gives_the_same_shoppers(taste: TasteModel, oracle: Oracle) -> None:
    again = simulate(taste)
    assert (again.items == oracle.picks.items).all()
    assert (again.timestamps == oracle.picks.timestamps).all()
    other = simulate(changed(taste, seed=1))
    assert other.items[:100].tolist() != again.items[:100].tolist()


def test_the_picks_follow_the_rules(oracle: Oracle) -> None:
    """What was really picked is as predictable as the rules say it is."""
    assert oracle.sampled_ndcg(oracle.both) == pytest.approx(oracle.ndcg(oracle.both), abs=0.04)


def test_popularity_is_mild_but_there(oracle: Oracle) -> None:
    chance = oracle.ndcg(np.random.default_rng(0).random(oracle.both.shape).astype(np.float32))
    assert oracle.ndcg(oracle.popularity) > 2 * chance


def test_lasting_taste_says_far_more_than_popularity(oracle: Oracle) -> None:
    assert oracle.ndcg(oracle.lasting_taste) > 4 * oracle.ndcg(oracle.popularity)
    assert oracle.ndcg(oracle.history) > 4 * oracle.ndcg(oracle.popularity)


def test_a_picture_and_a_history_say_more_than_either(oracle: Oracle) -> None:
    both = oracle.ndcg(oracle.both)
    assert both > 1.3 * oracle.ndcg(oracle.picture)
    assert both > 1.3 * oracle.ndcg(oracle.history)
    assert both > 1.3 * oracle.ndcg(oracle.lasting_taste)


def test_new_stickers_are_predictable_from_category_and_look(oracle: Oracle) -> None:
    count = oracle.both.shape[1]
    new = np.zeros(count, dtype=bool)
    new[np.random.default_rng(0).choice(count, count // 10, replace=False)] = True
    assert oracle.recall_of_new(new) > 10 * 20 / count


def test_sessions_stay_mostly_in_the_category_looked_at(oracle: Oracle) -> None:
    category = oracle.taste.category
    shares = np.bincount(category) / len(category)
    own = category[oracle.top(oracle.picture, 10)] == category[oracle.viewed][:, None]
    assert own.mean() > 5 * (shares**2).sum()


def test_look_matters_as_much_as_category(oracle: Oracle) -> None:
    """Who knows the looks but not the categories ranks better than who knows the categories alone."""
    of_looks = changed(oracle.taste, category_taste=0, same_category=0)
    of_categories = changed(oracle.taste, look_taste=0, resemblance=0)
    by_looks, by_categories = (
        oracle.ndcg(part.lasting + part.pull(oracle.viewed)) for part in (of_looks, of_categories)
    )
    assert by_looks > by_categories > oracle.ndcg(oracle.popularity)


def test_they_are_labelled_as_simulated(shop: Path) -> None:
    few = ShopperConfig(shoppers=20, seed=3)
    count = write_shoppers(shop, few)
    table = pq.read_table(shop / "interactions.parquet")
    assert table.num_rows == count
    assert table.column_names == ["user_id", "item_id", "timestamp"]
    assert set(table["user_id"].to_pylist()) == {f"simulated-{shopper:05d}" for shopper in range(20)}
    item_ids = pq.read_table(shop / "items.parquet")["item_id"].to_pylist()
    assert set(table["item_id"].to_pylist()) <= set(item_ids)
    assert b"SIMULATED" in table.schema.metadata[b"notice"]
    assert "SIMULATED" in (shop / "SIMULATED.txt").read_text("utf-8")
    before = (shop / "interactions.parquet").read_bytes()
    write_shoppers(shop, few)
    assert (shop / "interactions.parquet").read_bytes() == before


@pytest.mark.parametrize("wrong", [{"shoppers": 0}, {"stay": 1.0}, {"resemblance": -1.0}])
def test_a_setting_that_is_not_allowed_is_named(wrong: dict[str, float]) -> None:
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=rf"{name} is {value}"):
        ShopperConfig(**wrong)
