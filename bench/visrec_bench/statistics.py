"""Where the time of a request goes inside Triton, from its own statistics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from tritonclient.grpc import InferenceServerClient
from tritonclient.utils import InferenceServerException

from visrec_client.status import error_from_call

_DURATIONS = ("queue", "compute_input", "compute_infer", "compute_output")
_Counters: TypeAlias = dict[str, float]
Snapshot: TypeAlias = Mapping[tuple[str, str], _Counters]
"""Counters since the server started, by model and version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTimes:
    """One model's share of the requests between two snapshots; means a request, in milliseconds."""

    requests: int
    total_ms: float
    """From arrival at this model to its answer."""
    queue_ms: float
    """Waiting for its batch to start."""
    input_ms: float
    infer_ms: float
    output_ms: float
    """Taking the inputs apart, computing, handing on the outputs: of the whole batch that the request is in.
    A Python-based backend, such as the embedded server's, counts all three as computing."""
    batch: float
    """Requests in a batch."""


class Connection:
    """A connection to a server about itself."""

    def __init__(self, url: str) -> None:
        """Prepare a connection to host:port of gRPC."""
        self._url, self._client = url, InferenceServerClient(url)

    def input_shapes(self, model: str) -> dict[str, list[int]]:
        """Ask which inputs a model takes: dims without the batch.

        Raises:
            VisrecError: no server answers, or it does not have the model.
        """
        metadata, config = self._ask("get_model_metadata", model), self._ask("get_model_config", model)
        batched = config.config.max_batch_size > 0
        return {tensor.name: list(tensor.shape)[int(batched) :] for tensor in metadata.inputs}

    def snapshot(self) -> Snapshot:
        """Read the counters of all models."""
        return {
            (model.name, model.version): {
                "count": model.inference_stats.success.count,
                "total": model.inference_stats.success.ns,
                "executions": model.execution_count,
                "inferences": model.inference_count,
                **{name: getattr(model.inference_stats, name).ns for name in _DURATIONS},
            }
            for model in self._ask("get_inference_statistics").model_stats
        }

    def _ask(self, method: str, *words: str) -> Any:  # noqa: ANN401  (a protobuf message)
        try:
            return getattr(self._client, method)(*words, client_timeout=10)
        except InferenceServerException as error:
            raise error_from_call(error, self._url) from error


def step_times(before: Snapshot, after: Snapshot) -> dict[str, StepTimes]:
    """What each model did between two snapshots, by name; models that did nothing are left out.

    Versions of a model are taken together.
    """
    totals: dict[str, _Counters] = {}
    for key, counters in after.items():
        earlier = before.get(key, {})
        total = totals.setdefault(key[0], dict.fromkeys(counters, 0.0))
        for name, value in counters.items():
            total[name] += value - earlier.get(name, 0)
    return {name: _times(total) for name, total in sorted(totals.items()) if total["count"] > 0}


def _times(total: _Counters) -> StepTimes:
    def mean(name: str) -> float:
        return total[name] / total["count"] / 1e6

    return StepTimes(
        requests=int(total["count"]),
        total_ms=mean("total"),
        queue_ms=mean("queue"),
        input_ms=mean("compute_input"),
        infer_ms=mean("compute_infer"),
        output_ms=mean("compute_output"),
        batch=total["inferences"] / max(total["executions"], 1),
    )
