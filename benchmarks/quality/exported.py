"""The same figures from what is served: the exported graphs in onnxruntime, and a running server."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
from tqdm import tqdm

from visrec_client.recommender import Recommender
from visrec_export.release import export_release
from visrec_serving import Server, ServerConfig
from visrec_training.checkpoint import Checkpoint
from visrec_training.config import REGIONS
from visrec_training.metrics import ranking_metrics
from visrec_training.prepare import Prepared
from visrec_training.queries import Section
from visrec_training.retrieval import Modalities, rank_scores
from visrec_training.rows import Rows
from visrec_training.served import Served

ASKED_OF_SERVER = 500
BATCH = 32
Figures = dict[str, dict[str, dict[str, float]]]


def agreement(checkpoint: Path, served: Served, prepared: Prepared, cache: Path) -> Figures:
    """Export a checkpoint, and measure it where it is used.

    Returns:
        Row → `PyTorch`, `onnxruntime`, and for the first 500 people `PyTorch, 500` and `server, 500` →
        metric → value.
    """
    loaded = _answering_all(Checkpoint.load(checkpoint))
    figures: Figures = {}
    with tempfile.TemporaryDirectory() as folder:
        repository = Path(folder)
        release = export_release(loaded, prepared.dataset, repository, cache=cache, keep=1, requests=16)
        graph = repository / "fusion_scorer" / str(release.number) / "model.onnx"
        session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
        with (
            Server(ServerConfig(repository=repository)) as server,
            Recommender(server.grpc_url, timeout=60) as client,
        ):
            for name, section in prepared.split.sections().items():
                few = section.first(ASKED_OF_SERVER)
                history = Modalities(history=True)
                rankings = {
                    "PyTorch": (section, served.rank(section, history).rows),
                    "onnxruntime": (section, _ask_graph(session, loaded, section)),
                    f"PyTorch, {ASKED_OF_SERVER}": (few, served.rank(few, history).rows),
                    f"server, {ASKED_OF_SERVER}": (few, _ask_server(client, loaded, few)),
                }
                figures[name] = {
                    who: ranking_metrics(rows, asked.queries.targets)
                    for who, (asked, rows) in rankings.items()
                }
    return figures


def _answering_all(checkpoint: Checkpoint) -> Checkpoint:
    """With answers of all items: what an answer doesn't hold can't be ranked among some of them."""
    config = dataclasses.replace(checkpoint.model_config, top_k=len(checkpoint.item_ids))
    return dataclasses.replace(checkpoint, model_config=config)


def _ask_graph(session: onnxruntime.InferenceSession, checkpoint: Checkpoint, section: Section) -> Rows:
    config = checkpoint.model_config
    scores = np.full((len(section.queries), len(checkpoint.item_ids)), -np.inf, dtype=np.float32)
    row_of = {item_id: row for row, item_id in enumerate(checkpoint.item_ids)}
    for start in tqdm(range(0, len(section.queries), BATCH), desc="onnxruntime", leave=False):
        histories = section.queries.histories[start : start + BATCH]
        sent = np.full((len(histories), config.history), "", dtype=object)
        for row, items in enumerate(histories):
            recent = [checkpoint.item_ids[item] for item in items[-config.history :]]
            sent[row, : len(recent)] = recent
        ids, given = session.run(
            ["ITEM_ID", "SCORE"],
            {
                "ASPECTS": np.zeros((len(sent), config.aspects, config.aspect_dim), dtype=np.float32),
                "MAPS": np.zeros((len(sent), config.aspects, REGIONS), dtype=np.float32),
                "HISTORY": sent,
                "TEXT": np.full((len(sent), 1), "", dtype=object),
            },
        )
        for row in range(len(sent)):
            _enter(scores[start + row], ids[row], given[row], row_of)
    return rank_scores(scores, section)


def _ask_server(client: Recommender, checkpoint: Checkpoint, section: Section) -> Rows:
    row_of = {item_id: row for row, item_id in enumerate(checkpoint.item_ids)}
    scores = np.full((len(section.queries), len(checkpoint.item_ids)), -np.inf, dtype=np.float32)
    for row, items in enumerate(tqdm(section.queries.histories, desc="server", leave=False)):
        sent = [checkpoint.item_ids[item] for item in items]
        answer = client.recommend(history=sent, k=checkpoint.model_config.top_k).items
        _enter(scores[row], [item.item_id for item in answer], [item.score for item in answer], row_of)
    return rank_scores(scores, section)


def _enter(
    scores: npt.NDArray[np.float32], ids: list[str], given: list[float], row_of: dict[str, int]
) -> None:
    """Note an answer down; what it doesn't hold is not ranked."""
    for item_id, score in zip(ids, given, strict=True):
        if item_id in row_of:
            scores[row_of[item_id]] = score
