"""Real requests: pictures, histories and texts of a data folder, as the tensors that a model takes."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from visrec_bench.errors import BenchError
from visrec_client.picture import load_picture
from visrec_training.data import Dataset
from visrec_training.files import write_text
from visrec_training.rows import Rows

MAX_WORDS = 3
Tensor: TypeAlias = npt.NDArray[Any]
Shapes: TypeAlias = Mapping[str, Sequence[int]]
"""Dims of each input of a model, without the batch."""


def draw_requests(dataset: Dataset, shapes: Shapes, count: int, seed: int = 0) -> dict[str, Tensor]:
    """Draw requests such as the people in the data would have sent.

    Each is a moment in the life of one of them: the picture of what they looked at, the ids of what came
    before, and some words of what they turned to next. Without interactions, items are drawn instead.

    Args:
        dataset: catalogue and interactions.
        shapes: the inputs to make.
        count: how many requests.
        seed: decides which.

    Returns:
        For each input, the tensors of all requests, [count, *dims]; STRING as object arrays of str.

    Raises:
        BenchError: an input is none that a client sends.
    """
    makers: dict[str, Callable[[list[tuple[Rows, int]], Sequence[int]], Tensor]] = {
        "IMAGE": lambda moments, dims: _pictures(dataset, moments, dims),
        "HISTORY": lambda moments, dims: _histories(dataset, moments, dims),
        "TEXT": lambda moments, _: _texts(dataset, moments),
        # zeros: what a client sends when there is no picture
        "ASPECTS": lambda moments, dims: np.zeros((len(moments), *dims), np.float32),
        "MAPS": lambda moments, dims: np.zeros((len(moments), *dims), np.float32),
    }
    if strange := [name for name in shapes if name not in makers]:
        raise BenchError(
            f"the model takes {', '.join(strange)}, which no data folder holds: "
            "choose recommender, embedder, encoder or fusion_scorer"
        )
    moments = list(draw_moments(dataset, count, seed))
    return {name: makers[name](moments, dims) for name, dims in shapes.items()}


def write_input_data(requests: Mapping[str, Tensor], path: Path) -> None:
    """Write requests as perf_analyzer's --input-data reads them: STRING as texts, others as base64.

    Raises:
        VisrecError: the file can't be written.
    """
    count = len(next(iter(requests.values())))
    data = [{name: _as_json(tensor[place]) for name, tensor in requests.items()} for place in range(count)]
    write_text(path, json.dumps({"data": data}, ensure_ascii=False))


def _as_json(tensor: Tensor) -> dict[str, object]:
    shape = list(tensor.shape)
    if tensor.dtype == np.object_:
        return {"content": tensor.ravel().tolist(), "shape": shape}
    return {"content": {"b64": base64.b64encode(tensor.tobytes()).decode()}, "shape": shape}


def draw_moments(dataset: Dataset, count: int, seed: int) -> Iterator[tuple[Rows, int]]:
    """Draw moments: what came before, its last item looked at, and what came next; rows of the catalogue."""
    rng = np.random.default_rng(seed)
    sequences = dataset.interactions.by_user(dataset.interactions.liked) if dataset.interactions else []
    sequences = [sequence for sequence in sequences if len(sequence) >= 2]
    for _ in range(count):
        if sequences:
            sequence = sequences[rng.integers(len(sequences))]
            end = int(rng.integers(1, len(sequence)))
            yield sequence[:end], int(sequence[end])
        else:
            items = rng.integers(len(dataset.catalogue), size=2)
            yield items[:1], int(items[1])


def _pictures(dataset: Dataset, moments: list[tuple[Rows, int]], dims: Sequence[int]) -> Tensor:
    images = [dataset.catalogue.images[before[-1]] for before, _ in moments]
    return np.stack([load_picture(image, dims[0]) for image in tqdm(images, "pictures", leave=False)])


def _histories(dataset: Dataset, moments: list[tuple[Rows, int]], dims: Sequence[int]) -> Tensor:
    tensor = np.full((len(moments), *dims), "", dtype=np.object_)
    for place, (before, _) in enumerate(moments):
        ids = [dataset.catalogue.item_ids[row] for row in before[:-1][-dims[0] :]]
        tensor[place, : len(ids)] = ids
    return tensor


def _texts(dataset: Dataset, moments: list[tuple[Rows, int]]) -> Tensor:
    words = (dataset.catalogue.titles[target].split()[:MAX_WORDS] for _, target in moments)
    return np.array([[" ".join(some)] for some in words], dtype=np.object_)
