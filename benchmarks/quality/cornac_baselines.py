"""BPR and VBPR as Cornac trains them, in an environment of its own: Cornac needs numpy 2, Triton numpy 1."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from visrec_client.errors import VisrecError
from visrec_training.baselines import Matrix
from visrec_training.centroids import pooled_pictures
from visrec_training.prepare import Prepared
from visrec_training.queries import Queries

DEFAULT_PYTHON = Path("build/cornac/bin/python")
OPTIONS: dict[str, dict[str, Any]] = {
    # more threads write over each other, and no run would be like another
    "BPR": {"k": 64, "max_iter": 200, "learning_rate": 0.01, "lambda_reg": 0.005, "num_threads": 1},
    "VBPR": {
        "k": 32,
        "k2": 32,
        "n_epochs": 20,
        "batch_size": 256,
        "learning_rate": 0.002,
        "lambda_w": 0.01,
        "verbose": False,
    },
}
"""Chosen on validation parts."""


class CornacMissing(VisrecError):
    """There is no environment with Cornac in it, or it doesn't work."""


@dataclass(frozen=True, slots=True)
class Factors:
    """Users and items in one space. It knows the users of its training only, and nothing of what is new."""

    users: npt.NDArray[np.float32]
    items: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]

    def scores(self, queries: Queries) -> Matrix:
        """As `Baseline`: by who asks, whatever their history says."""
        known = queries.users < len(self.users)
        users = self.users[np.where(known, queries.users, 0)] * known[:, None]
        return users @ self.items.T + self.bias


def train(model: str, prepared: Prepared, seed: int, python: Path) -> Factors:
    """Train BPR (Rendle et al., UAI 2009) or VBPR (He & McAuley, AAAI 2016).

    Args:
        model: a key of `OPTIONS`.
        prepared: the data; VBPR sees each picture's regions, pooled by their mean.
        seed: decides where training starts and whom it draws.
        python: of an environment that holds Cornac (and torch, for VBPR).

    Raises:
        CornacMissing: there is none, or training failed; says how to make one.
    """
    check(python)
    train = prepared.split.train
    with tempfile.TemporaryDirectory() as folder:
        given, made = Path(folder) / "given.npz", Path(folder) / "made.npz"
        np.savez(
            given,
            users=np.repeat(np.arange(len(train)), [len(liked) for liked in train]),
            items=np.concatenate(train),
            features=pooled_pictures(prepared),
        )
        options = json.dumps(OPTIONS[model] | {"seed": seed})
        child = Path(__file__).with_name("cornac_child.py")
        # without the caller's paths: they lead to another numpy
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        done = subprocess.run(  # noqa: S603
            [python, child, model, given, made, options], env=environment, capture_output=True, text=True
        )
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no word why"])[-1]
            raise CornacMissing(f"Cornac's {model} failed: {last}; {_remedy(python)}")
        with np.load(made) as factors:
            return Factors(factors["users"], factors["items"], factors["bias"])


def check(python: Path) -> None:
    """See that there is a python.

    Raises:
        CornacMissing: there is none.
    """
    if not python.is_file():
        raise CornacMissing(f"no python at {python}: {_remedy(python)}")


def _remedy(python: Path) -> str:
    home = python.parent.parent
    return (
        f"make it with `python3.11 -m venv {home} && {home}/bin/pip install cornac torch`, or give --cornac"
    )
