"""Writing ONNX graphs node by node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import GraphProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

OPSET = 18
ML, MICROSOFT = "ai.onnx.ml", "com.microsoft"  # both are part of every onnxruntime
DOMAINS = {"": OPSET, ML: 4, MICROSOFT: 1}

Operand = str | int | float | bool | np.generic | npt.NDArray[Any]  # the name of a value, or a constant


class Nodes:
    """The nodes of one graph or subgraph, in order.

    Constants go to the outermost graph, where subgraphs see them and onnxruntime folds and packs them once.
    """

    def __init__(self, prefix: str = "", parent: Nodes | None = None) -> None:
        self.nodes: list[NodeProto] = []
        self._types: list[ValueInfoProto] = []
        self._root: Nodes = parent._root if parent else self
        if not parent:
            self.prefix = prefix
            self.initializers: list[TensorProto] = []
            self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}
            self._count = 0

    def op(self, kind: str, *inputs: Operand, domain: str = "", **attributes: Any) -> str:  # noqa: ANN401
        """Add a node that has one output; return the output's name."""
        return self.ops(kind, *inputs, outputs=1, domain=domain, **attributes)[0]

    def ops(
        self,
        kind: str,
        *inputs: Operand,
        outputs: int,
        domain: str = "",
        **attributes: Any,  # noqa: ANN401
    ) -> list[str]:
        """Add a node that has several outputs; return their names."""
        names = [value if isinstance(value, str) else self.constant(value) for value in inputs]
        results = [self.name(kind) for _ in range(outputs)]
        node = helper.make_node(kind, names, results, name=results[0], domain=domain, **attributes)
        self.nodes.append(node)
        return results

    def declare(self, value: str, kind: int, sizes: Sequence[str | int | None]) -> str:
        """Tell what onnx can't infer, as behind an operator that it does not know; return the value."""
        self._types.append(helper.make_tensor_value_info(value, kind, sizes))
        return value

    def lookup(
        self, values: str, keys: npt.NDArray[Any], numbers: npt.NDArray[np.int64], default: int
    ) -> str:
        """Replace each value by the number of its key, or by the default; keys are strings or int64."""
        return self.op(
            "LabelEncoder",
            values,
            domain=ML,
            keys_tensor=numpy_helper.from_array(keys, "keys"),
            values_tensor=numpy_helper.from_array(numbers.astype(np.int64), "values"),
            default_tensor=numpy_helper.from_array(np.array([default], np.int64), "default"),
        )

    def constant(self, value: int | float | bool | np.generic | npt.NDArray[Any]) -> str:
        """Name a constant; equal constants share a name."""
        root, array = self._root, np.asarray(value)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in root._constants:
            root._constants[key] = self.name("constant")
            root.initializers.append(numpy_helper.from_array(array, root._constants[key]))
        return root._constants[key]

    def name(self, kind: str) -> str:
        """Make a name that no other value of the graph has."""
        self._root._count += 1
        return f"{self._root.prefix}{kind}_{self._root._count}"

    def range(self, count: str) -> str:
        """Count from 0: int64 [count]."""
        return self.op("Range", 0, count, 1)

    def size(self, value: str, axis: int = 0) -> str:
        """Take one size of a value, as a scalar."""
        return self.op("Squeeze", self.op("Shape", value, start=axis, end=axis + 1))

    def column(self, value: str) -> str:
        """[n] to [n, 1]."""
        return self.op("Unsqueeze", value, ints(1))

    def nonzero(self, values: str) -> str:
        """Say where a flat value is not zero: int64 [places]."""
        return self.op("Squeeze", self.op("NonZero", values), ints(0))

    def subgraph(self, name: str, inputs: list[ValueInfoProto], outputs: list[ValueInfoProto]) -> GraphProto:
        """Make a graph of these nodes, whose constants lie in the outermost graph."""
        return helper.make_graph(self.nodes, name, inputs, outputs, value_info=self._types)


def ints(*values: int) -> npt.NDArray[np.int64]:
    """Make an int64 vector."""
    return np.array(values, np.int64)


def hash_strings(strings: Sequence[str], weights: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Weigh code points by place and sum them modulo 2^64, as the graphs do with theirs: int64 [strings]."""
    padded = np.array(strings, f"U{len(weights)}").view(np.uint32).reshape(-1, len(weights))
    return (padded.astype(np.int64) * weights).sum(axis=1)


def powers(base: int, count: int) -> npt.NDArray[np.int64]:
    """Powers of an odd number modulo 2^64, which is how int64 multiplies in ONNX: int64 [count]."""
    return np.array([pow(base, k, 1 << 64) for k in range(count)], np.uint64).astype(np.int64)
