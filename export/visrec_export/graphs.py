"""ONNX graphs of the three models, each with a free batch size."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from visrec_export.compact import COMPACT_FROM, CompactScorer
from visrec_export.errors import ExportRefused
from visrec_export.kept_graph import graph_name, kept_graph
from visrec_export.texts import dictionary, put_in_front
from visrec_training.checkpoint import Checkpoint
from visrec_training.config import REGIONS, ModelConfig
from visrec_training.encoder import Encoder
from visrec_training.model import Model
from visrec_training.text.nodes import DOMAINS

OPSET = 18
EXAMPLES = 2  # a batch of one would be taken for a fixed size
# Larger weights lie in a second file: onnxruntime maps it where it would hold the first twice while loading,
# and an ONNX file may hold no more than 2 GiB.
EXTERNAL_DATA_BYTES = 1 << 27


def write_graphs(checkpoint: Checkpoint, model: Model, release: int, folder: Path, cache: Path) -> None:
    """Write `<model>/model.onnx` for encoder, attention and fusion_scorer.

    Args:
        checkpoint: what to export.
        model: its model, in evaluation mode, on the CPU.
        release: the number that answers carry.
        folder: gets the three folders.
        cache: keeps the encoder's.

    Raises:
        ExportRefused: a graph can't be made, or the ONNX checker finds fault with it.
        VisrecError: the cache can't be written.
    """
    write_encoder(model.encoder, model.config.picture_size, folder, cache)
    write_attention(model, folder)
    write_scorer(checkpoint, model, release, folder)


def write_encoder(encoder: Encoder, size: int, folder: Path, cache: Path) -> None:
    """Write `encoder/model.onnx` alone, for pictures of `size` pixels; errors as for `write_graphs`."""

    def trace() -> onnx.ModelProto:
        image = torch.zeros(EXAMPLES, size, size, 3, dtype=torch.uint8)
        return _trace(encoder, (image,), ["IMAGE"], ["REGIONS"])

    _save(kept_graph(cache, graph_name(encoder, size), trace), folder / "encoder")


def write_attention(model: Model, folder: Path) -> None:
    """Write `attention/model.onnx` alone; arguments and errors as for `write_graphs`."""
    regions = torch.zeros(EXAMPLES, REGIONS, model.encoder.dim)
    _save(_trace(model.attention, (regions,), ["REGIONS"], ["ASPECTS", "MAPS"]), folder / "attention")


def write_scorer(checkpoint: Checkpoint, model: Model, release: int, folder: Path) -> None:
    """Write `fusion_scorer/model.onnx` alone, as `write_graphs` does.

    Args:
        checkpoint: its items are the catalogue; they need not be those that the model was trained with.
        model: the model, in evaluation mode, on the CPU.
        release: the number that answers carry.
        folder: gets the folder.

    Raises:
        ExportRefused: the graph can't be made, or the ONNX checker finds fault with it.
    """
    graph = _trace(
        _scorer(checkpoint, model),
        _scorer_examples(checkpoint.model_config, model.text_space.width),
        ["ASPECTS", "MAPS", "HISTORY_ROWS", "TEXT_ROWS", "TOKENS", "SENTENCE"],
        ["ITEM_ROWS", "SCORE", "ATTENTION"],
    )
    _save(_with_dictionaries(graph, checkpoint, release), folder / "fusion_scorer")


def _scorer(checkpoint: Checkpoint, model: Model) -> nn.Module:
    scorer = checkpoint.fusion_scorer(model)
    return CompactScorer(scorer) if len(checkpoint.item_ids) >= COMPACT_FROM else scorer


def _scorer_examples(config: ModelConfig, width: int) -> tuple[Tensor, ...]:
    return (
        torch.zeros(EXAMPLES, config.aspects, config.aspect_dim),
        torch.zeros(EXAMPLES, config.aspects, REGIONS),
        torch.zeros(EXAMPLES, config.history, dtype=torch.int64),
        torch.zeros(EXAMPLES, config.words, dtype=torch.int64),
        torch.zeros(EXAMPLES, config.words, dtype=torch.int64),
        torch.zeros(EXAMPLES, width),
    )


def _trace(
    module: nn.Module, examples: tuple[Tensor, ...], inputs: Sequence[str], outputs: Sequence[str]
) -> onnx.ModelProto:
    batch = torch.export.Dim("batch", min=1, max=1024)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own deprecations
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        try:
            program = torch.onnx.export(
                module.eval(),
                examples,
                input_names=list(inputs),
                output_names=list(outputs),
                dynamic_shapes=tuple({0: batch} for _ in examples),
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
        except Exception as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ExportRefused(f"{type(module).__name__} can't be written as ONNX: {reason}") from error
    assert program is not None  # noqa: S101  (it is, with dynamo)
    return _without_notes(program.model_proto)


def _without_notes(graph: onnx.ModelProto) -> onnx.ModelProto:
    """Drop the exporter's notes (stack traces, paths, counters): the same model gives the same bytes."""
    for noted in (graph, graph.graph, *graph.graph.value_info, *all_nodes(graph.graph)):
        del noted.metadata_props[:]
    return graph


def all_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """The nodes of a graph and of the graphs inside them."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from all_nodes(attribute.g)


def _with_dictionaries(graph: onnx.ModelProto, checkpoint: Checkpoint, release: int) -> onnx.ModelProto:
    """Put ids, the text graph and a number around a graph of rows: they can't disagree with its vectors."""
    config = checkpoint.model_config
    item_ids = list(checkpoint.item_ids)
    history = dictionary(
        "HISTORY", "HISTORY_ROWS", keys_strings=item_ids, values_int64s=range(len(item_ids)), default_int64=-1
    )
    text = put_in_front(body := graph.graph, checkpoint)
    # a list takes a third of a dictionary's memory; its last place is that of no item
    id_list = numpy_helper.from_array(np.asarray([*item_ids, ""], dtype=object), "ITEM_IDS")
    items = helper.make_node("Gather", ["ITEM_IDS", "ITEM_ROWS"], ["ITEM_ID"], name="ITEM_ID")
    body.initializer.append(id_list)
    known = [
        helper.make_node("Constant", [], ["NO_ROW"], value_int=-1),
        helper.make_node("Greater", ["HISTORY_ROWS", "NO_ROW"], ["KNOWN"]),
    ]
    number = helper.make_tensor("RELEASE", TensorProto.INT64, [1], [release])
    released = [
        helper.make_node("Constant", [], ["ONE"], value_ints=[1]),
        helper.make_node("Shape", ["HISTORY"], ["BATCH"], start=0, end=1),
        helper.make_node("Concat", ["BATCH", "ONE"], ["BATCH_BY_ONE"], axis=0),
        helper.make_node("ConstantOfShape", ["BATCH_BY_ONE"], ["RELEASE"], value=number),
    ]
    nodes = [history, *text, *body.node, items, *known, *released]
    del body.node[:]
    body.node.extend(nodes)
    inputs = {value.name: value for value in body.input}
    inputs["HISTORY_ROWS"] = _value("HISTORY", TensorProto.STRING, config.history)
    inputs["TEXT_ROWS"] = _value("TEXT", TensorProto.STRING, 1)
    for name in ("SENTENCE", "TOKENS"):
        inputs.pop(name, None)
    del body.input[:]
    body.input.extend(inputs.values())
    outputs = {value.name: value for value in body.output}
    outputs["ITEM_ROWS"] = _value("ITEM_ID", TensorProto.STRING, config.top_k)
    outputs["KNOWN"] = _value("KNOWN", TensorProto.BOOL, config.history)
    outputs["RELEASE"] = _value("RELEASE", TensorProto.INT64, 1)
    outputs["UNDERSTOOD"] = _value("UNDERSTOOD", TensorProto.FLOAT, 1)
    del body.output[:]
    body.output.extend(outputs.values())
    imported = {operators.domain for operators in graph.opset_import}
    graph.opset_import.extend(
        helper.make_opsetid(domain, version) for domain, version in DOMAINS.items() if domain not in imported
    )
    return graph


def _value(name: str, dtype: int, width: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, ["batch", width])


def _save(graph: onnx.ModelProto, folder: Path) -> None:
    folder.mkdir(parents=True)
    path = folder / "model.onnx"
    large = graph.ByteSize() > EXTERNAL_DATA_BYTES
    onnx.save(graph, path, save_as_external_data=large, location="model.onnx.data")
    if large:  # onnx lets nobody but us read it, and a server may run as somebody else
        path.with_name("model.onnx.data").chmod(path.stat().st_mode)
    try:
        onnx.checker.check_model(str(path))
    except onnx.checker.ValidationError as error:
        raise ExportRefused(f"the ONNX checker refuses {folder.name}: {error}") from error
