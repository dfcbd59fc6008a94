"""The proof of an export: the graphs, run by onnxruntime, against PyTorch, on real pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnxruntime
import torch

from visrec_export.errors import ExportRefused
from visrec_export.fused import FUSED
from visrec_export.graphs import MODELS
from visrec_training.checkpoint import Checkpoint
from visrec_training.model import Model

SCORE_TOLERANCE = 1e-4
FEATURE_TOLERANCE = 1e-3  # relative to the largest value
FEATURES = ("REGIONS", "ASPECTS", "MAPS")
ANSWER = ("ITEM_ID", "SCORE", "ATTENTION")
TOP = 10
TIE = 1e-5  # relative difference below which the order of two scores is rounding

Outputs: TypeAlias = dict[str, npt.NDArray[Any]]
"""By name, [n, *dims]; STRING as object arrays of str."""


@dataclass(frozen=True, slots=True)
class Requests:
    """Requests of every combination of modalities, as a server gets them."""

    pictures: npt.NDArray[np.uint8]
    """uint8 [n, S, S, 3]."""
    has_picture: npt.NDArray[np.bool_]
    """bool [n]."""
    history: npt.NDArray[np.object_]
    """str [n, L]."""
    text: npt.NDArray[np.int64]
    """int64 [n, T], hashes."""


def draw_requests(
    checkpoint: Checkpoint, pictures: npt.NDArray[np.uint8], texts: Sequence[npt.NDArray[np.int64]], seed: int
) -> Requests:
    """Draw one request a picture, the modalities in turn through all eight combinations.

    Args:
        checkpoint: knows the item ids and the sizes.
        pictures: uint8 [n, S, S, 3].
        texts: what could be typed, int64 [T] each.
        seed: decides histories and texts.
    """
    rng = np.random.default_rng(seed)
    count, config = len(pictures), checkpoint.model_config
    history = np.full((count, config.history), "", dtype=object)
    text = np.zeros((count, config.words), dtype=np.int64)
    for row in range(count):
        if row & 1:
            length = rng.integers(1, config.history + 1)
            ids = rng.choice(len(checkpoint.item_ids), size=length)
            history[row, :length] = [checkpoint.item_ids[item] for item in ids]
        if row & 2 and len(texts):
            text[row] = texts[rng.integers(len(texts))]
    has_picture = (np.arange(count) & 4) > 0
    return Requests(pictures, has_picture, history, text)


def check(checkpoint: Checkpoint, model: Model, folder: Path, requests: Requests) -> dict[str, object]:
    """Compare the graphs in `folder` with the model they were made from.

    Returns:
        The figures: the largest difference of each output, and in how many requests the top 10 are the same.

    Raises:
        ExportRefused: scores or attention differ by more than 1e-4, features by more than 1e-3 of the
            largest, or a top 10 differs.
    """
    return _compare(ask_graphs(folder, requests), ask_torch(checkpoint, model, requests), "PyTorch")


def check_fused(folder: Path, requests: Requests, right: Outputs, against: str) -> dict[str, object]:
    """Compare the fused graph in `folder` with right answers, on the requests that have a picture.

    Args:
        folder: holds `recommender/model.onnx`.
        requests: what was asked.
        right: the answers to all of them.
        against: whose they are: PyTorch's, or the three graphs' where those are not meant to be PyTorch's.

    Returns:
        Figures as from `check`.

    Raises:
        ExportRefused: as from `check`.
    """
    sent = requests.has_picture
    request = {"IMAGE": requests.pictures, "HISTORY": requests.history, "TEXT": requests.text}
    answer = _session(folder / FUSED).run(
        list(ANSWER), {name: tensor[sent] for name, tensor in request.items()}
    )
    return _compare(
        dict(zip(ANSWER, answer, strict=True)),
        {name: right[name][sent] for name in ANSWER},
        against,
        whose="the fused graph's ",
    )


def _compare(ours: Outputs, theirs: Outputs, against: str, whose: str = "") -> dict[str, object]:
    largest = {name: float(np.abs(ours[name] - theirs[name]).max()) for name in ours if name != "ITEM_ID"}
    count = len(theirs["ITEM_ID"])
    same = sum(_same_top(ours["ITEM_ID"][n], theirs["ITEM_ID"][n], theirs["SCORE"][n]) for n in range(count))
    figures: dict[str, object] = {"requests": count, "same top 10": same, "largest difference": largest}
    for name in (name for name in FEATURES if name in ours):
        allowed = FEATURE_TOLERANCE * float(np.abs(theirs[name]).max())
        if not largest[name] <= allowed:
            raise ExportRefused(
                f"{whose}{name} differs from {against} by {largest[name]:.2g}; allowed: {allowed:.2g}"
            )
    for name in ("SCORE", "ATTENTION"):
        if not largest[name] <= SCORE_TOLERANCE:
            raise ExportRefused(
                f"{whose}{name} differs from {against} by {largest[name]:.2g}; allowed: {SCORE_TOLERANCE:.2g}"
            )
    if same < count:
        raise ExportRefused(f"{whose}top {TOP} differ from {against} in {count - same} of {count} requests")
    return figures


def _same_top(
    ours: npt.NDArray[np.object_], theirs: npt.NDArray[np.object_], scores: npt.NDArray[np.float32]
) -> bool:
    """Whether two top 10 are the same; items that PyTorch scores alike may change places."""
    score_of = dict(zip(theirs, scores, strict=True))
    return all(
        mine == other or abs(score_of.get(mine, 0) - score) <= TIE * score
        for mine, other, score in zip(ours[:TOP], theirs[:TOP], scores[:TOP], strict=True)
    )


def ask_graphs(folder: Path, requests: Requests) -> Outputs:
    """Have the three graphs in a folder answer, one after the other."""
    encoder, attention, scorer = (_session(folder / model) for model in MODELS)
    regions = encoder.run(["REGIONS"], {"IMAGE": requests.pictures})[0]
    aspects, maps = attention.run(["ASPECTS", "MAPS"], {"REGIONS": regions})
    sent = requests.has_picture[:, None, None]
    answer = scorer.run(
        list(ANSWER),
        {"ASPECTS": aspects * sent, "MAPS": maps * sent, "HISTORY": requests.history, "TEXT": requests.text},
    )
    return {"REGIONS": regions, "ASPECTS": aspects, "MAPS": maps, **dict(zip(ANSWER, answer, strict=True))}


def _session(model: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(model / "model.onnx", providers=["CPUExecutionProvider"])


@torch.inference_mode()
def ask_torch(checkpoint: Checkpoint, model: Model, requests: Requests) -> Outputs:
    """Have the model that graphs were made from answer."""
    regions = model.encoder(torch.from_numpy(requests.pictures))
    aspects, maps = model.attention(regions)
    sent = torch.from_numpy(requests.has_picture).view(-1, 1, 1)
    row_of = {item_id: row for row, item_id in enumerate(checkpoint.item_ids)}
    history = np.vectorize(lambda item_id: row_of.get(item_id, -1), otypes=[np.int64])(requests.history)
    text = checkpoint.vocabulary.rows(requests.text.ravel()).reshape(requests.text.shape)
    rows, scores, attention = checkpoint.fusion_scorer(model)(
        aspects * sent, maps * sent, torch.from_numpy(history), torch.from_numpy(text)
    )
    ids = np.asarray([*checkpoint.item_ids, ""], dtype=object)
    return {
        "REGIONS": regions.numpy(),
        "ASPECTS": aspects.numpy(),
        "MAPS": maps.numpy(),
        "ITEM_ID": ids[rows.numpy().clip(max=len(ids) - 1)],
        "SCORE": scores.numpy(),
        "ATTENTION": attention.numpy(),
    }
