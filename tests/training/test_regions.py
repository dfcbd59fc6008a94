"""The cache of what the encoder saw: kept by content, resumed, repaired, and honest about broken pictures."""

import hashlib
import shutil

import numpy as np
import PIL
import pytest
import torch
from PIL import Image

from visrec_client.errors import VisrecError
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
    monkeypatch.setattr(regions, "BATCH", 2)
    monkeypatch.setattr(regions, "SHARD", 4)
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{number}.png" for number in range(6)]
    for path in paths:
        Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(path)
    return paths


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def see(encoder, cache):
    return lambda images: compute_regions(encoder, images, 224, cache, CPU)


def shards(cache):
    return sorted(cache.rglob("*.npz"))


def held(cache):
    """How many pictures each shard holds, the large ones first."""
    return sorted((len(np.load(path)["keys"]) for path in shards(cache)), reverse=True)


@pytest.fixture
def encoded(encoder):
    """How many batches the encoder was given."""
    batches = []
    hook = encoder.register_forward_hook(lambda *_: batches.append(1))
    yield batches
    hook.remove()


def test_a_second_run_encodes_nothing(see, images, cache, encoded):
    first = see(images)
    assert (held(cache), len(encoded)) == ([4, 2], 3)
    second = see(images)
    assert len(encoded) == 3
    assert np.array_equal(first.values, second.values)
    assert first.digests == second.digests


def test_a_digest_is_the_sha256_of_the_file(see, images):
    images[2].write_text("not a picture")
    images[4].unlink()
    digests = see(images).digests
    assert digests[4] == ""
    for row in (0, 2, 5):
        assert digests[row] == hashlib.sha256(images[row].read_bytes()).hexdigest()


def test_new_pictures_anywhere_cost_only_themselves(see, images, cache, encoded):
    see([images[number] for number in (0, 2, 3, 5)])
    whole = see(images)
    assert (held(cache), len(encoded)) == ([4, 2], 3)
    backwards = see(images[::-1])
    assert len(encoded) == 3
    assert np.array_equal(backwards.values, whole.values[::-1])
    assert backwards.digests == whole.digests[::-1]


def test_moved_renamed_and_touched_pictures_cost_nothing(see, images, tmp_path, encoded):
    before = see(images)
    moved = [tmp_path / "elsewhere" / f"other-{path.name}" for path in images]
    moved[0].parent.mkdir()
    for path, place in zip(images, moved, strict=True):
        shutil.copyfile(path, place)
    after = see(moved)
    assert len(encoded) == 3
    assert np.array_equal(before.values, after.values)


def test_one_picture_of_several_items_is_encoded_once(see, images, tmp_path, cache):
    shutil.copyfile(images[0], tmp_path / "same.png")
    found = see([images[0], images[1], images[0], tmp_path / "same.png"])
    assert held(cache) == [2]
    assert np.array_equal(found.values[[0, 0]], found.values[[2, 3]])


def test_a_changed_picture_is_seen_anew(see, images):
    before = see(images).values
    Image.new("RGB", (64, 64), "red").save(images[5])
    after = see(images).values
    assert np.array_equal(before[:5], after[:5])
    assert not np.array_equal(before[5], after[5])


def test_what_is_seen_does_not_depend_on_what_was_cached(encoder, images, tmp_path):
    whole = compute_regions(encoder, images, 224, tmp_path / "one", CPU)
    for number in (3, 0):
        compute_regions(encoder, [images[number]], 224, tmp_path / "other", CPU)
    pieces = compute_regions(encoder, images, 224, tmp_path / "other", CPU)
    assert whole.values.tobytes() == pieces.values.tobytes()


def test_broken_pictures_are_named_and_zero(see, images):
    images[1].write_text("not a picture")
    images[4].unlink()
    found = see(images)
    assert set(found.broken) == {1, 4}
    assert "1.png" in found.broken[1]
    assert not found.values[[1, 4]].any()
    assert see(images).broken == found.broken


def test_a_failure_is_never_cached(see, images, cache):
    picture = images[1].read_bytes()
    images[1].write_bytes(picture[:200])
    assert set(see(images).broken) == {1}
    assert sum(held(cache)) == 5
    images[1].write_bytes(picture)
    repaired = see(images)
    assert not repaired.broken
    assert repaired.values[1].any()


def test_an_interrupted_run_goes_on_where_it_stopped(encoder, see, images, cache, encoded):
    def interrupt(*_):
        if len(encoded) == 3:
            raise KeyboardInterrupt

    hook = encoder.register_forward_hook(interrupt)
    with pytest.raises(KeyboardInterrupt):
        see(images)
    hook.remove()
    assert held(cache) == [4]
    see(images)
    assert len(encoded) == 4


@pytest.mark.parametrize(
    "damage", ["cut short", "overwritten", "empty", "another array", "one array", "a flipped byte"]
)
def test_a_damaged_shard_is_told_and_encoded_again(see, images, cache, capsys, damage):
    whole = see(images)
    path = max(shards(cache), key=lambda path: path.stat().st_size)
    data = path.read_bytes()
    if damage == "another array":
        stored = dict(np.load(path))
        np.savez(path, keys=stored["keys"], regions=stored["regions"][:, :, :5])
    elif damage == "one array":
        with path.open("wb") as file:
            np.save(file, np.zeros(3))
    else:
        middle = len(data) // 2
        flipped = data[:middle] + bytes([data[middle] ^ 255]) + data[middle + 1 :]
        path.write_bytes(
            {"cut short": data[:-100], "overwritten": b"x" * 5000, "empty": b"", "a flipped byte": flipped}[
                damage
            ]
        )
    capsys.readouterr()
    again = see(images)
    assert f"visrec: warning: {path} is damaged" in capsys.readouterr().err
    assert again.values.tobytes() == whole.values.tobytes()
    see(images)
    assert "warning" not in capsys.readouterr().err


def test_another_decoder_sees_anew(see, images, cache, monkeypatch):
    see(images)
    monkeypatch.setattr(PIL, "__version__", "99.0")
    see(images)
    monkeypatch.setattr(regions, "DECODER", 99)
    see(images)
    assert held(cache) == [4, 4, 4, 2, 2, 2]


def test_no_half_written_file_is_left(see, images, cache):
    see(images)
    assert all(path.suffix == ".npz" for path in cache.rglob("*") if path.is_file())


def test_taking_rows_takes_their_digests(see, images):
    found = see(images)
    some = found.take([4, 1])
    assert np.array_equal(some.values, found.values[[4, 1]])
    assert some.digests == (found.digests[4], found.digests[1])


def test_a_cache_that_cannot_be_written_is_told_before_anything_is_encoded(see, images, cache, encoded):
    cache.write_text("")
    with pytest.raises(VisrecError, match=r"can't write to the cache .*/cache: .*--cache"):
        see(images)
    assert not encoded


def test_a_cache_that_cannot_be_written_is_one_line(visrec, small_shop, tmp_path, capsys):
    (tmp_path / "taken").write_text("")
    assert visrec("train", "--data", small_shop, "--cache", tmp_path / "taken", "--out", tmp_path) == 1
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith(f"visrec: error: can't write to the cache {tmp_path / 'taken'}")
    assert "--cache" in message
