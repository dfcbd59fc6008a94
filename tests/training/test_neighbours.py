"""The item-to-item table: who is bought with whom, for items that people met and for those nobody met."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from visrec_export.stock import Stock
from visrec_training.fusion_scorer import add_votes
from visrec_training.item_tower import Items
from visrec_training.neighbours import NEIGHBOURS, Content, ease, fit_neighbours, strongest
from visrec_training.split import NOTHING, Queries, Section

ITEMS, GROUP = 24, 4
NOBODY = Section(Queries(NOTHING, [], NOTHING, [], []), np.ones(ITEMS, dtype=bool))


def content(items=ITEMS):
    """Items in groups of four; the words of an item are its group's."""
    groups = torch.arange(items) // GROUP
    words = torch.nn.functional.one_hot(groups).double().to_sparse_coo()
    return Content(words.coalesce(), torch.zeros(items, 3), torch.zeros(items, 2))


def people(met):
    """Each person chose two items of one group."""
    rows = torch.zeros(200, ITEMS, dtype=torch.float64)
    rng = np.random.default_rng(0)
    for person in range(200):
        group = GROUP * rng.integers(ITEMS // GROUP)
        rows[person, group + torch.from_numpy(rng.choice(GROUP, 2, replace=False))] = 1
    return rows[:, met]


def dense(table, items=ITEMS):
    """The table as a matrix: row i is what i says."""
    matrix = torch.zeros(items, items)
    return matrix.scatter_add(1, table.neighbours.long(), table.votes)


def test_an_item_speaks_for_those_it_is_chosen_with():
    met = torch.arange(ITEMS)
    table, spread = fit_neighbours(people(met), met, content(), NOBODY)
    votes = dense(table)
    for row in range(ITEMS):
        group = set(range(row // GROUP * GROUP, row // GROUP * GROUP + GROUP)) - {row}
        assert set(votes[row].topk(GROUP - 1).indices.tolist()) == group
    assert votes.diagonal().abs().max() == 0, "an item says nothing for itself"
    assert spread == 1, "how much the table counts is said elsewhere"


def test_an_item_that_nobody_met_has_the_neighbours_of_what_it_is_like():
    new = 5
    met = torch.tensor([row for row in range(ITEMS) if row != new])
    votes = dense(fit_neighbours(people(met), met, content(), NOBODY)[0])
    alike = [4, 6, 7]
    others = [row for row in met.tolist() if row not in alike]
    assert votes[alike, new].min() > votes[others, new].max(), "they speak for it"
    assert votes[new, alike].min() > votes[new, others].max(), "and it speaks for them"


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
    kept = strongest(votes)
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
    met = torch.arange(ITEMS)
    table, _ = fit_neighbours(people(met), met, content(), NOBODY)
    nothing = torch.zeros(ITEMS, 0)
    names = [f"item-{row}" for row in range(ITEMS)]
    stock = Stock(tuple(names), Items(nothing, nothing, nothing, *table))
    left = stock.without(["item-2", "item-9"]).items
    rows = [row for row in range(ITEMS) if row not in (2, 9)]
    assert torch.equal(dense(left, ITEMS - 2), dense(table)[rows][:, rows])


def test_added_items_wait_for_the_next_training():
    met = torch.arange(ITEMS)
    table, _ = fit_neighbours(people(met), met, content(), NOBODY)
    nothing = torch.zeros(ITEMS, 0)
    stock = Stock(tuple(map(str, range(ITEMS))), Items(nothing, nothing, nothing, *table))
    one = torch.zeros(1, 0)
    items = stock.extended(["new"], Items(one, one, one, one.int(), one)).items
    assert torch.equal(items.votes[:-1], table.votes)
    assert items.votes[-1].abs().max() == 0


def test_new_items_are_fitted_in_blocks_as_they_are_at_once(monkeypatch):
    met = torch.arange(0, ITEMS, 2)
    at_once, _ = fit_neighbours(people(met), met, content(), NOBODY)
    monkeypatch.setattr("visrec_training.neighbours.BLOCK", 5)
    in_blocks, _ = fit_neighbours(people(met), met, content(), NOBODY)
    torch.testing.assert_close(dense(in_blocks), dense(at_once))


def test_items_all_alike_make_no_table_wider_than_others():
    count = 4 * NEIGHBOURS
    alike = Content(
        torch.ones(count, 1).double().to_sparse_coo().coalesce(), torch.zeros(count, 3), torch.zeros(count, 2)
    )
    met = torch.arange(count // 2)
    everybody = torch.ones(3, len(met), dtype=torch.float64)
    nobody = Section(NOBODY.queries, np.ones(count, dtype=bool))
    table, _ = fit_neighbours(everybody, met, alike, nobody)
    assert table.votes.shape[1] <= 2 * NEIGHBOURS


def test_pictures_that_differ_by_rounding_alone_are_not_told_apart():
    rounding = 1e-4 * torch.randn(ITEMS, 64, generator=torch.Generator().manual_seed(0))
    gists = 3.0 + rounding
    looks = Content.of(content().words, torch.zeros(ITEMS, 3), gists).looks
    assert looks.norm(dim=1).max() < 0.05
