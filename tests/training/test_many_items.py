"""Where items are too many for a matrix of all by all: the same weights, from people and rare words."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from visrec_training import item_weights, local_weights
from visrec_training.content import Content
from visrec_training.item_weights import DenseWeights, SparseWeights, ease, fit_weights
from visrec_training.local_weights import fit_local_weights
from visrec_training.neighbours import NEIGHBOURS, strongest_entries
from visrec_training.people import People
from visrec_training.queries import Queries, Section
from visrec_training.rows import Ragged
from visrec_training.stages import NO_STAGES

ITEMS = 12
CPU = torch.device("cpu")
NO_WORDS = sparse.csr_array((ITEMS, 1), dtype=np.float32)
SEQUENCES = st.lists(st.lists(st.integers(0, ITEMS - 1), max_size=6), min_size=1, max_size=8)


def people_of(sequences, met=range(ITEMS), items=ITEMS):
    return People.of(Ragged.of(sequences), torch.tensor(list(met)), items)


def crowd(seed=0, people=60):
    rng = np.random.default_rng(seed)
    return [rng.choice(ITEMS, rng.integers(1, 6), replace=False) for _ in range(people)]


@settings(deadline=None)
@given(SEQUENCES)
def test_people_are_who_chose_what_however_often(sequences):
    dense = torch.zeros(len(sequences), ITEMS, dtype=torch.float64)
    for row, sequence in enumerate(sequences):
        dense[row, sequence] = 1
    people = people_of(sequences)
    assert torch.equal(people.together(), dense.T @ dense)
    assert torch.equal(people.counts, dense.sum(0))
    shares = dense / dense.sum(1, keepdim=True).clamp_min(1)
    torch.testing.assert_close(people.together(share=1.0), shares.T @ dense)


@settings(deadline=None)
@given(SEQUENCES, st.sets(st.integers(0, ITEMS - 1), min_size=1))
def test_people_can_be_asked_about_some_items_alone(sequences, some):
    chosen = torch.tensor(sorted(some))
    people = people_of(sequences)
    assert torch.equal(people.among(chosen).together(), people.together()[chosen][:, chosen])
    assert torch.equal(people_of(sequences, sorted(some)).together(), people.among(chosen).together())


@settings(deadline=None)
@given(SEQUENCES, st.sampled_from([0.0, 0.5, 1.0]))
def test_people_who_chose_much_may_count_less(sequences, share):
    people = people_of(sequences)
    counted = people.weighed(share).together()
    alike = people.together(share)  # of these a multiple, so that all choices together count as they did
    assert counted.trace() == pytest.approx(people.sizes.sum())
    torch.testing.assert_close(counted * alike.trace(), alike * counted.trace())
    if not share:
        assert torch.equal(counted, people.together())


def test_who_counts_less_is_chosen_on_validation():
    """A few people chose pairs that belong together; the others a lot at random."""
    pairs = [[item, item + 1] for item in range(0, ITEMS, 2)]
    crowded = np.random.default_rng(0)
    busy = [crowded.choice(ITEMS, ITEMS - 2, replace=False) for _ in range(40)]
    people = people_of([*pairs, *busy])
    items = np.arange(ITEMS)
    asked = Queries(
        items,
        Ragged.single(items),
        np.full(ITEMS, -1),
        Ragged.single(items ^ 1),
        Ragged.single(items),
    )
    nothing = torch.zeros(ITEMS, 1)
    content = Content(sparse.csr_array(nothing.numpy()), nothing, nothing, nothing, nothing)
    validation = Section(asked, np.ones(ITEMS, dtype=bool))
    weights = fit_weights(people, None, torch.arange(ITEMS), content, validation, ITEMS, NO_STAGES)
    votes = weights.matrix.fill_diagonal_(-torch.inf)
    even = ease(people.together(), 1.0).fill_diagonal_(-torch.inf)
    assert votes.argmax(1).tolist() == (items ^ 1).tolist() != even.argmax(1).tolist()


def test_what_sums_up_to_taste_is_its_root():
    people = people_of(crowd())
    shares = people.shares(0.4).to_dense()
    gram = people.together(share=1.0)
    audience = gram.diagonal() ** 0.4
    torch.testing.assert_close(shares.T @ shares, gram / audience / audience.unsqueeze(1))


@settings(deadline=None, max_examples=20)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([1.0, 30.0]),
    st.sampled_from([0.0, 0.3]),
    st.sampled_from([0.0, 0.5]),
)
def test_an_item_that_is_predicted_from_all_others_is_predicted_as_by_ease(seed, ridge, density, dropout):
    people = people_of(crowd(seed))
    words = sparse.random_array((ITEMS, 4), density=density, rng=seed, dtype=np.float32).tocsr()
    weights = fit_local_weights(people, words, ridge, dropout).toarray()
    gram = people.together() + torch.from_numpy((words @ words.T).toarray()).double()
    whole = ease(gram, ridge, dropout).float().numpy()
    together = gram.numpy() > 0
    if together.all():  # who shares neither people nor words with an item is none of its candidates
        np.testing.assert_allclose(weights, whole, atol=1e-4)
    assert not weights[~together].any()
    assert not weights.diagonal().any()


def test_an_item_is_predicted_from_those_that_it_is_most_often_chosen_with(monkeypatch):
    monkeypatch.setattr(local_weights, "CANDIDATES", (3, 3))
    groups = [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    people = people_of([*groups * 5, *crowd(people=10)])
    weights = fit_local_weights(people, NO_WORDS, 1.0).toarray()
    for group in groups:
        for item in group:
            assert set(np.flatnonzero(weights[:, item])) == set(group) - {item}


def test_blocks_change_nothing(monkeypatch):
    people = people_of(crowd())
    at_once = fit_local_weights(people, NO_WORDS, 1.0).toarray()
    monkeypatch.setattr(local_weights, "BLOCK", 5)
    np.testing.assert_allclose(fit_local_weights(people, NO_WORDS, 1.0).toarray(), at_once, atol=1e-6)


def test_where_items_are_very_many_the_counts_of_fewer_others_are_kept_of_each(monkeypatch):
    people = people_of([[0, 1, 2]] * 9 + [[0, 3], [4, 5]])
    monkeypatch.setattr(local_weights, "CANDIDATES", (1, 1))
    monkeypatch.setattr(local_weights, "KEPT_NUMBERS", ITEMS)
    weights = fit_local_weights(people, NO_WORDS, 1.0).toarray()
    assert np.flatnonzero(weights[:, 3]).tolist() == [0]
    assert set(np.flatnonzero(weights[:, 0])) < {1, 2}, "of those that it shares most people with"


def test_blocks_leave_the_same_rest(monkeypatch):
    local = SparseWeights(fit_local_weights(people_of(crowd()), NO_WORDS, 5.0), CPU)
    sources, targets = torch.randn(2, ITEMS, 3, generator=torch.Generator().manual_seed(0))
    kept = torch.arange(1, ITEMS)
    at_once = laid_out(local.rest(sources, targets, 2.0, kept))
    monkeypatch.setattr(item_weights, "BLOCK", 5)
    torch.testing.assert_close(laid_out(local.rest(sources, targets, 2.0, kept)), at_once)


def test_sparse_weights_leave_the_same_rest_as_dense_ones():
    people = people_of([list(range(ITEMS)), *crowd()])  # everything was chosen with everything
    local = SparseWeights(fit_local_weights(people, NO_WORDS, 5.0), CPU)
    dense = DenseWeights(torch.from_numpy(local.votes.toarray()).double())
    generator = torch.Generator().manual_seed(0)
    sources, targets = torch.randn(2, ITEMS, 3, generator=generator)
    kept = torch.tensor([0, 2, 3, 5, 9, 11])
    torch.testing.assert_close(local.among(kept), dense.among(kept))
    torch.testing.assert_close(local.matrix.to_dense().double(), dense.votes)
    found = [laid_out(each.rest(sources, targets, 2.0, kept)) for each in (local, dense)]
    found[1].fill_diagonal_(0)  # sparse weights say nothing of an item by itself, not even beyond its place
    torch.testing.assert_close(*found)


def laid_out(entries):
    speakers, spoken, votes = entries
    return torch.zeros(ITEMS, ITEMS).index_put((speakers, spoken), votes, accumulate=True)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4 * NEIGHBOURS))
def test_of_any_entries_the_strongest_of_each_speaker_stay(seed, count):
    generator = torch.Generator().manual_seed(seed)
    speakers = torch.randint(3, (count,), generator=generator)
    votes = torch.randn(count, generator=generator)
    kept, _, strong = strongest_entries(speakers, torch.arange(count), votes)
    for speaker in range(3):
        own = votes[speakers == speaker].abs().sort(descending=True).values[:NEIGHBOURS]
        assert torch.equal(strong[kept == speaker].abs().sort(descending=True).values, own)


def test_an_item_nobody_chose_with_another_says_nothing():
    weights = fit_local_weights(people_of([[item] for item in range(ITEMS)]), NO_WORDS, 1.0)
    assert weights.nnz == 0


@pytest.mark.parametrize(("share", "entries"), [(4.0, 2), (0.0, 0)])
def test_common_words_and_words_of_no_weight_leave_no_entries(monkeypatch, share, entries):
    monkeypatch.setattr(item_weights, "COMMONEST", 2)
    words = sparse.csr_array(np.asarray([[1, 1, 0], [1, 1, 0], [1, 0, 0], [1, 0, 0]], np.float32))
    nothing = torch.zeros(4, 1)
    content = Content(words, nothing, nothing, nothing, nothing)
    rare = item_weights._rare_words(content, torch.arange(4), share)
    assert rare.nnz == entries
    assert rare.sum() == 2 * entries


@pytest.mark.parametrize("most", [1, 5])
def test_the_most_met_items_are_the_landmarks(most):
    people = people_of([[3], [3, 7], [3, 7, 1], [9, 3, 7, 1, 0]])
    chosen = people.most_met(most).tolist()
    assert chosen == sorted([3, 7, 1, 0, 9][:most])
