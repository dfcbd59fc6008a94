"""The text graph in front of a scorer: a text as it was typed, to what the scorer reads."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, helper, numpy_helper

from visrec_training.checkpoint import Checkpoint
from visrec_training.text.graph import TOKENS, UNDERSTOOD, text_graph

_BY_SENTENCE, _BY_WORDS = "UNDERSTOOD_BY_SENTENCE", "UNDERSTOOD_BY_WORDS"


def put_in_front(scorer: onnx.GraphProto, checkpoint: Checkpoint) -> list[NodeProto]:
    """Make the nodes from TEXT to SENTENCE, TEXT_ROWS and UNDERSTOOD; their weights go into the scorer.

    A text is understood as far as the sentence encoder or the vocabulary, whichever knows more of it, does.

    Args:
        scorer: the graph, which gets the weights.
        checkpoint: has the vocabulary, and names the sentence encoder.
    """
    config = checkpoint.model_config
    texts = text_graph(config.words, config.text_encoder).graph
    scorer.initializer.extend(texts.initializer)
    for node in texts.node:
        node.output[:] = [_BY_SENTENCE if name == UNDERSTOOD else name for name in node.output]
    hashes = checkpoint.vocabulary.hashes.tolist()
    rows = dictionary(
        TOKENS,
        "TEXT_ROWS",
        # an empty dictionary is not allowed; no hash is ever 0
        keys_int64s=hashes or [0],
        values_int64s=range(1, len(hashes) + 1) if hashes else [0],
        default_int64=0,
    )
    scorer.initializer.extend(
        numpy_helper.from_array(np.asarray(values), name)
        for name, values in (("text/NONE", 0), ("text/AXIS", [1]), ("text/LEAST", np.float32(1)))
    )
    counted = [node for name in (TOKENS, "TEXT_ROWS") for node in _count(name)]
    share = [
        helper.make_node("Max", [f"text/{TOKENS}_COUNT", "text/LEAST"], ["text/WHOLE"]),
        helper.make_node("Div", ["text/TEXT_ROWS_COUNT", "text/WHOLE"], [_BY_WORDS]),
        helper.make_node("Max", [_BY_SENTENCE, _BY_WORDS], [UNDERSTOOD]),
    ]
    return [*texts.node, rows, *counted, *share]


def dictionary(source: str, target: str, **tables: Any) -> NodeProto:  # noqa: ANN401  (ONNX attributes)
    """A node that looks values up."""
    tables = {name: list(table) if isinstance(table, range) else table for name, table in tables.items()}
    return helper.make_node("LabelEncoder", [source], [target], domain="ai.onnx.ml", name=target, **tables)


def _count(name: str) -> list[NodeProto]:
    """How many of a tensor's numbers, int64 [batch, T], are not 0: float32 [batch, 1]."""
    is_none, is_some, number = (f"text/{name}_{part}" for part in ("IS_NONE", "IS_SOME", "NUMBER"))
    return [
        helper.make_node("Equal", [name, "text/NONE"], [is_none]),
        helper.make_node("Not", [is_none], [is_some]),
        helper.make_node("Cast", [is_some], [number], to=onnx.TensorProto.FLOAT),
        helper.make_node("ReduceSum", [number, "text/AXIS"], [f"text/{name}_COUNT"], keepdims=1),
    ]
