"""What can't work is found before training begins."""

from pathlib import Path

import numpy as np
import pytest

from visrec_client.errors import VisrecError
from visrec_training import preflight
from visrec_training.config import ModelConfig, TrainConfig
from visrec_training.data import Catalogue, Dataset
from visrec_training.errors import DataError
from visrec_training.files import check_space
from visrec_training.interactions import Interactions


def shop(items, people):
    names = tuple(map(str, range(items)))
    done = Interactions(np.arange(people), np.arange(people) % items, np.ones(people, dtype=bool))
    return Dataset(Catalogue(names, (Path(),) * items, names, names, names, names), done)


def test_a_shop_that_fits_is_let_through():
    preflight.check_memory(shop(100, 50), 400, ModelConfig(), TrainConfig())


def test_a_shop_that_can_not_fit_is_refused_with_what_takes_the_most(monkeypatch):
    monkeypatch.setattr(preflight, "available_memory", lambda: 10**9)
    with pytest.raises(
        DataError, match=r"at least 1\.\d GB of memory \(0\.9 GB for items by items\).*1\.0 GB"
    ):
        preflight.check_memory(shop(6_000, 20_000), 400, ModelConfig(), TrainConfig())


def test_features_that_lie_in_a_file_take_no_memory(monkeypatch):
    monkeypatch.setattr(preflight, "available_memory", lambda: 6 * 10**9)
    preflight.check_memory(shop(200_000, 10), 400, ModelConfig(), TrainConfig())


def test_what_a_container_may_use_counts(monkeypatch, tmp_path):
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(preflight, "CGROUP_LIMITS", (str(limit), str(tmp_path / "absent")))
    whole = preflight.available_memory()
    limit.write_text("123456\n")
    assert preflight.available_memory() == 123456
    limit.write_text("max\n")
    assert preflight.available_memory() > whole / 4


def test_a_folder_that_can_not_be_written_is_refused():
    with pytest.raises(VisrecError, match="can't make the folder /proc/visrec/run"):
        preflight.check_folders(Path("/proc/visrec/run"))


def test_a_disk_that_is_too_small_is_refused(tmp_path):
    with pytest.raises(VisrecError, match=r"the features take 1000000\.0 GB, and .* free in .*: make room"):
        check_space(tmp_path, 10**15, "the features")
