"""FastAPI with onnxruntime in its workers: a process a core, as FastAPI's page on deployment advises."""

from __future__ import annotations

from typing import Annotated, Any

from benchmarks.serving.peers.request import answers, pipeline, tensors
from fastapi import Body, FastAPI

app = FastAPI()
run = pipeline()


@app.post("/recommend")
def recommend(request: Annotated[dict[str, Any], Body()]) -> dict[str, Any]:
    """Answer one request; a plain function, so FastAPI runs it in a thread and goes on listening."""
    return answers(run(tensors(request)))[0]
