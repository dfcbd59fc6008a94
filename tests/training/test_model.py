"""The model: every combination of modalities is answered, and each part does what it is for."""

import copy
import math

import numpy as np
import pytest
import torch

from visrec_training.attention import GIST, Attention
from visrec_training.balance import NEIGHBOURS
from visrec_training.checkpoint import Checkpoint
from visrec_training.config import ConfigError, ModelConfig, TrainConfig
from visrec_training.item_tower import Items


@pytest.fixture(scope="module")
def checkpoint(run):
    return Checkpoint.load(run / "best.pt")


@pytest.fixture(scope="module")
def model(checkpoint):
    return checkpoint.model()


@pytest.fixture(scope="module")
def scorer(checkpoint, model):
    return checkpoint.fusion_scorer(model)


def ask(scorer, config, *, picture=False, history=(), words=()):
    generator = torch.Generator().manual_seed(0)
    aspects = torch.randn(1, config.aspects, config.aspect_dim, generator=generator) * picture
    maps = torch.full((1, config.aspects, 49), 1 / 49) * picture
    rows = torch.tensor([[*history, *[-1] * (config.history - len(history))]])
    tokens = torch.tensor([[*words, *[0] * (config.words - len(words))]])
    with torch.inference_mode():
        return scorer(aspects, maps, rows, tokens, tokens, torch.zeros(1, scorer.space.width))


@pytest.mark.parametrize("picture", [False, True])
@pytest.mark.parametrize("history", [(), (3, 5)])
@pytest.mark.parametrize("words", [(), (1, 2)])
def test_any_modality_may_be_missing(scorer, checkpoint, picture, history, words):
    config = checkpoint.model_config
    rows, scores, attention = ask(scorer, config, picture=picture, history=history, words=words)
    assert rows.shape == scores.shape == (1, config.top_k)
    assert len(set(rows[0].tolist())) == config.top_k
    assert (scores.diff() <= 0).all()
    assert 0 < scores.sum() <= 1 + 1e-5
    assert attention.sum().item() == pytest.approx(1 if picture else 0, abs=1e-5)


def test_each_modality_changes_the_answer(scorer, checkpoint):
    config = checkpoint.model_config
    nothing = ask(scorer, config)[0].tolist()
    for sent in ({"picture": True}, {"history": (3, 5)}, {"words": (1, 2)}):
        assert ask(scorer, config, **sent)[0].tolist() != nothing


@pytest.mark.parametrize("history", [(), (3, 5)])
def test_logits_are_the_weighed_sum_of_their_parts(scorer, checkpoint, history):
    config = checkpoint.model_config
    rows = torch.tensor([[*history, *[-1] * (config.history - len(history))]])
    nothing = torch.zeros(1, 1, dtype=torch.int64), torch.zeros(1, 1, dtype=torch.int64)
    picture = torch.rand(1, config.aspects, config.aspect_dim), torch.full((1, config.aspects, 49), 1 / 49)
    with torch.inference_mode():
        said, _ = scorer.read(*picture, rows, *nothing)
        whole = scorer.compare(said, rows, *nothing, torch.zeros(1, scorer.space.width))
        is_new = torch.arange(scorer.items) % 2 == 0
        parts = scorer.apart(said, rows, is_new)
        torch.testing.assert_close(
            parts.weighed(scorer.tower.balance(said.told)), whole, atol=1e-4, rtol=1e-4
        )


def test_how_much_the_table_counts_changes_nothing_for_new_items(scorer, checkpoint):
    config, balance = checkpoint.model_config, copy.deepcopy(scorer.tower.balance)
    rows = torch.tensor([[3, 5, *[-1] * (config.history - 2)]])
    nothing = torch.zeros(1, config.aspects, config.aspect_dim), torch.zeros(1, config.aspects, 49)
    is_new = torch.arange(scorer.items) % 2 == 0
    with torch.inference_mode():
        said, _ = scorer.read(*nothing, rows, *(torch.zeros(1, 1, dtype=torch.int64) for _ in range(2)))
        parts = scorer.apart(said, rows, is_new)
        before = parts.weighed(balance(said.told))
        balance.bias[NEIGHBOURS] += 2
        changed = parts.weighed(balance(said.told)) != before
    assert changed[:, ~is_new].any()
    assert not changed[:, is_new].any()


def test_what_a_person_did_decides_where_to_look(checkpoint, model):
    """User-conditioned attention: one picture, two histories, two maps."""
    config, tower = checkpoint.model_config, model.query_tower
    generator = torch.Generator().manual_seed(0)
    aspects = torch.randn(1, config.aspects, config.aspect_dim, generator=generator).expand(2, -1, -1)
    maps = torch.rand(1, config.aspects, 49, generator=generator).softmax(-1).expand(2, -1, -1)
    items = checkpoint.items
    history = tower.history.look_up(items.vectors, items.sources, torch.tensor([[1], [100]]))
    with torch.inference_mode():
        _, attention, _ = tower(aspects, maps, history, torch.zeros(2, 1, dtype=torch.int64))
    assert not torch.allclose(attention[0], attention[1])


def test_histories_read_alike_whether_they_have_more_places_than_there_are_items_or_fewer(checkpoint, model):
    items, encoder = checkpoint.items, model.query_tower.history
    count = len(items.vectors)
    rows = (torch.arange(2 * count) % (count + 1) - 1).view(count, 2)
    with torch.inference_mode():
        at_once = encoder.look_up(items.vectors, items.sources, rows)
        apart = [encoder.look_up(items.vectors, items.sources, row) for row in rows.split(1)]
    for one, other in zip(at_once, map(torch.cat, zip(*apart, strict=True)), strict=True):
        assert torch.allclose(one.float(), other.float(), atol=1e-6)


def test_padding_and_unknown_items_count_for_nothing(scorer, checkpoint):
    config = checkpoint.model_config
    plain = ask(scorer, config, history=(3, 5))
    gaps = ask(scorer, config, history=(3, -1, 5, -1))
    assert torch.allclose(plain[1], gaps[1], atol=1e-6)


def test_an_item_without_id_part_is_placed_by_its_content(checkpoint, model):
    tower = model.item_tower
    config = checkpoint.model_config
    aspects = torch.randn(2, config.aspects, config.aspect_dim)
    tokens = torch.zeros(2, 4, dtype=torch.int64)
    few = torch.nn.Embedding.from_pretrained(torch.ones(2, config.dim))
    taught, tower.id = tower.id, few
    try:
        with torch.inference_mode():
            cold = tower.content(aspects, tokens, torch.tensor([False, False]))
            warm = tower.content(aspects, tokens, torch.tensor([True, True]))
    finally:
        tower.id = taught
    assert not torch.allclose(cold, warm)
    assert torch.allclose(cold.norm(dim=-1), torch.ones(2))


def test_a_new_item_lies_where_one_that_nobody_met_does(checkpoint, model):
    tower, count = model.item_tower, len(checkpoint.item_ids)
    generator = torch.Generator().manual_seed(0)
    aspects = torch.randn(
        count, checkpoint.model_config.aspects, checkpoint.model_config.aspect_dim, generator=generator
    )
    tokens = torch.randint(len(checkpoint.vocabulary.rarity), (count, 4), generator=generator)
    with torch.inference_mode():
        unmet = tower(aspects, tokens, torch.zeros(count, dtype=torch.bool))
        met = tower(aspects, tokens, torch.ones(count, dtype=torch.bool))
        new = tower.new_items(aspects[:3], tokens[:3])
    for part in ("vectors", "sources"):
        one, other, known = (getattr(items, part)[:3] for items in (new, unmet, met))
        assert torch.allclose(one, other, atol=1e-6)
        assert not torch.allclose(one, known, atol=1e-3)


def test_a_catalogue_smaller_than_k_is_filled_up_with_zeros(checkpoint, model):
    from visrec_training.fusion_scorer import FusionScorer

    five = Items(*(each[:5] for each in checkpoint.items))
    five = five._replace(neighbours=five.neighbours.clamp_max(4))
    few = FusionScorer(model.query_tower, model.text_space, five, 100)
    rows, scores, _ = ask(few.eval(), checkpoint.model_config)
    assert (rows[0, 5:] >= 5).all()  # no item of the catalogue
    assert sorted(rows[0, :5].tolist()) == [0, 1, 2, 3, 4]
    assert scores[0, 5:].abs().max() == 0
    assert scores.sum().item() == pytest.approx(1)


@pytest.fixture
def fitted():
    """An attention fitted to pictures, and those pictures' regions, float [100, 49, 6]."""
    attention = Attention(ModelConfig(region_dim=4, aspect_dim=3), 6)
    generator = torch.Generator().manual_seed(0)
    pictures = torch.randn(100, 1, 6, generator=generator)
    regions = (pictures + torch.randn(100, 49, 6, generator=generator)) @ torch.randn(
        6, 6, generator=generator
    )
    attention.fit(regions + 3)
    return attention, regions + 3


def test_the_reduction_whitens_regions(fitted):
    attention, regions = fitted
    covariance = np.cov(attention.reduce(regions.flatten(0, 1)).detach().numpy().T)
    assert np.allclose(covariance, np.eye(4), atol=0.05)


def test_the_gist_takes_in_the_whole_picture_alike(fitted):
    attention, regions = fitted
    shuffled = regions[:, torch.randperm(49, generator=torch.Generator().manual_seed(0))]
    with torch.inference_mode():
        (aspects, maps), (again, _) = attention(regions), attention(shuffled)
    assert torch.allclose(maps[:, GIST], torch.full((100, 49), 1 / 49))
    assert torch.allclose(aspects[:, GIST], again[:, GIST], atol=1e-4)
    assert torch.allclose(aspects[:, GIST].norm(dim=1), torch.full((100,), 3**0.5))
    assert not torch.allclose(maps[:, GIST + 1], maps[:, GIST])


def test_training_leaves_the_gist_as_it_was_fitted(fitted):
    attention, _ = fitted
    assert not any(parameter.requires_grad for parameter in attention.gist.parameters())


SMALL = ModelConfig(region_dim=32, aspect_dim=16)


def fit(regions):
    attention = Attention(SMALL, regions.shape[-1])
    attention.fit(regions)
    return attention


@pytest.mark.parametrize("pictures", [1, 2, 3])
def test_fewer_pictures_than_directions_leave_the_others_out(pictures):
    """What the sample doesn't show is not made up from rounding: the least noise would turn the answer."""
    generator = torch.Generator().manual_seed(0)
    regions = torch.randn(pictures, 49, 64, generator=generator) * torch.arange(64)  # one feature is dead
    attention = fit(regions)
    assert attention.gist.weight.abs().amax(1).gt(0).sum() == pictures - 1
    with torch.inference_mode():
        aspects, maps = attention(regions)
        again, _ = attention(regions + 1e-5 * torch.randn(regions.shape, generator=generator))
    assert torch.isfinite(aspects).all() and torch.isfinite(maps).all()
    assert torch.allclose(aspects, again, atol=1e-3)


@pytest.mark.parametrize("noise", [0, 1e-7, 1e-4])
def test_pictures_that_differ_by_no_more_than_rounding_are_one_picture(noise):
    generator = torch.Generator().manual_seed(0)
    one = 1 + torch.rand(1, 49, 64, generator=generator)
    regions = one + noise * torch.randn(20, 49, 64, generator=generator)
    attention = fit(regions)
    with torch.inference_mode():
        aspects, _ = attention(regions)
    assert aspects[:, GIST].abs().max() == 0, "none of them is different from the average"
    assert torch.allclose(aspects, aspects[:1].expand_as(aspects), atol=0.02)


def test_regions_all_alike_have_nothing_to_attend_to():
    attention = fit(torch.ones(3, 49, 64))
    with torch.inference_mode():
        aspects, maps = attention(torch.ones(3, 49, 64))
    assert torch.isfinite(aspects).all()
    assert torch.allclose(maps, torch.full_like(maps, 1 / 49))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: ModelConfig(history_heads=7), "model.history_heads is 7; allowed: a divisor of dim"),
        (lambda: ModelConfig(levels=()), "model.levels"),
        (lambda: ModelConfig(aspects=1), "model.aspects is 1; allowed: a whole number from 2 to 4096"),
        (lambda: TrainConfig(epochs=-1), "train.epochs is -1; allowed: a whole number of at least 0"),
        (lambda: TrainConfig(seed=2**32), "train.seed is 4294967296; allowed: a whole number from 0 to"),
        (lambda: TrainConfig(content_ridge=math.inf), "train.content_ridge is inf; allowed: a finite"),
        (lambda: TrainConfig(warmup=math.nan), "train.warmup is nan; allowed: at least 0 and below 1"),
        (lambda: TrainConfig(cold_share=0.9), "train.cold_share is 0.9; allowed: from 0 to 0.5"),
    ],
)
def test_a_configuration_checks_itself(make, said):
    with pytest.raises(ConfigError) as error:
        make()
    assert said in str(error.value)
