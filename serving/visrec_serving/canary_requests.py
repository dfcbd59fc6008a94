"""Real requests that a release carries, with what its own graphs answered when it was made.

A server that gives other answers, on whatever hardware, does not serve that release as it was measured.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tritonclient.grpc.model_config_pb2 import DataType, ModelConfig
from tritonclient.utils import triton_to_np_dtype

from visrec_serving.errors import ReleaseRefused

TOP = 10
TOLERANCE = 0.01
"""Relative difference of a score: more than other hardware's rounding, less than another encoder's."""


@dataclass(frozen=True, slots=True)
class CanaryRequests:
    """n requests and the best of their answers."""

    image: npt.NDArray[np.uint8]
    """uint8 [n, S, S, 3]."""
    history: npt.NDArray[np.str_]
    """str [n, L]."""
    text: npt.NDArray[np.str_]
    """str [n, 1]."""
    item_id: npt.NDArray[np.str_]
    """str [n, 10], best first; "" where a small catalogue has no more."""
    score: npt.NDArray[np.float32]
    """float32 [n, 10]."""

    @classmethod
    def load(cls, path: Path) -> CanaryRequests:
        """Read them; nothing in the file is executed.

        Raises:
            ReleaseRefused: the file is missing, damaged, or of a release that takes no raw texts.
        """
        try:
            with np.load(path, allow_pickle=False) as arrays:
                requests = cls(**arrays)
        except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise ReleaseRefused(f"{path} is missing or damaged: {error}") from error
        if requests.text.dtype.kind != "U":
            raise ReleaseRefused(
                f"{path} is of a release that takes hashes of words, made by an earlier version of visrec: "
                "train and export again"
            )
        return requests

    def save(self, path: Path) -> None:
        """Write them, compressed."""
        np.savez_compressed(path, **asdict(self))

    def inputs(self) -> dict[str, npt.NDArray[Any]]:
        """The tensors of `recommender`, as tritonclient takes them."""
        return {"IMAGE": self.image, "HISTORY": _encoded(self.history), "TEXT": _encoded(self.text)}

    def fault(self, answer: Mapping[str, npt.NDArray[Any]], release: int) -> str | None:
        """Compare an answer with what it should be; which of two equal scores comes first does not matter.

        Args:
            answer: ITEM_ID as bytes or text, SCORE and RELEASE, [n, …].
            release: the number that it has to carry.

        Returns:
            What is wrong, in a few words; None if nothing is.
        """
        if (others := set(answer["RELEASE"].ravel().tolist()) - {release}) != set():
            return f"release {', '.join(map(str, sorted(others)))} answers"
        for row, (ids, scores) in enumerate(zip(self.item_id, self.score, strict=True)):
            given = dict(zip(map(_text, answer["ITEM_ID"][row]), answer["SCORE"][row].tolist(), strict=True))
            for item_id, score in zip(ids.tolist(), scores.tolist(), strict=True):
                if not abs(given.get(item_id, 0.0) - score) <= TOLERANCE * score:
                    got = f"scores {given[item_id]:.6f}" if item_id in given else "is not in the answer"
                    return f"canary request {row + 1}: {item_id} should score {score:.6f} but {got}"
        return None


def empty_request(config: ModelConfig) -> dict[str, npt.NDArray[Any]]:
    """One request for a model that says nothing: zeros, and texts that are empty."""
    return {tensor.name: _zeros(tensor.data_type, tensor.dims) for tensor in config.input}


def _zeros(data_type: int, dims: Sequence[int]) -> npt.NDArray[Any]:
    kind = DataType.Name(data_type).removeprefix("TYPE_")
    if kind == "STRING":
        return np.full([1, *dims], b"", dtype=object)
    return np.zeros([1, *dims], triton_to_np_dtype(kind))


def _encoded(texts: npt.NDArray[np.str_]) -> npt.NDArray[np.object_]:
    return np.array([text.encode() for text in texts.ravel().tolist()], dtype=object).reshape(texts.shape)


def _text(item_id: bytes | str) -> str:
    return item_id.decode(errors="replace") if isinstance(item_id, bytes) else item_id
