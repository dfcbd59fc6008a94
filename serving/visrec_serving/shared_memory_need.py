"""How much shared memory the Python backend takes for models, by their configs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import DataType, ModelConfig
from tritonclient.utils import triton_to_np_dtype

from visrec_serving.repository import config_path

REGION = 2**20
"""A region starts with so much, and grows by it."""
STRING = 64
"""Bytes of a string, as far as can be guessed: an item id, or what somebody typed."""


@dataclass(frozen=True, slots=True)
class Need:
    """Bytes."""

    largest: int
    """Of one instance's region: what replaces a killed process takes its own before the old one goes."""
    total: int
    """While a release is switched: Triton loads both versions beside the one that answers."""

    @classmethod
    def of(cls, repository: Path, models: tuple[str, ...], config_name: str | None) -> Need:
        """Add up a repository's models.

        Args:
            repository: the folder.
            models: those that are loaded.
            config_name: as in `ServerConfig.model_config_name`.
        """
        largest = total = 0
        for model in models:
            path = config_path(repository, model, config_name)
            try:
                config = text_format.Parse(path.read_text("utf-8"), ModelConfig())
            except text_format.ParseError:
                continue  # Triton tells, with the line
            if config.HasField("ensemble_scheduling"):
                continue
            region = REGION * max(1, math.ceil(_batch_bytes(config) / REGION))
            instances = sum(max(group.count, 1) * max(len(group.gpus), 1) for group in config.instance_group)
            largest = max(largest, region)
            total += max(instances, 1) * 3 * region
        return cls(largest, total)


def _batch_bytes(config: ModelConfig) -> int:
    """The tensors of the largest batch, there and back."""
    tensors = (*config.input, *config.output)
    each = sum(_width(tensor.data_type) * math.prod(max(dim, 1) for dim in tensor.dims) for tensor in tensors)
    return max(config.max_batch_size, 1) * each


def _width(data_type: int) -> int:
    kind = DataType.Name(data_type).removeprefix("TYPE_")
    return STRING if kind == "STRING" else np.dtype(triton_to_np_dtype(kind)).itemsize
