"""BPR and VBPR as Cornac trains them, in an environment of its own: Cornac needs numpy 2, Triton numpy 1."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from benchmarks.quality.elsewhere import Arrays, Library

from visrec_training.baselines import Matrix
from visrec_training.centroids import pooled_pictures
from visrec_training.prepare import Prepared
from visrec_training.queries import Queries

CORNAC = Library("Cornac", "cornac torch", "--cornac", "cornac_child.py")
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
        LibraryMissing: there is none, or training failed; says how to make one.
    """
    train = prepared.split.train
    given: Arrays = {
        "users": train.owners,
        "items": train.values,
        "features": pooled_pictures(prepared),
    }
    made = CORNAC.train(model, given, OPTIONS[model] | {"seed": seed}, python)
    return Factors(made["users"], made["items"], made["bias"])
