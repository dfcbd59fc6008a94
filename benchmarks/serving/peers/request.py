"""What every peer does with a request before and after its model, so that they differ in nothing else."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from visrec_bench.limit import Pipeline
from visrec_client.picture import load_picture

HISTORY_LENGTH = 50
THREADS = int(os.environ.get("PEER_THREADS", "1"))
"""Threads of the model in each worker; a peer runs a worker a core."""

Tensors = dict[str, npt.NDArray[Any]]


def pipeline() -> Pipeline:
    """The exported graphs, called in this process."""
    return Pipeline(Path(os.environ["PEER_REPOSITORY"]), "recommender", threads=THREADS)


def tensors(request: dict[str, Any]) -> Tensors:
    """One request as the tensors of a batch of one."""
    history = np.full(HISTORY_LENGTH, "", dtype=np.object_)
    newest = request["history"][-HISTORY_LENGTH:]
    history[: len(newest)] = newest
    return {
        "IMAGE": load_picture(base64.b64decode(request["image"]))[None],
        "HISTORY": history[None],
        "TEXT": np.array([[request["text"]]], dtype=np.object_),
    }


def stack(requests: list[Tensors]) -> Tensors:
    """Several requests as one batch."""
    return {name: np.concatenate([request[name] for request in requests]) for name in requests[0]}


def answers(outputs: Tensors) -> list[dict[str, Any]]:
    """One answer for each request of a batch."""
    return [
        {"items": ids.tolist(), "scores": scores.tolist()}
        for ids, scores in zip(outputs["ITEM_ID"], outputs["SCORE"], strict=True)
    ]
