"""Runs `<version>/model.onnx` where Triton has no C++ onnxruntime backend.

Triton looks for `libtriton_onnxruntime.so` first and for this file second, so one model repository serves
NVIDIA's container and the embedded server. What the C++ backend reads in config.pbtxt is read here under the
same names, and tensors that the C++ backend would refuse are refused. Triton finds this file by its path and
runs it in a process of its own for each model instance; it imports nothing of visrec.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
import triton_python_backend_utils as pb_utils

Config = dict[str, Any]
# optimization { graph { level } }; any other level enables everything
GRAPH_LEVELS = {
    -1: ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    1: ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    2: ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
}
ONNX_TYPES = {"FP16": "float16", "FP32": "float", "FP64": "double"}  # the others differ only in case


class TritonPythonModel:
    """One instance of one version of a model."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the version's ONNX file, or raise TritonModelException if it differs from the configuration.

        Args:
            args: what Triton tells an instance; `model_repository` is this model's folder.
        """
        config = json.loads(args["model_config"])
        path = Path(args["model_repository"]) / args["model_version"] / "model.onnx"
        on_gpu = args["model_instance_kind"].endswith("GPU")
        providers = gpu_providers(config, args["model_instance_device_id"]) if on_gpu else []
        options = session_options(config)
        try:
            self.session = ort.InferenceSession(path, options, [*providers, "CPUExecutionProvider"])
        except Exception as error:
            raise pb_utils.TritonModelException(f"unable to load '{path}': {error}") from error
        used = self.session.get_providers()
        if on_gpu and "CUDAExecutionProvider" not in used:
            raise pb_utils.TritonModelException("KIND_GPU, but onnxruntime can't use CUDA (see its log)")
        self.inputs, self.outputs = config["input"], config["output"]
        batched = config["max_batch_size"] > 0
        check_tensors("input", self.inputs, self.session.get_inputs(), batched)
        check_tensors("output", self.outputs, self.session.get_outputs(), batched)
        pb_utils.Logger.log_info(
            f"{config['name']} version {args['model_version']}: {' '.join(used)}, "
            f"{options.intra_op_num_threads} intra-op and {options.inter_op_num_threads} inter-op threads, "
            f"{options.execution_mode.name}, {options.graph_optimization_level.name}"
        )

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer the requests of one batch with a single run; an error for those that can't be answered."""
        try:
            return self._run(requests)
        except Exception as error:
            if len(requests) > 1:  # one bad request must not fail those that it was batched with
                return [self.execute([request])[0] for request in requests]
            return [pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error)))]

    def _run(self, requests: list[Any]) -> list[Any]:
        feeds = {}
        for tensor in self.inputs:
            parts = [pb_utils.get_input_tensor_by_name(r, tensor["name"]).as_numpy() for r in requests]
            array = parts[0] if len(parts) == 1 else np.concatenate(parts)
            feeds[tensor["name"]] = recode(array, bytes.decode) if array.dtype == np.object_ else array
        names = [tensor["name"] for tensor in self.outputs]
        results = self.session.run(names, feeds)
        results = [recode(a, str.encode) if a.dtype == np.object_ else a for a in results]
        ends = [0, *itertools.accumulate(map(len, parts))]
        return [
            pb_utils.InferenceResponse(
                [pb_utils.Tensor(name, array[start:end]) for name, array in zip(names, results, strict=True)]
            )
            for start, end in itertools.pairwise(ends)
        ]


def session_options(config: Config) -> ort.SessionOptions:
    """Read what config.pbtxt says about running a graph."""
    parameters = {key: value["string_value"] for key, value in config.get("parameters", {}).items()}
    level = int(config.get("optimization", {}).get("graph", {}).get("level", 0))
    options = ort.SessionOptions()
    options.graph_optimization_level = GRAPH_LEVELS.get(level, ort.GraphOptimizationLevel.ORT_ENABLE_ALL)
    options.intra_op_num_threads = int(parameters.get("intra_op_thread_count", 0))
    options.inter_op_num_threads = int(parameters.get("inter_op_thread_count", 0))
    options.enable_cpu_mem_arena = bool(int(parameters.get("enable_mem_arena", 1)))
    if int(parameters.get("execution_mode", 0)):
        options.execution_mode = ort.ExecutionMode.ORT_PARALLEL
    for key, value in parameters.items():
        if key.startswith("session."):  # onnxruntime's own entries, such as session.intra_op.allow_spinning
            options.add_session_config_entry(key, value)
    return options


def gpu_providers(config: Config, device: str) -> list[tuple[str, dict[str, str]]]:
    """List what an instance on a GPU runs on: TensorRT where the configuration asks for it, then CUDA."""
    providers = [("CUDAExecutionProvider", {"device_id": device})]
    accelerators = config.get("optimization", {}).get("execution_accelerators", {})
    for accelerator in accelerators.get("gpu_execution_accelerator", []):
        if accelerator["name"] != "tensorrt":
            raise pb_utils.TritonModelException(f"unknown execution accelerator '{accelerator['name']}'")
        options = {"device_id": device}
        for key, value in accelerator.get("parameters", {}).items():
            if key == "precision_mode":
                options |= {f"trt_{value.lower()}_enable": "1"} if value != "FP32" else {}
            elif key == "max_workspace_size_bytes":
                options["trt_max_workspace_size"] = value
            else:
                options[f"trt_{key.removeprefix('trt_')}"] = value
        providers.insert(0, ("TensorrtExecutionProvider", options))
    return providers


def check_tensors(what: str, configured: list[Config], actual: list[Any], batched: bool) -> None:
    """Refuse a name, type or shape that differs from the ONNX file's, as the C++ backend does.

    A size that the file leaves open may be anything for an input, but has to be -1 for an output.
    """
    infos = {info.name: info for info in actual}
    names = {tensor["name"] for tensor in configured}
    if names - infos.keys() or (what == "input" and infos.keys() - names):
        raise pb_utils.TritonModelException(
            f"{what}s are {sorted(names)} in config.pbtxt but {sorted(infos)} in model.onnx"
        )
    for tensor in configured:
        name, kind = tensor["name"], tensor["data_type"].removeprefix("TYPE_")
        onnx_kind = f"tensor({ONNX_TYPES.get(kind, kind.lower())})"
        shape = [size if isinstance(size, int) else -1 for size in infos[name].shape]
        dims = [-1] * batched + [int(size) for size in tensor["dims"]]
        expected = [d if s == -1 and what == "input" else s for d, s in zip(dims, shape, strict=False)]
        if infos[name].type != onnx_kind or len(dims) != len(shape) or dims != expected:
            raise pb_utils.TritonModelException(
                f"{what} '{name}' is {onnx_kind} {dims} in config.pbtxt "
                f"but {infos[name].type} {shape} in model.onnx"
            )


def recode(array: npt.NDArray[np.object_], convert: Callable[[Any], Any]) -> npt.NDArray[np.object_]:
    """Turn Triton's bytes into onnxruntime's str, or back."""
    return np.array([convert(value) for value in array.ravel()], dtype=np.object_).reshape(array.shape)
