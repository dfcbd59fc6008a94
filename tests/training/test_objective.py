"""What training minimises: the softmax over all items, or over some that stand for all."""

import copy
import dataclasses

import pytest
import torch

from visrec_training.baselines import popularity_of
from visrec_training.objective import Objective
from visrec_training.optimizer import Optimizer
from visrec_training.train import Trainer

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def trainer(prepared, tmp_path_factory):
    from visrec_training.config import ModelConfig, TrainConfig
    from visrec_training.encoder import PRETRAINED, Encoder

    model, config = ModelConfig(dropout=0.0), TrainConfig(id_dropout=0.0, batch=64)
    encoder = Encoder(model.backbone, model.levels, weights=PRETRAINED)
    made = Trainer(prepared, encoder, model, config, tmp_path_factory.mktemp("run"), CPU)
    made.live.look(new_gists=True)
    return made


def losses(trainer, dense_items, drawn, times=1):
    """Losses of one batch."""
    split = trainer.prepared.split
    chosen = torch.from_numpy(popularity_of(split)).float()
    chosen[~torch.from_numpy(split.candidates)] = -1
    config = dataclasses.replace(trainer.config, dense_items=dense_items)
    objective = Objective(trainer.model, trainer.live, config, chosen, masks_told=True, drawn=drawn)
    assert objective.is_sampled == (dense_items == 1)
    batch = next(trainer.examples.batches(config, 0, config.batch))
    torch.manual_seed(0)
    with torch.no_grad():
        return torch.stack([objective.loss(batch) for _ in range(times)])


def test_where_every_item_is_drawn_the_sampled_softmax_is_the_whole_one(trainer):
    whole, sampled = losses(trainer, 10_000, 1), losses(trainer, 1, 20_000)
    assert sampled.item() == pytest.approx(whole.item(), rel=1e-3)


def test_some_items_stand_for_all(trainer):
    """Without the correction for popular items, which are in most batches, it would be far off."""
    whole, sampled = losses(trainer, 10_000, 1), losses(trainer, 1, 32, times=50)
    assert sampled.mean().item() == pytest.approx(whole.item(), abs=0.15)


def test_an_epoch_is_no_longer_than_asked_for(trainer):
    sizes = [len(batch.targets) for batch in trainer.examples.batches(trainer.config, 0, 100)]
    assert sizes == [64, 36]


def learner(trainer, model):
    """Takes a step of a sampled softmax, as often as it is called; and its optimizer."""
    config = dataclasses.replace(trainer.config, dense_items=1, batch=8)
    chosen = torch.from_numpy(popularity_of(trainer.prepared.split)).float()
    objective = Objective(model, trainer.live, config, chosen, masks_told=True, drawn=4)
    optimizer = Optimizer(model, [], config, 10, sparse_ids=True)
    batch = next(trainer.examples.batches(config, 0, 8))

    def step(seed):
        torch.manual_seed(seed)
        objective.loss(batch).backward()
        optimizer.step()

    return step, optimizer


@pytest.fixture
def model(trainer, monkeypatch):
    """A copy that may learn."""
    copied = copy.deepcopy(trainer.model).train()
    monkeypatch.setattr(trainer.live, "_model", copied)
    return copied


def test_a_sampled_step_moves_ids_of_the_items_it_compares_and_no_others(trainer, model):
    step, _ = learner(trainer, model)
    before = model.item_tower.id.weight.clone()
    step(0)
    moved = (model.item_tower.id.weight != before).any(dim=1)
    compared = 8 * next(trainer.examples.batches(trainer.config, 0, 8)).targets.shape[1] + 4
    assert 8 <= moved.sum() <= compared < len(before)
    assert model.item_tower.id.weight.grad is None


def test_an_optimizer_goes_on_where_it_stood(trainer, model, monkeypatch):
    step, optimizer = learner(trainer, model)
    step(0)
    stopped, state = copy.deepcopy(model), copy.deepcopy(optimizer.state_dict())
    step(1)
    monkeypatch.setattr(trainer.live, "_model", stopped)
    go_on, other = learner(trainer, stopped)
    other.load_state_dict(state)
    go_on(1)
    for name, value in model.state_dict().items():
        assert torch.equal(value, stopped.state_dict()[name]), name
