"""Sentence encoders of the BERT kind as ONNX nodes, equal to what sentence-transformers computes.

A transformer (Devlin et al., BERT, NAACL 2019) reads the pieces of a text, and the mean of what it makes of
them, brought to length 1, stands for the text (Reimers & Gurevych, Sentence-BERT, EMNLP 2019). Weights are
stored as float16, and computed with as float32.
"""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt
from onnx import TensorProto

from visrec_training.errors import WeightsError
from visrec_training.text.bert_resources import Bert
from visrec_training.text.characters import Characters
from visrec_training.text.nodes import MICROSOFT, Nodes, ints
from visrec_training.text.sentence_encoder import Sentences
from visrec_training.text.wordpiece import Tokens, write_wordpieces

_WHOLE_WORD = re.compile(r"[^\W\d_]{3,}")
_MARKS = 2  # one begins a text, one ends it


def whole_words(model: Bert) -> list[str]:
    """Words of the model's own vocabulary."""
    return [piece for piece in model.vocabulary.pieces if _WHOLE_WORD.fullmatch(piece)]


def write_bert(nodes: Nodes, outer: Nodes, characters: Characters, model: Bert) -> Sentences:
    """Write the nodes from characters to vectors.

    Args:
        nodes: gets the nodes.
        outer: the outermost graph: gets those that make weights, which onnxruntime runs once, at its start.
        characters: as they were typed.
        model: what to write.

    Returns:
        The names of the results.

    Raises:
        WeightsError: weights can't be read, or there are others than the model's description says.
    """
    weights = model.weights()
    tokens = write_wordpieces(nodes, characters, model.vocabulary)
    ids, mask = _table(nodes, tokens, characters.texts, model)
    try:
        x = _embeddings(nodes, ids, weights, model)
        for layer in range(model.layers):
            x = _layer(nodes, outer, x, mask, _part(weights, f"encoder.layer.{layer}"), model)
    except KeyError as error:
        raise WeightsError(f"text encoder {model.folder}: its weights lack {error.args[0]}") from error
    share = nodes.op("Cast", mask, to=TensorProto.FLOAT)
    total = nodes.op("MatMul", nodes.op("Unsqueeze", share, ints(1)), x)
    total = nodes.op("Squeeze", total, ints(1))  # the length is made 1, so the sum is as good as the mean
    norm = nodes.op("ReduceL2", total, ints(1), keepdims=1)
    vectors = nodes.op("Div", total, nodes.op("Max", norm, np.float32(1e-12)))
    known = nodes.column(nodes.op("Ceil", tokens.understood))  # 1, but 0 where no word is known
    return Sentences(nodes.op("Mul", vectors, known), tokens.understood)


def _table(nodes: Nodes, tokens: Tokens, texts: str, model: Bert) -> tuple[str, str]:
    """Tokens by text, cut and between their marks: ids, int64 [texts, longest], and where any are, int32."""
    same = nodes.op("Equal", nodes.column(nodes.range(texts)), tokens.text)
    counts = nodes.op("ReduceSum", nodes.op("Cast", same, to=TensorProto.INT64), ints(1), keepdims=0)
    first = nodes.op("CumSum", counts, 0, exclusive=1)
    place = nodes.op("Sub", nodes.range(nodes.size(tokens.ids)), nodes.op("Gather", first, tokens.text))
    most = model.length - _MARKS
    fits = nodes.op("Less", place, most)
    counts = nodes.op("Min", counts, most)
    longest = nodes.op("Add", nodes.op("ReduceMax", counts, keepdims=0), _MARKS)
    last = nodes.column(nodes.op("Add", counts, 1))
    places = nodes.range(longest)
    marks = nodes.op("Where", nodes.op("Equal", places, last), model.vocabulary.end, model.vocabulary.begin)
    at = nodes.op("Add", nodes.op("Mul", tokens.text, longest), nodes.op("Add", place, 1))
    ids = nodes.op(
        "ScatterElements",
        nodes.op("Reshape", marks, ints(-1)),
        nodes.op("Compress", at, fits, axis=0),
        nodes.op("Compress", tokens.ids, fits, axis=0),
    )
    mask = nodes.op("Cast", nodes.op("LessOrEqual", places, last), to=TensorProto.INT32)
    return nodes.op("Reshape", ids, nodes.op("Shape", marks)), mask


def _embeddings(nodes: Nodes, ids: str, weights: dict[str, npt.NDArray[np.float32]], model: Bert) -> str:
    """Of tokens and their places: float32 [texts, longest, width]."""
    part = _part(weights, "embeddings")
    positions = part["position_embeddings.weight"][: model.length] + part["token_type_embeddings.weight"][0]
    rows = nodes.op("Gather", part["word_embeddings.weight"].astype(np.float16), ids)
    end = nodes.op("Shape", ids, start=1)
    places = nodes.op("Slice", positions.astype(np.float16), ints(0), end, ints(0))
    rows, places = (nodes.op("Cast", value, to=TensorProto.FLOAT) for value in (rows, places))
    return _normalised(nodes, nodes.op("Add", rows, places), _part(part, "LayerNorm"), model)


def _layer(
    nodes: Nodes,
    outer: Nodes,
    x: str,
    mask: str,
    part: dict[str, npt.NDArray[np.float32]],
    model: Bert,
) -> str:
    """What one layer of the transformer makes of its input, float32 [texts, longest, width]."""
    looks = [_part(part, f"attention.self.{name}") for name in ("query", "key", "value")]
    seen = nodes.op(
        "Attention",
        x,
        _stored(outer, np.concatenate([look["weight"] for look in looks])),
        np.concatenate([look["bias"] for look in looks]),
        mask,
        domain=MICROSOFT,
        num_heads=model.heads,
    )
    nodes.declare(seen, TensorProto.FLOAT, [None, None, model.width])
    seen = _dense(nodes, outer, seen, _part(part, "attention.output.dense"))
    x = _normalised(nodes, nodes.op("Add", seen, x), _part(part, "attention.output.LayerNorm"), model)
    wide = _dense(nodes, outer, x, _part(part, "intermediate.dense"))
    wide = nodes.op("Gelu", wide, domain=MICROSOFT)
    nodes.declare(wide, TensorProto.FLOAT, [None, None, len(part["intermediate.dense.bias"])])
    narrow = _dense(nodes, outer, wide, _part(part, "output.dense"))
    return _normalised(nodes, nodes.op("Add", narrow, x), _part(part, "output.LayerNorm"), model)


def _part(weights: dict[str, npt.NDArray[np.float32]], name: str) -> dict[str, npt.NDArray[np.float32]]:
    """The weights whose names begin so, by the rest of their names."""
    found = {key[len(name) + 1 :]: value for key, value in weights.items() if key.startswith(f"{name}.")}
    if not found:
        raise KeyError(name)
    return found


def _dense(nodes: Nodes, outer: Nodes, x: str, part: dict[str, npt.NDArray[np.float32]]) -> str:
    return nodes.op("Add", nodes.op("MatMul", x, _stored(outer, part["weight"])), part["bias"])


def _stored(outer: Nodes, weight: npt.NDArray[np.float32]) -> str:
    """A layer [to, from] as [from, to], in half its size."""
    return outer.op("Cast", np.ascontiguousarray(weight.T.astype(np.float16)), to=TensorProto.FLOAT)


def _normalised(nodes: Nodes, x: str, part: dict[str, npt.NDArray[np.float32]], model: Bert) -> str:
    return nodes.op("LayerNormalization", x, part["weight"], part["bias"], epsilon=model.epsilon)
