"""The cache of what the encoder saw: encoded once, resumed, and honest about broken pictures."""

import numpy as np
import pytest
import torch
from PIL import Image

from visrec_training import regions
from visrec_training.encoder import Encoder
from visrec_training.regions import compute_regions

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    return Encoder("resnet18", (8, 32))


@pytest.fixture
def images(tmp_path, monkeypatch):
    monkeypatch.setattr(regions, "SHARD", 4)
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{number}.png" for number in range(6)]
    for path in paths:
        Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(path)
    return paths


def encoded(monkeypatch):
    """Counts the pictures that are really encoded."""
    counted, whole = [], regions._encode

    def count(encoder, shard, *rest):
        counted.append(len(shard))
        return whole(encoder, shard, *rest)

    monkeypatch.setattr(regions, "_encode", count)
    return counted


def test_a_second_run_encodes_nothing(encoder, images, tmp_path, monkeypatch):
    counted = encoded(monkeypatch)
    first = compute_regions(encoder, images, 224, tmp_path / "cache", CPU)
    second = compute_regions(encoder, images, 224, tmp_path / "cache", CPU)
    assert counted == [4, 2]
    assert np.array_equal(first.values, second.values)


def test_new_pictures_at_the_end_cost_only_their_shard(encoder, images, tmp_path, monkeypatch):
    counted = encoded(monkeypatch)
    compute_regions(encoder, images[:4], 224, tmp_path / "cache", CPU)
    compute_regions(encoder, images, 224, tmp_path / "cache", CPU)
    assert counted == [4, 2]


def test_a_changed_picture_is_seen_anew(encoder, images, tmp_path):
    before = compute_regions(encoder, images, 224, tmp_path / "cache", CPU).values
    Image.new("RGB", (64, 64), "red").save(images[5])
    after = compute_regions(encoder, images, 224, tmp_path / "cache", CPU).values
    assert np.array_equal(before[:5], after[:5])
    assert not np.array_equal(before[5], after[5])


def test_broken_pictures_are_named_and_zero(encoder, images, tmp_path):
    images[1].write_text("not a picture")
    images[4].unlink()
    found = compute_regions(encoder, images, 224, tmp_path / "cache", CPU)
    assert set(found.broken) == {1, 4}
    assert "1.png" in found.broken[1]
    assert not found.values[[1, 4]].any()
    assert compute_regions(encoder, images, 224, tmp_path / "cache", CPU).broken == found.broken


def test_a_cache_that_cannot_be_written_is_one_line(visrec, small_shop, tmp_path, capsys):
    (tmp_path / "taken").write_text("")
    assert visrec("train", "--data", small_shop, "--cache", tmp_path / "taken", "--out", tmp_path) == 1
    assert "can't write" in capsys.readouterr().err
