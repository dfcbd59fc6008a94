"""The proof of an export: the graphs, run by onnxruntime, against PyTorch, on real pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from visrec_export.answers import TOP, open_graph, overlap
from visrec_export.compact import COMPACT_FROM
from visrec_export.errors import ExportRefused
from visrec_serving.pins import FUSED, MODELS
from visrec_training.checkpoint import Checkpoint
from visrec_training.item_texts import load_text_graph
from visrec_training.model import Model
from visrec_training.retrieval import Typed
from visrec_training.vocabulary import UNKNOWN

SCORE_TOLERANCE = 1e-4
FEATURE_TOLERANCE = 1e-3  # relative to the largest value
FEATURES = ("REGIONS", "ASPECTS", "MAPS")
EXACT = ("KNOWN", "RELEASE", "UNDERSTOOD")
ANSWER = ("ITEM_ID", "SCORE", "ATTENTION", *EXACT)
COMPACT_OVERLAP = 0.99  # mean share of a top 10 that a compact catalogue has to keep
COMPACT_TOLERANCE = 0.05  # of a score
NOBODY_HAS = "an id that no catalogue has"
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
    text: npt.NDArray[np.object_]
    """str [n, 1]."""


def draw_requests(
    checkpoint: Checkpoint, pictures: npt.NDArray[np.uint8], texts: Sequence[str], seed: int
) -> Requests:
    """Draw one request a picture, the modalities in turn through all eight combinations.

    Args:
        checkpoint: knows the item ids and the sizes.
        pictures: uint8 [n, S, S, 3].
        texts: what could be typed.
        seed: decides histories and texts.
    """
    rng = np.random.default_rng(seed)
    count, config = len(pictures), checkpoint.model_config
    history = np.full((count, config.history), "", dtype=object)
    text = np.full((count, 1), "", dtype=object)
    for row in range(count):
        if row & 1:
            length = rng.integers(1, config.history + 1)
            ids = rng.choice(len(checkpoint.item_ids), size=length)
            history[row, :length] = [checkpoint.item_ids[item] for item in ids]
            history[row, length:][:1] = NOBODY_HAS
        if row & 2 and len(texts):
            text[row, 0] = texts[rng.integers(len(texts))]
    has_picture = (np.arange(count) & 4) > 0
    return Requests(pictures, has_picture, history, text)


def check(
    checkpoint: Checkpoint, model: Model, release: int, folder: Path, requests: Requests
) -> dict[str, object]:
    """Compare the graphs in `folder` with the model they were made from.

    Args:
        checkpoint: what they were made from.
        model: its model.
        release: the number that answers have to carry.
        folder: holds `<model>/model.onnx`.
        requests: what is asked.

    Returns:
        The figures: the largest difference of each output, in how many requests the top 10 are the same, and
        the mean share of PyTorch's top 10 that is in ours.

    Raises:
        ExportRefused: scores or attention differ by more than 1e-4, features by more than 1e-3 of the
            largest, or a top 10, what is known of a history or the release differs. Of a catalogue that is
            stored compactly: scores differ by more than 5%, or less than 0.99 of the top 10 is kept.
    """
    compact = len(checkpoint.item_ids) >= COMPACT_FROM
    right = _ask_torch(checkpoint, model, release, requests)
    return _compare(ask_graphs(folder, requests), right, "PyTorch", compact=compact)


def check_scorer(
    checkpoint: Checkpoint, model: Model, release: int, folder: Path, requests: Requests
) -> dict[str, object]:
    """Compare the fusion scorer alone; arguments, results and errors as for `check`.

    The others need not be those of the checkpoint: what they see is given to both.
    """
    compact = len(checkpoint.item_ids) >= COMPACT_FROM
    ours = ask_graphs(folder, requests)
    aspects, maps = torch.from_numpy(ours["ASPECTS"]), torch.from_numpy(ours["MAPS"])
    right = _rank_torch(checkpoint, model, release, aspects, maps, requests)
    return _compare({name: ours[name] for name in ANSWER}, right, "PyTorch", compact=compact)


def check_fused(folder: Path, requests: Requests) -> dict[str, object]:
    """Compare the fused graph in `folder` with the three it is made of, on the requests that have a picture.

    Returns:
        Figures as from `check`.

    Raises:
        ExportRefused: scores or attention differ by more than 1e-4, or a top 10 differs.
    """
    sent = requests.has_picture
    request = {"IMAGE": requests.pictures, "HISTORY": requests.history, "TEXT": requests.text}
    answer = open_graph(folder / FUSED / "model.onnx").run(
        list(ANSWER), {name: tensor[sent] for name, tensor in request.items()}
    )
    right = ask_graphs(folder, requests)
    return _compare(
        dict(zip(ANSWER, answer, strict=True)),
        {name: right[name][sent] for name in ANSWER},
        "the three graphs",
        whose="the fused graph's ",
    )


def _compare(
    ours: Outputs, theirs: Outputs, against: str, *, whose: str = "", compact: bool = False
) -> dict[str, object]:
    for name in EXACT:
        if not np.array_equal(ours[name], theirs[name]):
            raise ExportRefused(f"{whose}{name} differs from {against}")
    compared = ours.keys() - {"ITEM_ID", *EXACT}
    largest = {name: float(np.abs(ours[name] - theirs[name]).max()) for name in sorted(compared)}
    count = len(theirs["ITEM_ID"])
    same = sum(_same_top(ours["ITEM_ID"][n], theirs["ITEM_ID"][n], theirs["SCORE"][n]) for n in range(count))
    kept = overlap(ours["ITEM_ID"], theirs["ITEM_ID"])
    figures: dict[str, object] = {
        "requests": count,
        "same top 10": same,
        "top 10 overlap": kept,
        "largest difference": largest,
    }
    for name in (name for name in FEATURES if name in ours):
        allowed = FEATURE_TOLERANCE * float(np.abs(theirs[name]).max())
        if not largest[name] <= allowed:
            raise ExportRefused(
                f"{whose}{name} differs from {against} by {largest[name]:.2g}; allowed: {allowed:.2g}"
            )
    if compact:
        figures["largest relative difference of a score"] = _check_compact(ours, theirs, kept)
    for name in ("ATTENTION",) if compact else ("SCORE", "ATTENTION"):
        if not largest[name] <= SCORE_TOLERANCE:
            raise ExportRefused(
                f"{whose}{name} differs from {against} by {largest[name]:.2g}; allowed: {SCORE_TOLERANCE:.2g}"
            )
    if same < count and not compact:
        raise ExportRefused(f"{whose}top {TOP} differ from {against} in {count - same} of {count} requests")
    return figures


def _check_compact(ours: Outputs, theirs: Outputs, kept: float) -> float:
    """Check what a compact catalogue may cost; gives the largest difference of a score, as a share of it."""
    largest = float(np.abs(ours["SCORE"] / theirs["SCORE"] - 1).max())
    if not largest <= COMPACT_TOLERANCE:
        raise ExportRefused(f"SCORE differs from PyTorch by {largest:.1%}; allowed: {COMPACT_TOLERANCE:.0%}")
    if not kept >= COMPACT_OVERLAP:
        raise ExportRefused(
            f"the top {TOP} hold {kept:.1%} of PyTorch's; at least {COMPACT_OVERLAP:.0%} is needed"
        )
    return largest


def _same_top(
    ours: npt.NDArray[np.object_], theirs: npt.NDArray[np.object_], scores: npt.NDArray[np.float32]
) -> bool:
    """Whether two top 10 are the same; items that PyTorch scores alike may change places.

    Of what is not in PyTorch's answer is known that it scores no more than the last one there.
    """
    score_of = dict(zip(theirs, scores, strict=True))
    return all(
        mine == other or abs(score_of.get(mine, scores[-1]) - score) <= TIE * score
        for mine, other, score in zip(ours[:TOP], theirs[:TOP], scores[:TOP], strict=True)
    )


def ask_graphs(folder: Path, requests: Requests) -> Outputs:
    """Have the three graphs in a folder, `<model>/model.onnx`, answer one after the other."""
    encoder, attention, scorer = (open_graph(folder / model / "model.onnx") for model in MODELS)
    regions = encoder.run(["REGIONS"], {"IMAGE": requests.pictures})[0]
    aspects, maps = attention.run(["ASPECTS", "MAPS"], {"REGIONS": regions})
    sent = requests.has_picture[:, None, None]
    answer = scorer.run(
        list(ANSWER),
        {"ASPECTS": aspects * sent, "MAPS": maps * sent, "HISTORY": requests.history, "TEXT": requests.text},
    )
    return {"REGIONS": regions, "ASPECTS": aspects, "MAPS": maps, **dict(zip(ANSWER, answer, strict=True))}


@torch.inference_mode()
def _ask_torch(checkpoint: Checkpoint, model: Model, release: int, requests: Requests) -> Outputs:
    """Have the model that graphs were made from answer."""
    regions = model.encoder(torch.from_numpy(requests.pictures))
    aspects, maps = model.attention(regions)
    seen = {"REGIONS": regions.numpy(), "ASPECTS": aspects.numpy(), "MAPS": maps.numpy()}
    return {**seen, **_rank_torch(checkpoint, model, release, aspects, maps, requests)}


@torch.inference_mode()
def _rank_torch(
    checkpoint: Checkpoint, model: Model, release: int, aspects: Tensor, maps: Tensor, requests: Requests
) -> Outputs:
    """Have the scorer answer for what was seen in the pictures."""
    sent = torch.from_numpy(requests.has_picture).view(-1, 1, 1)
    row_of = {item_id: row for row, item_id in enumerate(checkpoint.item_ids)}
    history = np.vectorize(lambda item_id: row_of.get(item_id, -1), otypes=[np.int64])(requests.history)
    config = checkpoint.model_config
    texts = requests.text[:, 0].tolist()
    typed = Typed.read(texts, checkpoint.vocabulary, config)
    known = (typed.tokens != UNKNOWN).sum(1) / np.maximum((typed.hashes != 0).sum(1), 1)
    understood = np.maximum(known.astype(np.float32), load_text_graph(config.text_encoder)(texts).understood)
    rows, scores, attention = checkpoint.fusion_scorer(model)(
        aspects * sent,
        maps * sent,
        torch.from_numpy(history),
        *typed.tensors(),
    )
    ids = np.asarray([*checkpoint.item_ids, ""], dtype=object)
    return {
        "ITEM_ID": ids[rows.numpy().clip(max=len(ids) - 1)],
        "SCORE": scores.numpy(),
        "ATTENTION": attention.numpy(),
        "KNOWN": history >= 0,
        "RELEASE": np.full((len(requests.text), 1), release),
        "UNDERSTOOD": understood[:, None],
    }
