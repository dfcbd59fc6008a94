"""The three graphs of a release as one, which answers a request in one process, where nothing is handed on.

It is served as `recommender` where `configs/fused.pbtxt` is chosen, beside the three, which pictures alone
and requests without one still need.
"""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import compose

from visrec_export.errors import ExportRefused
from visrec_export.graphs import all_nodes
from visrec_serving.pins import FUSED, MODELS

MOST_BYTES = 1 << 30
HANDED_ON = {"attention": ("REGIONS",), "fusion_scorer": ("ASPECTS", "MAPS")}
"""What each graph takes from those before it; every other input is the caller's."""


def fuse(built: Path) -> None:
    """Write `recommender/model.onnx`: IMAGE, HISTORY and TEXT to what the fusion scorer answers.

    Args:
        built: holds `<model>/model.onnx` of encoder, attention and fusion_scorer.

    Raises:
        ExportRefused: they are too large for one file, or can't be joined.
    """
    size = sum(file.stat().st_size for model in MODELS for file in (built / model).iterdir())
    if size > MOST_BYTES:
        raise ExportRefused(
            f"a fused graph would hold {size / 1e9:.1f} GB, the whole catalogue for a second time; allowed:"
            f" {MOST_BYTES / 1e9:.1f} GB. Export without --fused"
        )
    graphs = [_load(built / model / "model.onnx", prefix=f"{model}/") for model in MODELS]
    newest = max(graph.ir_version for graph in graphs)
    whole, *others = graphs
    whole.ir_version = newest
    try:
        for model, graph in zip(MODELS[1:], others, strict=True):
            graph.ir_version = newest  # each file format can say what those before it could
            whole = compose.merge_models(whole, graph, [(name, name) for name in HANDED_ON[model]])
    except (ValueError, onnx.checker.ValidationError) as error:
        raise ExportRefused(f"the graphs can't be fused: {str(error).splitlines()[0]}") from error
    _keep_used_operator_sets(whole)
    (built / FUSED).mkdir()
    onnx.save(whole, built / FUSED / "model.onnx")


def _load(path: Path, prefix: str) -> onnx.ModelProto:
    """A graph whose inner names no other graph has; inputs and outputs keep theirs."""
    graph = onnx.load(path)
    # shapes of inner tensors: nobody needs them, and a quantizer names outputs among them
    del graph.graph.value_info[:]
    _keep_used_operator_sets(graph)  # the quantizer imports many, in versions of its own
    # `compose` itself learns them too late for the graphs inside this one, which read them
    names = {weight.name: prefix + weight.name for weight in graph.graph.initializer}
    compose.add_prefix_graph(
        graph.graph, prefix, rename_inputs=False, rename_outputs=False, inplace=True, name_map=names
    )
    return graph


def _keep_used_operator_sets(graph: onnx.ModelProto) -> None:
    """Import the operator sets of a graph's nodes and no others, each once."""
    domains = {node.domain for node in all_nodes(graph.graph)}
    versions = {operators.domain: operators.version for operators in graph.opset_import}
    del graph.opset_import[:]
    graph.opset_import.extend(
        onnx.helper.make_opsetid(domain, version) for domain, version in versions.items() if domain in domains
    )
