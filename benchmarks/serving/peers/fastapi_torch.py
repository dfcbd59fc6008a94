"""FastAPI with the PyTorch model in its workers: what most people write first."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from benchmarks.serving.peers.request import THREADS, answers, tensors
from fastapi import Body, FastAPI

from visrec_training.checkpoint import Checkpoint
from visrec_training.retrieval import Typed

torch.set_num_threads(THREADS)
app = FastAPI()
checkpoint = Checkpoint.load(Path(os.environ["PEER_CHECKPOINT"]))
model = checkpoint.model().eval()
scorer = checkpoint.fusion_scorer(model).eval()
row_of = {item_id: row for row, item_id in enumerate(checkpoint.item_ids)}
ids = np.asarray([*checkpoint.item_ids, ""], dtype=np.object_)


@app.post("/recommend")
def recommend(request: Annotated[dict[str, Any], Body()]) -> dict[str, Any]:
    """Answer one request; a plain function, so FastAPI runs it in a thread and goes on listening."""
    given = tensors(request)
    history = np.asarray([[row_of.get(item_id, -1) for item_id in given["HISTORY"][0]]])
    typed = Typed.read([request["text"]], checkpoint.vocabulary, checkpoint.model_config)
    with torch.inference_mode():
        aspects, maps = model.attention(model.encoder(torch.from_numpy(given["IMAGE"])))
        rows, scores, _ = scorer(aspects, maps, torch.from_numpy(history), *typed.tensors())
    return answers({"ITEM_ID": ids[rows.numpy()], "SCORE": scores.numpy()})[0]
