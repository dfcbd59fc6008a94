"""The collaborative space: behaviour places what people met, and content places the rest."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from visrec_training.attention import GIST
from visrec_training.collaborative import (
    factorise,
    fit_places,
    learn_places,
    met_items,
    take_apart,
    word_features,
)
from visrec_training.config import ModelConfig, TrainConfig
from visrec_training.item_tower import ItemTower, PictureVector, WordBag
from visrec_training.item_weights import DenseWeights, ease
from visrec_training.people import People
from visrec_training.query_tower import QueryTower
from visrec_training.rows import Ragged

MODEL = ModelConfig(dim=8, aspect_dim=4, aspects=2, regression_dim=3, spectral_dim=2)
TRAIN = TrainConfig(new_item_spread=0.0)
ITEMS, WORDS = 12, 6


@pytest.fixture
def shop():
    """Item tower, looks float [12, 2, 4] and words int64 [12, 3] of a catalogue; items 0 to 9 were met."""
    generator = torch.Generator().manual_seed(0)
    tower = ItemTower(MODEL, ITEMS, PictureVector(MODEL), WordBag(MODEL, torch.ones(WORDS + 1)))
    aspects = torch.randn(ITEMS, 2, 4, generator=generator)
    tokens = torch.randint(1, WORDS + 1, (ITEMS, 3), generator=generator)
    return tower, aspects, tokens


def learn():
    rng = np.random.default_rng(0)
    return placed_by([rng.choice(10, size=4, replace=False) for _ in range(40)], ITEMS)


def fit(shop, learned, config=TRAIN):
    tower, aspects, tokens = shop
    return fit_places(tower, learned, word_features(tower.words, tokens), aspects[:, GIST], config)


def placed_by(sequences, items):
    """Places of what some people chose, with item-to-item weights by EASE alone."""
    sequences = Ragged.of(sequences)
    met = met_items(sequences, items)
    people = People.of(sequences, met, items)
    weights = DenseWeights(ease(people.together(), 1.0))
    return learn_places(people, met, torch.arange(len(met)), weights, MODEL)


def test_regression_tells_each_item_from_the_others():
    people = torch.tensor([[1, 1, 0], [1, 1, 0], [0, 0, 1], [1, 0, 1]], dtype=torch.float64)
    weights = ease(people.T @ people, ridge=0.5)
    assert weights.diagonal().abs().max() == 0
    assert weights[0, 1] > weights[0, 2]


def test_factors_give_the_similarity_back_up_to_their_scale():
    similarity = torch.randn(6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    source, target, unit = factorise(take_apart(similarity, 6), 6)
    assert torch.allclose(unit * source @ target.T, similarity, atol=1e-6)


def test_what_people_met_lies_where_behaviour_puts_it(shop):
    tower, aspects, tokens = shop
    learned = learn()
    fit(shop, learned)
    with torch.no_grad():
        places = tower.places(aspects, tokens, torch.ones(ITEMS, dtype=torch.bool))
    assert torch.allclose(places[learned.rows], learned.places.float(), atol=1e-4)


def test_an_item_nobody_met_lies_where_its_content_puts_it(shop):
    """Two items with one picture and one text, one of them met: without its id, it lies with the other."""
    tower, aspects, tokens = shop
    aspects[10], tokens[10] = aspects[0], tokens[0]
    fit(shop, learn())
    with torch.no_grad():
        places = tower.places(aspects, tokens, torch.zeros(ITEMS, dtype=torch.bool))
    assert torch.allclose(places[10], places[0], atol=1e-5)
    assert not torch.allclose(places[11], places[0], atol=1e-2)


def test_an_item_as_if_nobody_had_met_it_is_placed_by_the_others_alone(shop):
    learned = learn()
    unseen = fit(shop, learned)
    changed = learned.places.clone()
    changed[0] += 5  # what is said of item 0 itself can't show, but for the mean of all
    changed -= changed.mean(0) - learned.places.mean(0)
    again = fit(shop, dataclasses.replace(learned, places=changed))
    shift = (changed[1] - learned.places[1]).float()
    assert torch.allclose(again[0] - unseen[0], leave_one_out(shop, learned, shift), atol=1e-3)


def leave_one_out(shop, learned, shift):
    """How far item 0's prediction moves when all the others move by `shift`, by really leaving it out."""
    tower, aspects, tokens = shop
    looks = aspects[learned.rows, GIST].double()
    looks = looks - looks.mean(0)
    looks = looks * TRAIN.picture_share / looks.norm(dim=1).mean()
    words = torch.from_numpy(word_features(tower.words, tokens)[learned.rows.numpy()].toarray()).double()
    kernel = looks @ looks.T + words @ words.T
    others = kernel[1:, 1:] + TRAIN.content_ridge * torch.eye(len(kernel) - 1, dtype=torch.float64)
    return shift * torch.linalg.solve(others, kernel[1:, 0]).sum().float()


def test_new_items_are_placed_as_far_apart_as_known_ones_where_asked(shop):
    learned = learn()
    timid = fit(shop, learned)
    bold = fit(shop, learned, dataclasses.replace(TRAIN, new_item_spread=1.0))
    mean = learned.places.float().mean(0)
    width = MODEL.regression_dim
    known = (learned.places.float() - mean)[:, :width].norm()
    assert (bold - mean)[:, :width].norm() == pytest.approx(known.item(), rel=1e-3)
    assert (timid - mean)[:, :width].norm() < known


ROWS = st.lists(st.integers(0, 4), unique=True, max_size=5)
WORDS_OF_ITEMS = st.lists(st.sampled_from([(0, 0), (1, 0), (1, 2)]), min_size=5, max_size=5)


@settings(deadline=None, max_examples=100)
@given(
    people=st.lists(ROWS, min_size=1, max_size=4).filter(any),
    times=st.sampled_from([1, 1000]),
    words=WORDS_OF_ITEMS,
    looks=st.lists(st.integers(0, 1), min_size=5, max_size=5),
    noise=st.sampled_from([0, 1e-7, 1e-4]),
)
def test_any_people_however_few_or_alike_place_items_at_a_finite_distance(people, times, words, looks, noise):
    """Small differences are either real or rounding: none is divided by until it says everything."""
    picture, bag = PictureVector(MODEL), WordBag(MODEL, torch.ones(3))
    tower, queries = ItemTower(MODEL, 5, picture, bag), QueryTower(MODEL, picture, bag)
    sequences = [np.asarray(rows, dtype=np.int64) for rows in people] * times
    tokens = torch.tensor(words)
    aspects = torch.ones(5, 2, 4) * torch.tensor(looks).view(-1, 1, 1)
    aspects += noise * torch.randn(5, 2, 4, generator=torch.Generator().manual_seed(0))
    learned = placed_by(sequences, 5)
    queries.balance.expect(*learned.spreads)
    unseen = fit((tower, aspects, tokens), learned)
    with torch.no_grad():
        placed = tower.places(aspects, tokens, torch.ones(5, dtype=torch.bool))
    for values in (unseen, placed, queries.balance.bias):
        assert torch.isfinite(values).all() and values.abs().max() < 100
    assert torch.allclose(placed[learned.rows], learned.places.float(), atol=1e-3)


def test_people_who_all_chose_the_same_tell_no_item_from_another():
    learned = placed_by([np.arange(3)] * 7, 3)
    assert learned.spreads == (0, 0)
    assert learned.places.abs().max() == 0


def test_people_who_chose_one_thing_each_say_how_popular_it_is():
    chosen = [np.asarray([row]) for row in (0, 1, 1, 2, 2, 2, 2)]
    learned = placed_by(chosen, 3)
    assert learned.spreads == (0, 0), "nothing follows anything"
    assert (learned.places[:, -1].diff() > 0.3).all()
