"""Where an order is known, items are predicted from those that came before them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from visrec_training import transitions as module
from visrec_training.content import Content
from visrec_training.item_weights import fit_weights
from visrec_training.local_weights import fit_local_transitions
from visrec_training.people import People
from visrec_training.queries import Queries, Section
from visrec_training.rows import NOTHING, Ragged
from visrec_training.stages import NO_STAGES
from visrec_training.transitions import CUTS, FADE, WINDOW, Transitions

ITEMS = 10
SEQUENCES = st.lists(st.lists(st.integers(0, ITEMS - 1), max_size=8), min_size=1, max_size=6)


def rows(sequences):
    return Ragged.of(sequences)


def transitions_of(sequences, met=range(ITEMS), items=ITEMS):
    return Transitions.of(rows(sequences), torch.tensor(list(met)), items)


def walks(people=80):
    """People who go through the items in order, as many from each: each item is followed by the next."""
    return [(start + np.arange(5)) % ITEMS for start in range(people)]


@settings(deadline=None)
@given(SEQUENCES, st.sets(st.integers(0, ITEMS - 1), min_size=1))
def test_a_short_sequence_is_cut_after_each_of_its_items(sequences, met):
    cuts = transitions_of(sequences, sorted(met))
    kept = [[sorted(met).index(item) for item in sequence if item in met] for sequence in sequences]
    before, after = [], []
    for sequence in kept:
        for cut in range(1, len(sequence)):
            before.append(np.zeros(len(met)))
            after.append(np.zeros(len(met)))
            for place, item in enumerate(sequence):
                (before if place < cut else after)[-1][item] += (cut - place) ** -FADE if place < cut else 1
    assert cuts.before.shape == cuts.after.shape == (len(before), len(met))
    if before:
        np.testing.assert_allclose(cuts.before.toarray(), before, rtol=1e-6)
        np.testing.assert_array_equal(cuts.after.toarray(), after)


@settings(deadline=None, max_examples=20)
@given(st.integers(2, 500))
def test_a_long_sequence_is_cut_here_and_there_and_seen_through_a_window(length):
    cuts = transitions_of([range(length)], range(length), length)
    assert cuts.before.shape[0] == min(CUTS, length - 1) == cuts.cuts
    for row in range(cuts.before.shape[0]):
        seen, follow = (np.flatnonzero(each[[row]].toarray()) for each in (cuts.before, cuts.after))
        cut = follow[0]
        assert list(seen) == list(range(max(0, cut - WINDOW), cut))
        assert list(follow) == list(range(cut, min(cut + WINDOW, length)))


def test_where_people_are_many_each_sequence_is_cut_less_often(monkeypatch):
    monkeypatch.setattr(module, "MOST_CUTS", 6)
    assert transitions_of([range(8), range(8), [3]]).before.shape[0] == 6
    assert transitions_of([range(8)] * 10).before.shape[0] == 10


def test_an_item_speaks_for_what_follows_it_and_not_for_what_came_before():
    votes = transitions_of(walks()).weights(1.0)
    assert not votes.diagonal().any()
    for item in range(ITEMS):
        later, earlier = (item + torch.tensor([1, 2])) % ITEMS, (item - torch.tensor([1, 2])) % ITEMS
        assert votes[item, later].min() > votes[item, earlier].max() + 0.1


def test_some_items_alone_say_for_each_other_what_they_would_without_the_others():
    chosen = torch.tensor([1, 4, 5])
    whole, some = transitions_of(walks()), transitions_of(walks()).among(chosen)
    for one, other in ((whole.before, some.before), (whole.after, some.after)):
        assert (one[:, [1, 4, 5]] != other).nnz == 0
    assert some.weights(1.0).shape == (3, 3)


@pytest.mark.parametrize("ridge", [1.0, 30.0])
def test_an_item_that_is_predicted_from_all_others_is_predicted_as_by_all_at_once(ridge):
    rng = np.random.default_rng(0)
    cuts = transitions_of([rng.permutation(ITEMS) for _ in range(40)])
    local = fit_local_transitions(cuts, ridge).toarray()
    gram = (cuts.before.T @ cuts.before).toarray() + ridge * cuts.cuts * np.eye(ITEMS)
    follow = (cuts.before.T @ cuts.after).toarray()
    for item in range(ITEMS):
        others = np.delete(np.arange(ITEMS), item)
        wanted = np.linalg.solve(gram[np.ix_(others, others)], follow[others, item])
        np.testing.assert_allclose(local[others, item], wanted, atol=1e-4)
        assert local[item, item] == 0


def test_without_a_pair_in_order_nothing_is_said():
    for sequences in ([[3], [], [4]], [[]]):
        cuts = transitions_of(sequences)
        assert not cuts.weights(1.0).any()
        assert fit_local_transitions(cuts, 1.0).nnz == 0


@pytest.mark.parametrize("most_dense", [ITEMS, ITEMS - 1], ids=["all at once", "each from a few others"])
def test_order_counts_where_validation_says_so(most_dense):
    """Items before and after one are chosen with it alike; what is asked for is always the one after."""
    people, met = walks(), torch.arange(ITEMS)
    nothing = torch.zeros(ITEMS, 1)
    content = Content(sparse.csr_array(nothing.numpy()), nothing, nothing, nothing, nothing)
    counted = People.of(rows(people), met, ITEMS)

    def votes(validation, cuts):
        weights = fit_weights(counted, cuts, met, content, validation, most_dense, NO_STAGES)
        return weights.matrix.to_dense()

    def asks_for(step):
        items = np.arange(ITEMS)
        histories, targets = Ragged.single(items), Ragged.single((items + step) % ITEMS)
        queries = Queries(items, histories, np.full(ITEMS, -1), targets, histories)
        return Section(queries, np.ones(ITEMS, dtype=bool))

    told, untold = votes(asks_for(1), transitions_of(people)), votes(asks_for(1), None)
    forward = [told[item, (item + 1) % ITEMS] - told[item, item - 1] for item in range(ITEMS)]
    either = [untold[item, (item + 1) % ITEMS] - untold[item, item - 1] for item in range(ITEMS)]
    assert min(forward) > 0
    assert min(forward) > max(either)
    # what would make answers worse is left out
    backwards = votes(asks_for(-1), transitions_of(people))
    torch.testing.assert_close(backwards, votes(asks_for(-1), None))


def test_a_person_without_items_is_nobody():
    assert transitions_of([NOTHING]).before.shape == (0, ITEMS)
    assert transitions_of([[1, 2], NOTHING]).before.shape == (1, ITEMS)
