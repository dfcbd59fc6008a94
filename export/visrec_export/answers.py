"""Asking the graphs of a release as a server would, with one encoder or another, and comparing answers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
from tqdm import tqdm

from visrec_training.checkpoint import Checkpoint
from visrec_training.data import Dataset
from visrec_training.errors import DataError
from visrec_training.fingerprint import differences, without_pictures
from visrec_training.metrics import query_metrics
from visrec_training.prepare import warn
from visrec_training.rows import Ragged, Rows
from visrec_training.split import Split, split

BATCH, TOP = 16, 10
Ids = npt.NDArray[np.object_]
Seen = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]
"""ASPECTS float32 [n, M, d] and MAPS float32 [n, M, 49] of n pictures."""


class Answers:
    """The attention and the fusion scorer of a release: they rank its catalogue for what an encoder sees."""

    def __init__(self, checkpoint: Checkpoint, built: Path) -> None:
        """Load the graphs.

        Args:
            checkpoint: what they were made from.
            built: holds `<model>/model.onnx`.
        """
        self._config = checkpoint.model_config
        self._row_of = {item_id: row for row, item_id in enumerate(checkpoint.item_ids)}
        self._attention = open_graph(built / "attention" / "model.onnx")
        self._scorer = open_graph(built / "fusion_scorer" / "model.onnx")

    def see(self, encoder: Path, pictures: npt.NDArray[np.uint8], doing: str | None = None) -> Seen:
        """Look at pictures, uint8 [n, S, S, 3], with an encoder; `doing` is shown beside the progress."""
        session, seen = open_graph(encoder), []
        with tqdm(total=len(pictures), desc=doing, unit="picture", disable=doing is None) as progress:
            for start in range(0, len(pictures), BATCH):
                (regions,) = session.run(["REGIONS"], {"IMAGE": pictures[start : start + BATCH]})
                seen.append(self._attention.run(["ASPECTS", "MAPS"], {"REGIONS": regions}))
                progress.update(len(regions))
        aspects, maps = zip(*seen, strict=True)
        return np.concatenate(aspects), np.concatenate(maps)

    def rank(self, seen: Seen, history: Ids | None = None) -> Ids:
        """Rank items for pictures.

        Args:
            seen: the pictures.
            history: str [n, L]; None where nobody has one.

        Returns:
            ITEM_ID, str [n, K].
        """
        aspects, maps = seen
        if history is None:
            history = np.full((len(aspects), self._config.history), "", dtype=object)
        text = np.full((len(aspects), 1), "", dtype=object)
        request = {"ASPECTS": aspects, "MAPS": maps, "HISTORY": history, "TEXT": text}
        batches = [slice(start, start + BATCH) for start in range(0, len(aspects), BATCH)]
        answers = [
            self._scorer.run(["ITEM_ID"], {name: tensor[batch] for name, tensor in request.items()})[0]
            for batch in batches
        ]
        return np.concatenate(answers)

    def rows(self, ranked: Ids) -> Rows:
        """The rows of items in the checkpoint's catalogue; -1 where a small one leaves an answer empty."""
        return np.asarray([self._row_of.get(item, -1) for item in ranked.ravel()]).reshape(ranked.shape)


@dataclass(frozen=True, slots=True)
class Questions:
    """What people looked at, what they had chosen before and what they turned to next: n of them."""

    pictures: Rows
    """int64 [n]: positions among the pictures that were looked at."""
    history: Ids
    """str [n, L]."""
    seen: Ragged
    """Items, as rows of the checkpoint's catalogue, that are no answer: the history and what they look at."""
    targets: Ragged
    """The right answers, one or more a question."""

    def __len__(self) -> int:
        return len(self.targets)


def read_questions(checkpoint: Checkpoint, dataset: Dataset, rows: Rows) -> Questions:
    """The test queries of the data, warm and cold, in which one of some pictures is looked at.

    Where the data says itself what measures, nobody looks at a picture, and there are none.

    Args:
        checkpoint: knows how its training split the data.
        dataset: what it was trained on; other data has no queries.
        rows: catalogue rows of the pictures.
    """
    pictures: list[int] = []
    history: list[Ids] = []
    seen: list[Rows] = []
    targets: list[Rows] = []
    parts = _held_out(checkpoint, dataset)
    if parts is not None:
        ids = np.asarray(checkpoint.item_ids, dtype=object)
        place = {dataset.catalogue.item_ids[row]: position for position, row in enumerate(rows)}
        for asked in (parts.test, parts.cold):
            for query in np.flatnonzero(asked.viewed >= 0):
                viewed = ids[asked.viewed[query]]
                if viewed in place:
                    pictures.append(place[viewed])
                    history.append(_pad(ids[asked.histories[query]], checkpoint.model_config.history))
                    seen.append(asked.seen[query])
                    targets.append(asked.targets[query])
    told = np.asarray(history, dtype=object)
    return Questions(np.asarray(pictures, dtype=np.int64), told, Ragged.of(seen), Ragged.of(targets))


def _held_out(checkpoint: Checkpoint, dataset: Dataset) -> Split | None:
    """How training split the data; None, with a warning, if the data is not what the checkpoint knows."""
    config, known = checkpoint.train_config, set(checkpoint.item_ids)
    others = {row: name for row, name in enumerate(dataset.catalogue.item_ids) if name not in known}
    try:
        dataset = dataset.without_broken(others)  # what training left out
    except DataError:  # too many for training to have left them out
        warn(["NDCG@10 is not measured: the data holds items that the checkpoint was not trained on"])
        return None
    parts = split(dataset, cold_share=config.cold_share, seed=config.seed)
    if differing := differences(checkpoint.fingerprint, without_pictures(dataset, parts)):
        warn(
            [f"NDCG@10 is not measured: the checkpoint was trained on other data (what differs: {differing})"]
        )
        return None
    return parts


def _pad(history: Ids, length: int) -> Ids:
    recent = history[-length:]
    return np.concatenate([recent, np.full(length - len(recent), "", dtype=object)])


def overlap(ours: Ids, theirs: Ids) -> float:
    """How many of the top 10 are the same, on average, whatever their order: 0 to 1."""
    pairs = zip(ours[:, :TOP], theirs[:, :TOP], strict=True)
    return float(np.mean([len({*mine} & {*other}) / len({*other}) for mine, other in pairs]))


def compare_ndcg(answers: Answers, ours: Seen, theirs: Seen, questions: Questions) -> dict[str, float]:
    """NDCG@10 where two encoders saw the pictures of the same questions.

    Args:
        answers: rank.
        ours: what one encoder sees in the pictures.
        theirs: what the other does.
        questions: ask about them.

    Returns:
        `queries`; NDCG@10 of `ours` and of `theirs`; the `change` from theirs to ours and its `standard
        error` (of paired differences), both as shares of theirs. Empty where nothing can be compared.
    """
    mine, other = (_gains(answers, seen, questions) for seen in (ours, theirs))
    if not other.any():
        return {}
    base = float(other.mean())
    change = (mine - other) / base
    return {
        "queries": len(questions),
        "ours": float(mine.mean()),
        "theirs": base,
        "change": float(change.mean()),
        "standard error": float(change.std() / len(change) ** 0.5),
    }


def _gains(answers: Answers, seen: Seen, questions: Questions) -> npt.NDArray[np.float64]:
    """NDCG@10 of each question: float64 [n]."""
    if not len(questions):
        return np.zeros(0)
    aspects, maps = seen
    ranked = answers.rank((aspects[questions.pictures], maps[questions.pictures]), questions.history)
    best = np.full((len(questions), TOP), -1, dtype=np.int64)
    for question, (items, known) in enumerate(zip(answers.rows(ranked), questions.seen, strict=True)):
        new = items[(items >= 0) & ~np.isin(items, known)][:TOP]
        best[question, : len(new)] = new
    return query_metrics(best, questions.targets)[f"ndcg@{TOP}"]


def open_graph(path: Path) -> onnxruntime.InferenceSession:
    """Open an ONNX file on the CPU."""
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
