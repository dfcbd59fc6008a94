"""INT8 for the encoder, where nearly all of the arithmetic is, by onnxruntime's own quantizer.

Weights are quantized by channel, activations by the smallest and largest value they take on real pictures
(Jacob et al., Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference,
CVPR 2018).

The first layers suffer most, and what is lost there is lost to all that follow: as many of them as it takes
stay in float. They are taken in a row because onnxruntime, when it loads a graph, quantizes a lone float
layer between two quantized ones by itself, and coarsely: with one scale for all its channels, which ruins a
depthwise convolution.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from visrec_export.errors import ExportRefused

LAYERS = ("Conv", "Gemm", "MatMul")
BETWEEN = ("Clip", "Relu", "Add", "MaxPool")  # what keeps INT8 from one layer to the next
BATCH = 16


@dataclass(frozen=True, slots=True)
class Quantized:
    """What became of an encoder."""

    layers: int
    """Its convolutions and matrix products."""
    float_layers: int
    """How many of them, the first ones, stayed in float."""


def quantize_encoder(
    source: Path,
    target: Path,
    pictures: npt.NDArray[np.uint8],
    agreement: Callable[[Path], float],
    wanted: float,
) -> Quantized:
    """Quantize an encoder, with as few of its first layers in float as it takes to agree with FP32.

    Args:
        source: the encoder in FP32, an ONNX file.
        target: gets the encoder in INT8.
        pictures: uint8 [n, S, S, 3], which show what values activations take.
        agreement: how far the answers with an encoder agree with those in FP32, from 0 to 1.
        wanted: the agreement that is enough.

    Raises:
        ExportRefused: the quantizer can't take this graph.
    """
    with tempfile.TemporaryDirectory(prefix="visrec-int8-") as folder, _quiet():
        prepared, ranges = Path(folder) / "prepared.onnx", Path(folder) / "ranges.json"

        def agrees(float_layers: int) -> bool:
            write(float_layers)
            return agreement(target) >= wanted

        def write(float_layers: int) -> None:
            quantize_static(
                prepared,
                target,
                _Pictures(pictures),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=[*LAYERS, *BETWEEN],
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                nodes_to_exclude=nodes[: layers[float_layers]],
                extra_options={"MatMulConstBOnly": True},  # products of activations lose too much
                calibration_cache_path=ranges,  # the pictures are run once, not once a try
            )

        try:
            quant_pre_process(source, prepared)
            graph = onnx.load(prepared).graph
            nodes = [node.name for node in graph.node]
            layers = [place for place, node in enumerate(graph.node) if node.op_type in LAYERS]
            float_layers = _smallest(len(layers) - 1, agrees)
            write(float_layers)
        except Exception as error:  # the quantizer raises nearly anything on graphs it doesn't know
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ExportRefused(f"the encoder can't be quantized: {reason}") from error
    return Quantized(len(layers), float_layers)


def _smallest(last: int, enough: Callable[[int], bool]) -> int:
    """The smallest number that is enough, or `last`; whatever is larger than an enough is enough too."""
    first = 0
    while first < last:
        middle = (first + last) // 2
        first, last = (first, middle) if enough(middle) else (middle + 1, last)
    return first


class _Pictures(CalibrationDataReader):  # type: ignore[misc]
    """Hands pictures to the quantizer, a batch at a time."""

    def __init__(self, pictures: npt.NDArray[np.uint8]) -> None:
        starts = range(0, len(pictures), BATCH)
        self._batches: Iterator[npt.NDArray[np.uint8]] = (pictures[at : at + BATCH] for at in starts)

    def get_next(self) -> dict[str, npt.NDArray[np.uint8]] | None:
        batch = next(self._batches, None)
        return None if batch is None else {"IMAGE": batch}


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the quantizer's remarks on every tensor."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
