"""What each query of an evaluation reached, kept beside the checkpoint so that runs can be compared.

Of people, positions in the data are kept and nothing else: without the data they say nothing about anybody.
"""

from __future__ import annotations

import json
import zipfile
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from visrec_training.errors import EvaluationError
from visrec_training.files import write_beside
from visrec_training.fingerprint import of_section
from visrec_training.metrics import Values
from visrec_training.queries import Section
from visrec_training.rows import Rows

QUERY_RESULTS = "evaluation.npz"
"""The file that keeps them, beside the checkpoint that they tell of."""
METRICS = ("ndcg@10", "recall@20")
FORMAT = 1
_ABOUT = "about"


class SectionResults(NamedTuple):
    """What the n queries of a section reached."""

    people: Rows
    """int64 [n]: who asked, a position in the data."""
    questions: str
    """Names exactly what was asked: `fingerprint.of_section`."""
    reached: dict[str, Values]
    """Row → float64 [n, 2], a column for each of `METRICS`."""

    @classmethod
    def of(cls, section: Section, measured: dict[str, dict[str, Values]]) -> SectionResults:
        """Keep what `query_metrics` gave for each row of a section."""
        reached = {
            row: np.stack([metrics[name] for name in METRICS], axis=1) for row, metrics in measured.items()
        }
        return cls(section.queries.users, of_section(section), reached)


def save(path: Path, checkpoint: str, sections: dict[str, SectionResults]) -> None:
    """Write what was measured of a checkpoint, which its digest names, whole or not at all.

    Raises:
        VisrecError: the file can't be written.
    """
    about = {
        "format": FORMAT,
        "checkpoint": checkpoint,
        "sections": {
            name: {"questions": each.questions, "rows": list(each.reached)} for name, each in sections.items()
        },
    }
    arrays: dict[str, npt.NDArray[Any]] = {_ABOUT: np.asarray(json.dumps(about))}
    for name, each in sections.items():
        arrays[f"{name}|people"] = each.people.astype(np.int32)
        arrays[f"{name}|reached"] = np.stack(list(each.reached.values())).astype(np.float32)
    write_beside(path, partial(_save, arrays))


def load(path: Path, checkpoint: str) -> dict[str, SectionResults]:
    """Read what was measured of a checkpoint, which its digest names: a part for each section.

    Raises:
        EvaluationError: there is no such file, it is damaged, or it tells of another checkpoint.
    """
    if not path.is_file():
        raise EvaluationError(f"{path} is missing: run `visrec evaluate` on the checkpoint beside it first")
    try:
        with np.load(path, allow_pickle=False) as stored:
            about = json.loads(str(stored[_ABOUT]))
            if (about["format"], about["checkpoint"]) != (FORMAT, checkpoint):
                raise EvaluationError(
                    f"{path} tells of another checkpoint than the one beside it, or another version of visrec"
                    " wrote it: run `visrec evaluate` on that checkpoint again"
                )
            return {
                name: SectionResults(
                    stored[f"{name}|people"].astype(np.int64),
                    each["questions"],
                    dict(zip(each["rows"], stored[f"{name}|reached"].astype(np.float64), strict=True)),
                )
                for name, each in about["sections"].items()
            }
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise EvaluationError(f"{path} is damaged: run `visrec evaluate` again ({error!r})") from error


def _save(arrays: dict[str, npt.NDArray[Any]], path: Path) -> None:
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)
