"""The item-to-item table: who is bought with whom, for items that people met and for those nobody met."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from visrec_export.stock import Stock
from visrec_training.closed_form import fit_closed_form
from visrec_training.config import ModelConfig
from visrec_training.content import Content
from visrec_training.fusion_scorer import add_votes
from visrec_training.item_tower import Items
from visrec_training.item_weights import ease
from visrec_training.neighbours import NEIGHBOURS, entries, table
from visrec_training.queries import Queries
from visrec_training.rows import Ragged
from visrec_training.split import Split
from visrec_training.stages import NO_STAGES

ITEMS, GROUP = 24, 4
EVERY = torch.arange(ITEMS)
NOBODY = Queries.none()
MODEL = ModelConfig(regression_dim=3, spectral_dim=2)


def content(items=ITEMS):
    """Items in groups of four; the words of an item are its group's."""
    groups = torch.arange(items) // GROUP
    words = sparse.csr_array(torch.nn.functional.one_hot(groups).float().numpy())
    return Content(
        words,
        torch.zeros(items, 3),
        torch.zeros(items, 4),
        torch.zeros(items, 2),
        torch.zeros(items, 1),
    )


def shop(new=(), items=ITEMS):
    """People who chose two items of one group each, but for new items."""
    rng = np.random.default_rng(0)
    train = []
    for _ in range(200):
        group = GROUP * rng.integers(items // GROUP)
        train.append(group + rng.choice(GROUP, 2, replace=False))
    train = Ragged.of(chosen[~np.isin(chosen, new)] for chosen in train)
    met = np.bincount(train.values, minlength=items) > 0
    return Split(train, NOBODY, NOBODY, NOBODY, NOBODY, ~met, met, has_order=False, is_fixed=True)


def fit(new=(), most_dense=ITEMS):
    torch.manual_seed(0)
    return fit_closed_form(shop(new), content(), MODEL, most_dense, NO_STAGES)


def dense(table, items=ITEMS):
    """The table as a matrix: row i is what i says."""
    matrix = torch.zeros(items, items)
    return matrix.scatter_add(1, table.neighbours.long(), table.votes)


def said(fitted):
    """All that items say for each other, by places and table together."""
    width, half = MODEL.regression_dim, MODEL.collaborative_dim
    places = torch.zeros(ITEMS, 2 * half + 1)
    places[fitted.learned.rows] = fitted.learned.places.float()
    places = fitted.new.place(places, EVERY, 1.0)
    return places[:, :width] @ places[:, half : half + width].T + dense(fitted.tables.of(1.0, 1.0, EVERY))


def test_an_item_speaks_for_those_it_is_chosen_with():
    votes = said(fit())
    for row in range(ITEMS):
        group = set(range(row // GROUP * GROUP, row // GROUP * GROUP + GROUP)) - {row}
        assert set(votes[row].topk(GROUP - 1).indices.tolist()) == group


def test_places_and_table_together_are_the_weights_of_regression():
    fitted = fit()
    assert fitted.learned.unit > 0
    assert said(fitted).diagonal().abs().max() < 1e-4, "an item says nothing for itself"
    people = torch.zeros(200, ITEMS, dtype=torch.float64)
    for person, chosen in enumerate(shop().train):
        people[person, torch.from_numpy(chosen)] = 1
    alike = content().shared_words(torch.arange(ITEMS), torch.arange(ITEMS))
    weights = ease(people.T @ people + alike, 100.0).float()
    torch.testing.assert_close(said(fitted) * fitted.learned.unit, weights, atol=1e-5, rtol=1e-4)


def test_an_item_that_nobody_met_has_the_neighbours_of_what_it_is_like():
    new = 5
    votes = said(fit([new]))
    alike = [4, 6, 7]
    others = [row for row in range(ITEMS) if row not in (*alike, new)]
    assert votes[alike, new].min() > votes[others, new].max(), "they speak for it"
    assert votes[new, alike].min() > votes[new, others].max(), "and it speaks for them"


def test_an_item_on_trial_is_spoken_for_by_what_it_is_like():
    fitted = fit()
    probes = fitted.is_probe.nonzero().flatten()
    assert len(probes)
    votes = fitted.left_out.sources @ fitted.left_out.targets.T + dense(
        fitted.trial_tables.of(1.0, 1.0, EVERY)
    )
    for probe in probes.tolist():
        known = [row for row in range(ITEMS) if not fitted.is_probe[row]]
        group = [row for row in known if row // GROUP == probe // GROUP]
        others = [row for row in known if row // GROUP != probe // GROUP]
        assert votes[group, probe].min() > votes[others, probe].max()


def test_how_loud_histories_speak_for_new_items_leaves_known_ones_as_they_are():
    tables, is_new = fit([5]).tables, EVERY == 5
    by_content, plain, loud = (dense(tables.of(scale, 1.0, EVERY)) for scale in (0.0, 1.0, 2.0))
    assert torch.equal(loud[:, ~is_new], plain[:, ~is_new])
    assert torch.equal(loud[:, is_new], 2 * plain[:, is_new])
    assert torch.equal(by_content[:, ~is_new], plain[:, ~is_new])
    assert not torch.equal(by_content[:, is_new], plain[:, is_new])


def test_ease_says_nothing_of_an_item_by_itself():
    gram = torch.tensor([[4.0, 2, 0], [2, 3, 1], [0, 1, 2]], dtype=torch.float64)
    weights = ease(gram, 1.0)
    assert weights.diagonal().abs().max() == 0
    inverse = torch.linalg.inv(gram + torch.eye(3))
    assert weights[0, 1].item() == pytest.approx(float(-inverse[0, 1] / inverse[1, 1]))


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 3 * NEIGHBOURS), st.integers(0, 2**32 - 1))
def test_of_each_row_the_strongest_votes_stay(columns, seed):
    votes = torch.randn(4, columns, generator=torch.Generator().manual_seed(seed))
    laid = table([entries(votes, torch.arange(4), torch.arange(columns))], max(4, columns))
    kept = dense(laid, max(4, columns))[:4, :columns]
    assert (kept != 0).sum(1).tolist() == [min(NEIGHBOURS, columns)] * 4
    assert torch.equal(kept[kept != 0], votes[kept != 0])
    assert kept.abs().amax(1).equal(votes.abs().amax(1))


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(-1, 9), min_size=1, max_size=6))
def test_a_history_adds_up_what_its_items_say(history):
    generator = torch.Generator().manual_seed(0)
    neighbours = torch.randint(10, (10, 3), generator=generator, dtype=torch.int32)
    votes, said = torch.randn(10, 3, generator=generator), torch.rand(1, len(history), generator=generator)
    rows = torch.tensor([history])
    said = said * (rows >= 0)
    expected = torch.zeros(10)
    for place, row in enumerate(history):
        for neighbour, vote in zip(neighbours[row], votes[row], strict=True):
            expected[neighbour] += vote * said[0, place]
    added = add_votes(torch.zeros(1, 10), neighbours, votes, rows, said)
    torch.testing.assert_close(added[0], expected)


def test_removed_items_are_spoken_for_no_more():
    kept = fit().tables.of(1.0, 1.0, EVERY)
    nothing = torch.zeros(ITEMS, 0)
    names = [f"item-{row}" for row in range(ITEMS)]
    stock = Stock(tuple(names), Items(nothing, nothing, nothing, *kept))
    left = stock.without(["item-2", "item-9"]).items
    rows = [row for row in range(ITEMS) if row not in (2, 9)]
    assert torch.equal(dense(left, ITEMS - 2), dense(kept)[rows][:, rows])


def test_added_items_wait_for_the_next_training():
    kept = fit().tables.of(1.0, 1.0, EVERY)
    nothing = torch.zeros(ITEMS, 0)
    stock = Stock(tuple(map(str, range(ITEMS))), Items(nothing, nothing, nothing, *kept))
    one = torch.zeros(1, 0)
    items = stock.extended(["new"], Items(one, one, one, one.int(), one)).items
    assert torch.equal(items.votes[:-1], kept.votes)
    assert items.votes[-1].abs().max() == 0


def test_new_items_are_fitted_in_blocks_as_they_are_at_once(monkeypatch):
    new = list(range(1, ITEMS, 2))
    at_once = fit(new)
    monkeypatch.setattr("visrec_training.closed_form.BLOCK", 5)
    torch.testing.assert_close(said(fit(new)), said(at_once))


def test_items_all_alike_make_no_table_wider_than_others():
    count = 4 * NEIGHBOURS
    ones = torch.ones(count, 1)
    words = sparse.csr_array(ones.float().numpy())
    alike = Content(words, *(torch.zeros(count, width) for width in (3, 4, 2)), ones)
    everybody = Ragged.of([range(count // 2)] * 3)
    met = np.arange(count) < count // 2
    split = dataclasses.replace(shop(), train=everybody, candidates=met, is_cold=~met)
    tables = fit_closed_form(split, alike, MODEL, count, NO_STAGES).tables
    assert tables.of(1.0, 1.0, torch.arange(count)).votes.shape[1] <= 2 * NEIGHBOURS


def test_pictures_that_differ_by_rounding_alone_are_not_told_apart():
    rounding = 1e-4 * torch.randn(ITEMS, 64, generator=torch.Generator().manual_seed(0))
    gists = 3.0 + rounding
    bare = content()
    looks = Content.of(bare.words, bare.meanings, bare.sentences, gists, ("",) * ITEMS).looks
    assert looks.norm(dim=1).max() < 0.05
