"""BentoML with onnxruntime: a worker a core, with its adaptive batching."""

from __future__ import annotations

import os
from typing import Any

import bentoml
from benchmarks.serving.peers.request import answers, pipeline, stack, tensors


@bentoml.service(
    workers=int(os.environ["PEER_WORKERS"]), traffic={"timeout": 60}, logging={"access": {"enabled": False}}
)
class Recommend:
    """The graphs as a service."""

    def __init__(self) -> None:
        """Load the graphs in a worker."""
        self.run = pipeline()

    @bentoml.api(batchable=True, route="/recommend", max_batch_size=8, max_latency_ms=60_000)
    def recommend(self, requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Answer a batch of requests."""
        return answers(self.run(stack([tensors(request) for request in requests])))
