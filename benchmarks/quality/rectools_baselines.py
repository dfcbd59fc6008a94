"""iALS and SASRec, in an environment of RecTools' own.

iALS (Hu, Koren & Volinsky, Collaborative Filtering for Implicit Feedback Datasets, ICDM 2008) as the library
implicit fits it, which RecTools brings. SASRec (Kang & McAuley, Self-Attentive Sequential Recommendation,
ICDM 2018) with a softmax over all items, where the paper draws one wrong item for each right one (Klenitskiy
& Vasilev, Turning Dross Into Gold Loss, RecSys 2023). Both answer from a history, whosever it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.quality.elsewhere import Library

from visrec_training.baselines import CHOICE_PEOPLE, Matrix, best
from visrec_training.prepare import Prepared
from visrec_training.queries import Queries, Section
from visrec_training.rows import Ragged, Rows

RECTOOLS = Library("RecTools", "'rectools[torch]'", "--rectools", "rectools_child.py")
IALS, SASREC = "iALS", "SASRec"
OPTIONS: dict[str, dict[str, Any]] = {
    IALS: {
        "factors": 64,
        "iterations": 15,
        "alpha": (10.0, 1.0, 3.0, 30.0),
        "regularization": (10.0, 1.0, 30.0, 100.0),
    },
    SASREC: {
        "n_blocks": 2,
        "n_heads": 1,
        "n_factors": 64,
        "dropout_rate": 0.2,
        "session_max_len": 100,
        "batch_size": 16,
        "lr": 0.001,
        "epochs": (5, 10, 15, 20, 30),
    },
}
"""Of several values in brackets validation chooses one; the first where nothing can be validated."""


@dataclass(frozen=True, slots=True)
class Vectors:
    """Histories and items in one space. It knows the histories that were asked when it was trained."""

    place: dict[bytes, int]
    """Of each history among the vectors."""
    histories: Matrix
    """[n, k]."""
    items: Matrix
    """[N, k]; 0 for items that training never met, which are not shown."""

    def scores(self, queries: Queries) -> Matrix:
        """As `Baseline`."""
        asked = [self.place[history.tobytes()] for history in queries.histories]
        return np.where(self.items.any(axis=1), self.histories[asked] @ self.items.T, -np.inf)


def train(model: str, prepared: Prepared, sections: Iterable[Section], seed: int, python: Path) -> Vectors:
    """Train iALS or SASRec, and choose on validation.

    Args:
        model: a key of `OPTIONS`.
        prepared: the data; SASRec needs it to have an order.
        sections: all that will be asked.
        seed: decides where training starts, and what it drops out.
        python: of an environment that holds RecTools with torch.

    Raises:
        LibraryMissing: there is none, or training failed; says how to make one.
    """
    validation = prepared.split.validation.first(CHOICE_PEOPLE)
    asked = [section.queries.with_viewed() for section in (validation, *sections)]
    histories = {history.tobytes(): history for queries in asked for history in queries.histories}
    place = {key: number for number, key in enumerate(histories)}
    given = {
        **_flat("train", prepared.split.train),
        **_flat("asked", Ragged.of(histories.values())),
        "count": np.asarray(len(prepared.split.is_cold)),
    }
    made = RECTOOLS.train(model, given, OPTIONS[model] | {"seed": seed}, python)
    fits = [Vectors(place, *each) for each in zip(made["histories"], made["items"], strict=True)]
    return best(fits, lambda fit: fit.scores(asked[0]), validation)


def _flat(name: str, histories: Ragged) -> dict[str, Rows]:
    """Histories one after another, and how long each is."""
    return {name: histories.values, f"{name}_lengths": histories.sizes}
