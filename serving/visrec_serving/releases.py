"""The releases that a model repository holds, and the proof that one is whole.

A release is a version of each model, `release-N.json` with what is known about it, `canary-N.npz`, and
`catalogue-N.npz` where items came or went since training. The report is written last: without one there is no
release.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import DataType, ModelConfig

from visrec_serving.errors import ReleaseRefused
from visrec_serving.pins import FUSED, MODELS

ONNX_TYPES = {"TYPE_FP32": "tensor(float)", "TYPE_FP16": "tensor(float16)"}  # the others have one name


@dataclass(frozen=True, slots=True)
class Release:
    """One release in a repository."""

    repository: Path
    number: int
    report: Mapping[str, Any]
    """What `release-N.json` holds."""

    @property
    def canary(self) -> Path:
        """Its real requests."""
        return self.repository / f"canary-{self.number}.npz"

    @property
    def catalogue(self) -> Path | None:
        """The items that it ranks, where these are not its checkpoint's."""
        path = self.repository / f"catalogue-{self.number}.npz"
        return path if path.is_file() else None

    @property
    def fused(self) -> Path | None:
        """Its fused graph, if it has one."""
        graph = graph_path(self.repository, FUSED, self.number)
        return graph if graph.is_file() else None

    def verify(self) -> None:
        """Make sure that every file is the one that was exported, and that its graphs load.

        Triton would notice as well, but its readiness then stays "no" although the old release answers.

        Raises:
            ReleaseRefused: a file is missing or changed, or a graph can't be loaded or has other tensors than
                its config says.
        """
        for name, digest in self.report["digests"].items():
            path = self.repository / name
            if not path.is_file():
                raise ReleaseRefused(f"{name} is missing: export again")
            if file_digest(path) != digest:
                raise ReleaseRefused(f"{name} is not what was exported (its SHA-256 differs): export again")
        for model in (*MODELS, FUSED) if self.fused else MODELS:
            check_graph(self.repository, model, self.number)


def find(repository: Path) -> dict[int, Release]:
    """All releases by number, oldest first.

    Raises:
        ReleaseRefused: a report can't be read.
    """
    named = (re.fullmatch(r"release-(\d+)\.json", path.name) for path in repository.glob("release-*.json"))
    return {number: read(repository, number) for number in sorted(int(name[1]) for name in named if name)}


def read(repository: Path, number: int) -> Release:
    """One release.

    Raises:
        ReleaseRefused: there is none of this number, or its report can't be read.
    """
    path = repository / f"release-{number}.json"
    try:
        report = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise ReleaseRefused(f"{repository} holds no release {number}: `visrec status` lists them") from None
    except (OSError, ValueError) as error:
        raise ReleaseRefused(f"{path} can't be read: {error}") from error
    if not isinstance(report, dict) or "digests" not in report:
        raise ReleaseRefused(f"{path} names no digests of its files: export again")
    return Release(repository, number, report)


def graph_path(repository: Path, model: str, number: int) -> Path:
    """Where a version's graph lies."""
    return repository / model / str(number) / "model.onnx"


def file_digest(path: Path) -> str:
    """`sha256:` and the hexadecimal digest of a file."""
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def check_graph(repository: Path, model: str, number: int) -> None:
    """Load a graph once, on the CPU, and compare its tensors with the model's config.

    Raises:
        ReleaseRefused: it can't be loaded, or a tensor differs.
    """
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3  # errors
    path = graph_path(repository, model, number)
    try:
        session = onnxruntime.InferenceSession(path, options, ["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no common type
        raise ReleaseRefused(f"{model}/{number} can't be loaded: {' '.join(str(error).split())}") from error
    config = text_format.Parse((repository / model / "config.pbtxt").read_text("utf-8"), ModelConfig())
    for kind, wanted, found in (
        ("input", config.input, session.get_inputs()),
        ("output", config.output, session.get_outputs()),
    ):
        actual = {tensor.name: (tensor.type, list(tensor.shape[1:])) for tensor in found}
        named = {tensor.name: (_onnx_type(tensor.data_type), list(tensor.dims)) for tensor in wanted}
        for name in sorted(actual.keys() | named.keys()):
            if actual.get(name) != named.get(name):
                raise ReleaseRefused(
                    f"{model}/{number} has {_form(actual.get(name))} as {kind} {name},"
                    f" its config {_form(named.get(name))}"
                )


def _onnx_type(data_type: int) -> str:
    name = DataType.Name(data_type)
    return ONNX_TYPES.get(name, f"tensor({name.removeprefix('TYPE_').lower()})")


def _form(tensor: tuple[str, list[int]] | None) -> str:
    return "nothing" if tensor is None else f"{tensor[0]} {tensor[1]}"
