"""Characters to the pieces of a SentencePiece unigram model, as ONNX nodes.

The best way to cut a text into pieces is the one whose scores have the largest sum (Viterbi's algorithm).
No piece reaches beyond a space, so words are cut side by side: the work is as long as the longest word.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from onnx import TensorProto, helper

from visrec_training.text.characters import BEGIN, END, SPACE, Characters
from visrec_training.text.nodes import Nodes, hash_strings, ints, powers

_HASH = 0xD6E8FEB86659FD93
_BEYOND = 0x1FFFC  # stands behind the last character, in no piece
# Above so many places, neighbouring words share a row, so that one long word does not widen thousands.
_PLACES = 1 << 16


@dataclass(frozen=True)
class Vocabulary:
    """A SentencePiece unigram model: piece 0 is unknown, 1 begins a text, 2 ends it."""

    pieces: list[str]
    scores: npt.NDArray[np.float32]
    unknown_score: float


@dataclass(frozen=True)
class Pieces:
    """The pieces of all texts in one row."""

    ids: str
    """int64 [n]: each text's begin with 1 and end with 2."""
    text: str
    """int64 [n]: which text each belongs to."""


def write_pieces(nodes: Nodes, characters: Characters, vocabulary: Vocabulary) -> Pieces:
    """Write the nodes that cut normalised characters into pieces.

    Args:
        nodes: gets the nodes.
        characters: at least one text has some.
        vocabulary: the pieces and their scores.

    Returns:
        The names of the results.

    Raises:
        ValueError: a piece reaches beyond a space, or two have the same hash.
    """
    width = max(map(len, vocabulary.pieces))
    ids, scores = _candidates(nodes, characters, vocabulary, width)
    first, length, longest = _rows(nodes, characters)
    # a candidate of length l that ends after j characters of a row is at width (first + j - l) + l - 1
    ends = nodes.op("Add", nodes.range(longest), 1)  # j
    by_length = np.arange(width, 0, -1)  # l, long ones first: of equally good cuts the longer last piece wins
    places = nodes.op("Add", nodes.column(ends), first)  # [j, row]
    places = nodes.op(
        "Add",
        nodes.op("Unsqueeze", nodes.op("Mul", places, width), ints(2)),
        by_length - 1 - width * by_length,
    )
    last = nodes.op("Sub", nodes.size(ids), 1)
    places = nodes.op("Min", nodes.op("Max", places, 0), last)
    chosen = _best(nodes, nodes.op("Gather", scores, places), first, width)  # [j, row]: width - l
    cut = _trace_back(nodes, chosen, ends, length, width)
    # [row, j], so that what is found is in the order of the text
    found = nodes.op("NonZero", nodes.op("Transpose", cut, perm=[1, 0]))
    at = nodes.op("Transpose", found, perm=[1, 0])
    option = nodes.op(
        "Unsqueeze", nodes.op("GatherND", nodes.op("Transpose", chosen, perm=[1, 0]), at), ints(1)
    )
    at = nodes.op("Concat", nodes.op("Gather", at, ints(1, 0), axis=1), option, axis=1)
    place = nodes.op("GatherND", places, at)
    piece = nodes.op("Mod", nodes.op("Gather", ids, place), len(vocabulary.pieces))
    return Pieces(piece, nodes.op("Gather", characters.text, nodes.op("Div", place, width)))


def _candidates(nodes: Nodes, characters: Characters, vocabulary: Vocabulary, width: int) -> tuple[str, str]:
    """For each character and length, the piece that starts there: ids and scores, flat [n * width].

    The id is the number of pieces where there is none; of length 1 that is the unknown piece.
    """
    size = len(vocabulary.pieces)
    weights = powers(_HASH, width)
    keys = np.concatenate([ints(BEGIN, END), hash_strings(vocabulary.pieces[3:], weights)])
    if len(np.unique(keys)) != len(keys) or any("▁" in piece[1:] for piece in vocabulary.pieces):
        raise ValueError("this vocabulary can't be written as ONNX: pieces clash, or reach beyond a space")
    beyond = np.full(width, _BEYOND)
    padded = nodes.op("Concat", characters.codes, beyond, axis=0)
    around = nodes.op("Add", nodes.column(nodes.range(nodes.size(characters.codes))), np.arange(width))
    window = nodes.op("Mul", nodes.op("Gather", padded, around), weights)
    hashes = nodes.op("CumSum", window, 1)
    numbers = np.array([1, 2, *range(3, size)])
    ids = nodes.lookup(hashes, keys, numbers, size)
    none = np.array([vocabulary.unknown_score] + [-np.inf] * (width - 1))
    known = nodes.op("Gather", np.append(vocabulary.scores, np.float32(0)), ids)
    known = nodes.op("Cast", known, to=TensorProto.DOUBLE)  # sums of many scores must not depend on rounding
    scores = nodes.op("Where", nodes.op("Equal", ids, size), none, known)
    return nodes.op("Reshape", ids, ints(-1)), nodes.op("Reshape", scores, ints(-1))


def _rows(nodes: Nodes, characters: Characters) -> tuple[str, str, str]:
    """Words, or several where many are short beside a long one: first place and length [rows], longest."""
    codes = characters.codes
    starts = nodes.op(
        "Or",
        nodes.op("Equal", codes, SPACE),
        nodes.op("Or", nodes.op("Equal", codes, BEGIN), nodes.op("Equal", codes, END)),
    )
    first = nodes.nonzero(starts)
    count = nodes.size(codes)
    longest = nodes.op("ReduceMax", _lengths(nodes, first, count), keepdims=0)
    wide = nodes.op("Greater", nodes.op("Mul", longest, nodes.size(first)), _PLACES)
    part = nodes.op("Div", first, nodes.op("Where", wide, longest, 1))
    before = nodes.op("Concat", ints(-1), nodes.op("Slice", part, ints(0), ints(-1)), axis=0)
    first = nodes.op("Compress", first, nodes.op("Not", nodes.op("Equal", part, before)), axis=0)
    length = _lengths(nodes, first, count)
    return first, length, nodes.op("ReduceMax", length, keepdims=0)


def _lengths(nodes: Nodes, first: str, count: str) -> str:
    following = nodes.op(
        "Concat",
        nodes.op("Slice", first, ints(1), ints(1 << 40)),
        nodes.op("Reshape", count, ints(1)),
        axis=0,
    )
    return nodes.op("Sub", following, first)


def _best(nodes: Nodes, scores: str, first: str, width: int) -> str:
    """Go through the rows from left to right: which candidate ends the best cut of the first j, [j, row]."""
    body = Nodes(parent=nodes)
    before, candidates = body.name("before"), body.name("candidates")
    total = body.op("Add", before, candidates)
    best = body.op("ReduceMax", total, ints(1), keepdims=1)
    choice = body.op("ArgMax", total, axis=1, keepdims=0)
    after = body.op("Concat", body.op("Slice", before, ints(1), ints(width), ints(1)), best, axis=1)
    scored = [
        helper.make_tensor_value_info(n, TensorProto.DOUBLE, ["rows", width])
        for n in (before, candidates, after)
    ]
    chosen = helper.make_tensor_value_info(choice, TensorProto.INT64, ["rows"])
    graph = body.subgraph(nodes.name("viterbi"), scored[:2], [scored[2], chosen])
    nothing = np.array([[-np.inf] * (width - 1) + [0.0]])
    shape = nodes.op("Concat", nodes.op("Shape", first), ints(1), axis=0)
    start = nodes.op("Expand", nothing, shape)
    return nodes.ops("Scan", start, scores, outputs=2, body=graph, num_scan_inputs=1)[1]


def _trace_back(nodes: Nodes, chosen: str, ends: str, length: str, width: int) -> str:
    """Go back from the ends of the rows: whether a piece of the best cut ends at j, [j, row]."""
    begin = nodes.op("Add", nodes.column(nodes.op("Sub", ends, width)), chosen)
    body = Nodes(parent=nodes)
    at, end, origin = body.name("at"), body.name("end"), body.name("origin")
    here = body.op("Equal", at, end)
    left = body.op("Where", here, origin, at)
    rows = [helper.make_tensor_value_info(n, TensorProto.INT64, ["rows"]) for n in (at, origin, left)]
    scalar = helper.make_tensor_value_info(end, TensorProto.INT64, [])
    cut = helper.make_tensor_value_info(here, TensorProto.BOOL, ["rows"])
    graph = body.subgraph(nodes.name("back"), [rows[0], scalar, rows[1]], [rows[2], cut])
    return nodes.ops(
        "Scan",
        length,
        ends,
        begin,
        outputs=2,
        body=graph,
        num_scan_inputs=2,
        scan_input_directions=[1, 1],
        scan_output_directions=[1],
    )[1]
