"""Real requests that a release carries, with what its own graphs answered when it was made.

A server that gives other answers, on whatever hardware, does not serve that release as it was measured.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

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
    text: npt.NDArray[np.int64]
    """int64 [n, T]."""
    item_id: npt.NDArray[np.str_]
    """str [n, 10], best first; "" where a small catalogue has no more."""
    score: npt.NDArray[np.float32]
    """float32 [n, 10]."""

    @classmethod
    def load(cls, path: Path) -> CanaryRequests:
        """Read them; nothing in the file is executed.

        Raises:
            ReleaseRefused: the file is missing or damaged.
        """
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return cls(**arrays)
        except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise ReleaseRefused(f"{path} is missing or damaged: {error}") from error

    def save(self, path: Path) -> None:
        """Write them, compressed."""
        np.savez_compressed(path, **asdict(self))

    def inputs(self) -> dict[str, npt.NDArray[Any]]:
        """The tensors of `recommender`, as tritonclient takes them."""
        encoded = [word.encode() for word in self.history.ravel().tolist()]
        history = np.array(encoded, dtype=object).reshape(self.history.shape)
        return {"IMAGE": self.image, "HISTORY": history, "TEXT": self.text}

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


def _text(item_id: bytes | str) -> str:
    return item_id.decode(errors="replace") if isinstance(item_id, bytes) else item_id
