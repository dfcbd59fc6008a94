"""What the benchmark of large catalogues reports."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from benchmarks.serving import results
from benchmarks.serving.catalogue import summarise, table
from benchmarks.serving.memory import tree_megabytes
from benchmarks.serving.simulated import simulate

from visrec_training.checkpoint import Checkpoint


def runs(*p50):
    return [{"p50_ms": value, "memory_mb": 500.0, "scorer_ms": 1.0, "start_s": 2.0} for value in p50]


RELEASED = {"file_mb": 10.0, "release_s": 3.0, "top10_overlap": 0.998}


def test_sizes_are_compared_within_a_repeat():
    served = {10: runs(10, 20, 30), 1000: runs(12, 23, 90)}
    found = summarise(served, {10: RELEASED, 1000: RELEASED})
    assert found["1000"]["above_ms"] == 3
    assert found["1000"]["p50_ms"] == 23
    assert found["10"]["above_ms"] == 0
    assert "| 1,000 | 23.0 | 3.0 |" in table(found)


def test_a_part_leaves_the_others_in_place(tmp_path):
    path = tmp_path / "results" / "serving.json"
    results.merge(path, {"catalogue": 1, "client": 2})
    results.merge(path, {"client": 3})
    assert json.loads(path.read_text()) == {"catalogue": 1, "client": 3}


def test_memory_is_that_of_a_process_and_its_children():
    child = "import time; held = b'x' * 50_000_000; print('ready', flush=True); time.sleep(60)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    with subprocess.Popen(
        [sys.executable, "-c", parent], stdout=subprocess.PIPE, start_new_session=True
    ) as tree:
        try:
            assert tree.stdout.readline() == b"ready\n"
            assert 50 < tree_megabytes(tree.pid) < 150
        finally:
            os.killpg(tree.pid, signal.SIGKILL)


def test_a_simulated_catalogue_has_the_shape_of_the_real_one(run):
    real = Checkpoint.load(run / "best.pt")
    large = simulate(real, 5000, seed=1)
    assert len(set(large.item_ids)) == 5000
    assert large.items.vectors.shape == (5000, real.items.vectors.shape[1])
    lengths = np.linalg.norm(large.items.vectors[:, : real.model_config.dim].numpy(), axis=1)
    assert lengths == pytest.approx(1, abs=1e-5)
    large.model()  # its parameters fit so many items
    assert simulate(real, 5000, seed=1).items.vectors.equal(large.items.vectors)
