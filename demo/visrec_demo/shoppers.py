"""Simulated shoppers: nobody did what these interactions say.

A shopper picks stickers one after another and never the same one twice. The chance of the next pick is a
softmax over all stickers of a utility that adds

    category_taste  · liking(shopper, category)           drawn once a shopper, standard normal
    + look_taste    · weights(shopper) · look(sticker)    weights drawn once a shopper, standard normal
    + appeal        · -log(rank of the sticker) / sd      ranks drawn once a shop: a mild Zipf's law
    within a session, where a sticker was looked at just before:
    + same_category · [of the category looked at]
    - resemblance   · half the squared distance between the two looks

`look` is measured from the picture (`visrec_demo.looks`): half of it is colour, half is roundness, line
density and size. It is centred and scaled to a mean square of 1, so that the strengths are utilities in the
same unit and at the same number `look_taste` weighs as much as `category_taste`. Half the squared distance is
1 on average. Sessions end at random; the first pick of a session follows the lasting taste alone.

What can be known of the next pick, for a shopper's last one over the whole catalogue without what they have
already, by an oracle that knows these rules, on the default configuration (tests/demo/test_shoppers.py
computes the same on a smaller one):

    NDCG@10 by chance                                                           0.003
    NDCG@10 of popularity                                                       0.014
    NDCG@10 of the lasting taste alone                                          0.16
    NDCG@10 of a history: lasting taste, and what was picked before the viewed  0.20
    NDCG@10 of what is looked at alone, by whomever                             0.20
    NDCG@10 of lasting taste and what is looked at                              0.27
    the same with looks alone, and with categories alone                        0.11 and 0.05
    own category among the ten best of what is looked at alone                  7.5 times chance (8.2 at most)
    Recall@20 for targets in a random tenth of the stickers, without their appeal  36 times chance
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from visrec_demo.looks import SHAPES, measure
from visrec_training.files import write_beside, write_text

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]

NOTICE = "SIMULATED: these shoppers do not exist; visrec_demo.shoppers says by what rules they picked."

_START = 1_767_225_600  # 2026-01-01 00:00 UTC
_DAY = 86_400


@dataclass(frozen=True, kw_only=True, slots=True)
class ShopperConfig:
    """How many shoppers there are and what moves them; the module says what the strengths multiply."""

    shoppers: int = 2000
    """Number of shoppers."""
    picks: int = 30
    """Mean number of stickers a shopper picks; each picks between half and one and a half times as many."""
    stay: float = 0.8
    """Chance that a session goes on after a pick, 0 up to 1."""
    category_taste: float = 2.0
    """Strength of the lasting taste in categories."""
    look_taste: float = 2.5
    """Strength of the lasting taste in looks."""
    appeal: float = 0.6
    """Strength of a sticker's own appeal."""
    same_category: float = 2.5
    """What being of the category looked at adds."""
    resemblance: float = 3.0
    """Strength of looking like the sticker looked at."""
    seed: int = 0
    """Decides everything that is drawn."""

    def __post_init__(self) -> None:
        for name in ("shoppers", "picks"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: at least 1 is needed")
        if not 0 <= self.stay < 1:
            raise ValueError(f"stay is {self.stay}: a chance from 0 up to 1 is needed")
        for name in ("category_taste", "look_taste", "appeal", "same_category", "resemblance", "seed"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}: at least 0 is needed")


class TasteModel:
    """The rules by which the shoppers pick, for N stickers and S shoppers."""

    def __init__(self, config: ShopperConfig, categories: list[str], looks: npt.NDArray[np.float64]) -> None:
        """Draw the shoppers' tastes and the stickers' appeal.

        Args:
            config: strengths and seed.
            categories: N category names.
            looks: float64 [N, features], of `visrec_demo.looks.measure`.
        """
        rng = np.random.default_rng([config.seed, 0])
        self.config = config
        self.category = np.unique(categories, return_inverse=True)[1].astype(np.int64)
        self.look = _scaled(looks)
        liking = rng.standard_normal((config.shoppers, self.category.max() + 1))
        weights = rng.standard_normal((config.shoppers, self.look.shape[1]))
        appeal = -np.log1p(rng.permutation(len(categories)))
        self.appeal: Floats = (config.appeal * (appeal - appeal.mean()) / appeal.std()).astype(np.float32)
        lasting = config.category_taste * liking[:, self.category] + config.look_taste * weights @ self.look.T
        self.lasting: Floats = (lasting + self.appeal).astype(np.float32)
        """float32 [S, N]: utility of each sticker to each shopper when nothing is being looked at."""

    def pull(self, viewed: Rows) -> Floats:
        """What looking at stickers adds to the utility of all.

        Args:
            viewed: int64 [n], rows of the stickers looked at.

        Returns:
            float32 [n, N].
        """
        same = self.category[viewed][:, None] == self.category
        square = (self.look**2).sum(axis=1)
        half_distance = (square[viewed][:, None] + square) / 2 - self.look[viewed] @ self.look.T
        pull = self.config.same_category * same - self.config.resemblance * half_distance
        return pull.astype(np.float32)


def _scaled(looks: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Centre the measures; colours and shapes get half the variance each, the shapes in equal parts."""
    centred = looks - looks.mean(axis=0)
    colours, shapes = centred[:, : -len(SHAPES)], centred[:, -len(SHAPES) :]
    colours = colours / np.sqrt(2 * (colours**2).sum(axis=1).mean())
    shapes = shapes / (shapes.std(axis=0) * np.sqrt(2 * len(SHAPES)))
    return np.concatenate([colours, shapes], axis=1)


@dataclass(frozen=True, slots=True)
class Picks:
    """What the shoppers picked, one entry a pick, ordered by shopper and then by time."""

    shoppers: Rows
    """int64 [n]"""
    items: Rows
    """int64 [n]: rows of the catalogue."""
    timestamps: Rows
    """int64 [n]: seconds since 1970."""


def simulate(taste: TasteModel) -> Picks:
    """Let every shopper pick: all of them take their t-th pick at once."""
    config = taste.config
    rng = np.random.default_rng([config.seed, 1])
    count = config.shoppers
    low, high = (config.picks + 1) // 2, config.picks + config.picks // 2
    lengths = np.minimum(rng.integers(low, high + 1, size=count), len(taste.category))
    pull = taste.pull(np.arange(len(taste.category)))
    utility = taste.lasting.copy()
    clock = _START + rng.integers(0, 180 * _DAY, size=count)
    viewed = np.full(count, -1, dtype=np.int64)
    parts: list[Rows] = []
    for step in tqdm(range(lengths.max()), desc="simulated shoppers pick", unit=" picks"):
        active = np.flatnonzero(lengths > step)
        stays = (rng.random(len(active)) < config.stay) & (viewed[active] >= 0)
        noise = rng.standard_exponential((len(active), utility.shape[1]), dtype=np.float32)
        noise = -np.log(np.maximum(noise, np.finfo(np.float32).tiny))
        # the largest of utility plus Gumbel noise is a draw from the softmax of the utility
        noise += utility[active]
        noise[stays] += pull[viewed[active[stays]]]
        picked = noise.argmax(axis=1)
        utility[active, picked] = -np.inf
        seconds, days = rng.integers(20, 300, len(active)), rng.integers(1, 14, len(active))
        clock[active] += np.where(stays, seconds, seconds + days * _DAY)
        viewed[active] = picked
        parts.append(np.stack([active, picked, clock[active]]))
    shoppers, items, timestamps = np.concatenate(parts, axis=1)
    order = np.lexsort((timestamps, shoppers))
    return Picks(shoppers[order], items[order], timestamps[order])


def read_taste(folder: Path, config: ShopperConfig) -> TasteModel:
    """The taste model for the catalogue in a data folder, its looks measured from the pictures there."""
    items = pq.read_table(folder / "items.parquet").to_pydict()
    return TasteModel(config, items["category"], measure([folder / image for image in items["image"]]))


def write_shoppers(folder: Path, config: ShopperConfig) -> int:
    """Simulate shoppers for the catalogue in a data folder and write `interactions.parquet`.

    User ids begin with "simulated-"; the file's metadata and `SIMULATED.txt` beside it say that nobody did
    this.

    Returns:
        The number of interactions.
    """
    item_ids = np.asarray(pq.read_table(folder / "items.parquet", columns=["item_id"])["item_id"].to_pylist())
    picks = simulate(read_taste(folder, config))
    table = pa.table(
        {
            "user_id": [f"simulated-{shopper:05d}" for shopper in picks.shoppers],
            "item_id": item_ids[picks.items].tolist(),
            "timestamp": picks.timestamps,
        }
    )
    table = table.replace_schema_metadata({"notice": NOTICE, "config": repr(config)})
    write_beside(folder / "interactions.parquet", lambda path: pq.write_table(table, path))
    write_text(folder / "SIMULATED.txt", f"interactions.parquet\n{NOTICE}\n{config}\n")
    return len(picks.items)
