"""LitServe with onnxruntime: a worker a core, each batching what waits."""

import os
from typing import Any

import litserve
from benchmarks.serving.peers.request import Tensors, answers, pipeline, stack, tensors
from fastapi import Request


class Recommend(litserve.LitAPI):
    """Decode, batch, run, take apart."""

    def setup(self, device: str) -> None:
        """Load the graphs in a worker."""
        self.run = pipeline()

    def decode_request(self, request: Request) -> Tensors:
        """From JSON to tensors; what is declared as a Request arrives as the object that was in it."""
        return tensors(request)

    def batch(self, inputs: list[Tensors]) -> Tensors:
        """Make one batch."""
        return stack(inputs)

    def predict(self, batch: Tensors) -> Tensors:
        """Run the graphs."""
        return self.run(batch)

    def unbatch(self, output: Tensors) -> list[dict[str, Any]]:
        """Take a batch apart."""
        return answers(output)

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        """Hand an answer on."""
        return output


if __name__ == "__main__":
    api = Recommend(max_batch_size=8, batch_timeout=0.005, api_path="/recommend")
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=int(os.environ["PEER_WORKERS"]))
    server.run(
        host="127.0.0.1", port=int(os.environ["PEER_PORT"]), generate_client_file=False, log_level="warning"
    )
