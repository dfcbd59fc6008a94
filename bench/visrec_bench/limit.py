"""The limit: the same graphs, called in this process, with no server around them.

No server can be faster than its graphs. What a server reaches of this figure, measured in the same run on the
same machine, tells how much the server itself costs.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from visrec_bench.errors import BenchError
from visrec_serving.repository import versions

BATCHES = (1, 2, 4, 8, 16, 32)
SEARCH_SECONDS = 1.0
"""How long each arrangement is tried before the best is measured."""
Tensors: TypeAlias = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrangement:
    """How the cores and the requests are shared out."""

    workers: int
    """Pipelines that run side by side, each with sessions of its own."""
    threads: int
    """Of onnxruntime, in each."""
    batch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """What the graphs do without a server."""

    throughput: float
    """Requests a second in the best arrangement."""
    arrangement: Arrangement
    """The best one."""
    p50_ms: float
    """One request at a time, with the threads that the repository's configs give each model."""


class Pipeline:
    """The graphs behind a model of a repository: its own, or an ensemble's steps one after the other."""

    def __init__(self, repository: Path, model: str, *, threads: int | None = None) -> None:
        """Load the graphs.

        Args:
            repository: holds config.pbtxt and exported versions.
            model: its name.
            threads: of onnxruntime, for each graph, spinning while they wait; None for what the configs say.

        Raises:
            BenchError: a config or a graph is missing or broken.
        """
        config = _read_config(repository, model)
        self._steps = [_Step(repository, step, threads) for step in config.ensemble_scheduling.step] or [
            _Step(repository, _alone(config), threads)
        ]
        self.outputs = [output.name for output in config.output]

    def __call__(self, feeds: Tensors) -> dict[str, npt.NDArray[Any]]:
        """Answer a batch of requests.

        Args:
            feeds: each input of the model, [batch, *dims]; STRING as object arrays of str.

        Returns:
            Each output of the model, [batch, *dims].
        """
        tensors = dict(feeds)
        for step in self._steps:
            tensors |= step(tensors)
        return {name: tensors[name] for name in self.outputs}


class _Step:
    """One graph, with the ensemble's names for its tensors."""

    def __init__(self, repository: Path, step: Any, threads: int | None) -> None:  # noqa: ANN401  (protobuf)
        name = step.model_name
        self._inputs, self._outputs = dict(step.input_map), dict(step.output_map)
        path = repository / name / str(_version(repository / name, step.model_version)) / "model.onnx"
        options = _as_configured(_read_config(repository, name)) if threads is None else _spinning(threads)
        options.log_severity_level = 3
        try:
            self._session = ort.InferenceSession(path, options, ["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's errors have no common type
            raise BenchError(f"{path} can't be loaded: {str(error).splitlines()[0]}") from error

    def __call__(self, tensors: Tensors) -> dict[str, npt.NDArray[Any]]:
        feeds = {own: tensors[name] for own, name in self._inputs.items()}
        results = self._session.run(list(self._outputs), feeds)
        return dict(zip(self._outputs.values(), results, strict=True))


def measure_limit(repository: Path, model: str, requests: Tensors, *, cores: int, seconds: float) -> Limit:
    """Measure what the graphs do in this process.

    Args:
        repository: the model repository that is served.
        model: the model that is asked.
        requests: its inputs, [n, *dims], n at least the largest batch.
        cores: how many the graphs may use.
        seconds: how long the best arrangement is measured; finding it takes some seconds more.

    Raises:
        BenchError: a graph is missing or broken, or there are too few requests.
    """
    count = len(next(iter(requests.values())))
    if count < max(BATCHES):
        raise BenchError(f"{count} requests are too few to find the best batch: {max(BATCHES)} are needed")
    tried: dict[Arrangement, float] = {}
    pipelines: dict[int, list[Pipeline]] = {}
    for workers in sorted({1, cores}):
        threads = cores // workers
        pipelines[workers] = [Pipeline(repository, model, threads=threads) for _ in range(workers)]
        for batch in BATCHES:
            arrangement = Arrangement(workers=workers, threads=threads, batch=batch)
            tried[arrangement] = _throughput(pipelines[workers], requests, batch, SEARCH_SECONDS)
    best = max(tried, key=tried.__getitem__)
    return Limit(
        throughput=_throughput(pipelines[best.workers], requests, best.batch, seconds),
        arrangement=best,
        p50_ms=_unloaded(Pipeline(repository, model), requests, seconds),
    )


def _throughput(pipelines: list[Pipeline], requests: Tensors, batch: int, seconds: float) -> float:
    """Requests a second that pipelines answer side by side."""
    answered = [0] * len(pipelines)
    for pipeline in pipelines:  # the first run of a batch size allocates
        pipeline(next(_batches(requests, batch)))
    start = time.perf_counter()

    def work(worker: int) -> None:
        for feeds in _batches(requests, batch):
            pipelines[worker](feeds)
            answered[worker] += batch
            if time.perf_counter() - start >= seconds:
                return

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(len(pipelines))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(answered) / (time.perf_counter() - start)


def _unloaded(pipeline: Pipeline, requests: Tensors, seconds: float) -> float:
    """Median time of one request at a time, in milliseconds."""
    times: list[float] = []
    pipeline(next(_batches(requests, 1)))
    stop = time.perf_counter() + seconds
    for feeds in _batches(requests, 1):
        start = time.perf_counter()
        pipeline(feeds)
        times.append(time.perf_counter() - start)
        if start >= stop:
            break
    return 1000 * float(np.median(times))


def _batches(requests: Tensors, batch: int) -> Iterator[dict[str, npt.NDArray[Any]]]:
    """Batches of requests, over and over."""
    count = len(next(iter(requests.values())))
    starts = range(0, count - batch + 1, batch)
    for start in itertools.cycle(starts):
        yield {name: tensor[start : start + batch] for name, tensor in requests.items()}


def _as_configured(config: Any) -> ort.SessionOptions:  # noqa: ANN401  (a protobuf message)
    """What a config says about threads, as the server reads it."""
    parameters = {name: value.string_value for name, value in config.parameters.items()}
    options = ort.SessionOptions()
    options.intra_op_num_threads = int(parameters.get("intra_op_thread_count", 0))
    options.inter_op_num_threads = int(parameters.get("inter_op_thread_count", 0))
    for name, value in parameters.items():
        if name.startswith("session."):
            options.add_session_config_entry(name, value)
    return options


def _spinning(threads: int) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    return options


def _read_config(repository: Path, model: str) -> Any:  # noqa: ANN401  (a protobuf message)
    path = repository / model / "config.pbtxt"
    try:
        return text_format.Parse(path.read_text("utf-8"), model_config_pb2.ModelConfig())
    except OSError as error:
        raise BenchError(f"no model '{model}' in {repository}: give the folder that is served") from error
    except text_format.ParseError as error:
        raise BenchError(f"{path} can't be read: {error}") from error


def _alone(config: Any) -> Any:  # noqa: ANN401  (protobuf messages)
    """A model that is no ensemble, as the only step of one."""
    step = model_config_pb2.ModelEnsembling.Step(model_name=config.name, model_version=-1)
    step.input_map.update({tensor.name: tensor.name for tensor in config.input})
    step.output_map.update({tensor.name: tensor.name for tensor in config.output})
    return step


def _version(folder: Path, wanted: int) -> int:
    numbers = versions(folder) if folder.is_dir() else []
    if not numbers or (wanted > 0 and wanted not in numbers):
        raise BenchError(f"{folder} lacks the version that is served: run `visrec export` first")
    return wanted if wanted > 0 else numbers[-1]
