"""Arrays larger than memory lie in a file that nobody sees."""

import os

import numpy as np
import pytest

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
