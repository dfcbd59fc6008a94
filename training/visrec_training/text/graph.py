"""The text graph: raw texts to a sentence vector, hashes of words, and how much was understood.

It holds standard operators of onnxruntime alone, so every server that runs onnxruntime runs it, without a
library to load. Training runs it over items and export puts it in front of the scorer, so the two can't
disagree.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import torch
from onnx import TensorProto, helper

from visrec_training.text.characters import write_characters
from visrec_training.text.encoders import USE_MULTILINGUAL, text_encoder
from visrec_training.text.lexical import write_tokens
from visrec_training.text.nodes import DOMAINS, Nodes, ints
from visrec_training.text.use_resources import resources

TEXT, SENTENCE, TOKENS, UNDERSTOOD = "TEXT", "SENTENCE", "TOKENS", "UNDERSTOOD"
_BATCH_CHARACTERS = 2048  # more at once is slower: it leaves the caches of a core


def text_graph(length: int, encoder: str = USE_MULTILINGUAL) -> onnx.ModelProto:
    """Write the graph.

    Args:
        length: T, the number of places for hashes.
        encoder: the sentence encoder's name.

    Returns:
        A graph of TEXT string [batch, 1] to SENTENCE float32 [batch, width], TOKENS int64 [batch, T] and
        UNDERSTOOD float32 [batch, 1]. Nothing is computed where all texts are empty.

    Raises:
        WeightsError: there is no such encoder.
    """
    chosen = text_encoder(encoder)
    outer = Nodes(prefix="text/")
    filled = Nodes(parent=outer)
    characters = write_characters(filled, TEXT, resources().replacements)
    sentences = chosen.write(filled, outer, characters)
    understood = filled.column(sentences.understood)
    # where no piece is known, a vector means nothing
    known = filled.op("Cast", filled.op("Cast", understood, to=TensorProto.BOOL), to=TensorProto.FLOAT)
    results: list[tuple[str, int, int]] = [
        (filled.op("Mul", sentences.vectors, known), TensorProto.FLOAT, chosen.width),
        (write_tokens(filled, characters, length), TensorProto.INT64, length),
        (understood, TensorProto.FLOAT, 1),
    ]
    empty, zeros = _zeros(outer, results)
    sent = outer.lookup(TEXT, np.array([""], dtype=object), ints(0), 1)
    any_sent = outer.op("Cast", outer.op("ReduceMax", sent, keepdims=0), to=TensorProto.BOOL)
    outer.nodes.append(
        helper.make_node(
            "If",
            [any_sent],
            [SENTENCE, TOKENS, UNDERSTOOD],
            name="text/If",
            then_branch=filled.subgraph("text/filled", [], [_value(*result) for result in results]),
            else_branch=empty.subgraph("text/empty", [], [_value(*result) for result in zeros]),
        )
    )
    names = (SENTENCE, TOKENS, UNDERSTOOD)
    graph = helper.make_graph(
        outer.nodes,
        "text",
        [_value(TEXT, TensorProto.STRING, 1)],
        [_value(name, kind, width) for name, (_, kind, width) in zip(names, results, strict=True)],
        outer.initializers,
    )
    operators = [helper.make_opsetid(domain, version) for domain, version in DOMAINS.items()]
    return helper.make_model(graph, opset_imports=operators, ir_version=9, producer_name="visrec")


def _zeros(outer: Nodes, results: list[tuple[str, int, int]]) -> tuple[Nodes, list[tuple[str, int, int]]]:
    """Write what empty texts give: zeros of the types and widths of the results."""
    nodes = Nodes(parent=outer)
    zeros: list[tuple[str, int, int]] = []
    for _, kind, width in results:
        shape = nodes.op("Concat", nodes.op("Shape", TEXT, start=0, end=1), ints(width), axis=0)
        zero = helper.make_tensor("zero", kind, [1], [0])
        zeros.append((nodes.op("ConstantOfShape", shape, value=zero), kind, width))
    return nodes, zeros


def _value(name: str, kind: int, width: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, ["batch", width])


@dataclass(frozen=True)
class Texts:
    """What the graph made of texts, in their order."""

    sentence: npt.NDArray[np.float32]
    tokens: npt.NDArray[np.int64]
    understood: npt.NDArray[np.float32]


class TextGraph:
    """The text graph, ready to run over many texts."""

    def __init__(self, graph: onnx.ModelProto) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = ort.InferenceSession(graph.SerializeToString(), options, ["CPUExecutionProvider"])

    def __call__(self, texts: Sequence[str]) -> Texts:
        """Run the graph over texts, those of like length together.

        Args:
            texts: any texts; empty ones give zeros.

        Returns:
            float32 [texts, width], int64 [texts, T] and float32 [texts].
        """
        outputs = self._session.get_outputs()
        sentence, tokens = (
            np.zeros((len(texts), output.shape[1]), kind)
            for output, kind in zip(outputs, (np.float32, np.int64), strict=False)
        )
        understood = np.zeros(len(texts), np.float32)

        def run(rows: npt.NDArray[np.int64]) -> None:
            feed = np.array([[texts[row]] for row in rows], dtype=object)
            results = self._session.run([SENTENCE, TOKENS, UNDERSTOOD], {TEXT: feed})
            sentence[rows], tokens[rows], understood[rows] = results[0], results[1], results[2][:, 0]

        with ThreadPoolExecutor(torch.get_num_threads()) as pool:  # a batch runs in one thread, as if alone
            list(pool.map(run, _batches([len(text) for text in texts])))
        return Texts(sentence, tokens, understood)


def _batches(lengths: list[int]) -> list[npt.NDArray[np.int64]]:
    """Rows by length, cut so that a batch's padded characters stay below a number."""
    order = np.argsort(lengths, kind="stable")
    batches, start = [], 0
    for place, row in enumerate(order):
        if place > start and (place + 1 - start) * lengths[row] > _BATCH_CHARACTERS:
            batches.append(order[start:place])
            start = place
    return [*batches, order[start:]] if len(order) else []
