"""Arrays larger than memory lie in a file that nobody sees."""

import os

import numpy as np
import psutil
import pytest
import torch

from visrec_client.errors import VisrecError
from visrec_training import scratch


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(scratch, "IN_MEMORY", 1_000)
    return tmp_path


def test_a_large_array_lies_in_a_file_without_a_name(folder):
    large = scratch.zeros((100, 10), np.float32)
    assert large.shape == (100, 10)
    assert not large.any()
    large[7] = 3
    assert large.sum() == 30
    assert isinstance(large.base, np.memmap)
    assert not any(folder.iterdir())


def test_a_small_one_lies_in_memory(folder):
    assert scratch.zeros((2, 3), np.float32).base is None


def test_where_the_disk_is_full_a_line_says_what_to_do(folder, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(VisrecError, match=r"No space left .*: set TMPDIR to a folder with more room"):
        scratch.zeros((100, 10), np.float32)


def test_numbers_are_kept_as_they_are_or_halved_in_a_file(folder):
    small, large = (scratch.Stored((rows, 10), torch.device("cpu")) for rows in (5, 100))
    numbers = torch.linspace(-3, 3, 20).view(2, 10)
    for stored in (small, large):
        stored[torch.tensor([4, 1])] = numbers
        assert stored[:].dtype == torch.float32
        assert not stored[torch.tensor([0, 2])].any()
    assert torch.equal(small[torch.tensor([4, 1])], numbers)
    torch.testing.assert_close(large[torch.tensor([4, 1])], numbers, atol=0, rtol=1e-3)


def test_what_is_let_go_counts_no_longer_and_is_still_there(folder):
    large = scratch.zeros((4_000, 4_096), np.float32)
    large[:] = 1
    filled = shared()
    scratch.let_go(large)
    assert filled - shared() > large.nbytes / 2
    assert (large == 1).all()


def shared():
    """Bytes of files that this process has in its memory."""
    return psutil.Process().memory_info().shared
