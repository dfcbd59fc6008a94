"""Texts to normalised characters, as ONNX nodes.

The rules are those of a SentencePiece model's table ("nmt_nfkc": Unicode NFKC, controls dropped, every kind
of space made one): at each place the longest sequence that the table holds is replaced, then runs of
spaces become one, and spaces at the ends are dropped.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from onnx import TensorProto, helper

from visrec_training.text.nodes import MICROSOFT, Nodes, hash_strings, ints, powers

MAX_CHARACTERS = 16_384  # what is typed or pasted further on is not read
SPACE = ord("▁")  # as SentencePiece writes it
# Code points that Unicode will never give to a character.
UNKNOWN, BEGIN, END = 0x1FFFF, 0x1FFFE, 0x1FFFD
CODES = 0x40000
"""Characters from here on (tags, private use) are unknown, as is U+0000."""
_OWN = -1  # in the table of replacements: the character itself
_SEQUENCE = powers(0x9E3779B97F4A7C15, 4)


@dataclass(frozen=True)
class Characters:
    """The characters of all texts in one row, each text between BEGIN and END; an empty text has none."""

    typed: str
    """int64 [texts, longest]: code points below CODES, as they were before they were normalised; 0 pads."""
    codes: str
    """int64 [n]: code points."""
    text: str
    """int64 [n]: which text each belongs to."""
    texts: str
    """int64 scalar: the number of texts."""


def write_characters(nodes: Nodes, texts: str, replacements: Mapping[str, str]) -> Characters:
    """Write the nodes that split texts into characters and normalise them.

    Args:
        nodes: gets the nodes.
        texts: the name of a STRING [texts, 1].
        replacements: what to replace each sequence of up to four characters by; " " stands for any space.

    Returns:
        The names of the results.
    """
    sequences = _without_jamo_spellings(replacements)
    typed = _typed(nodes, texts)
    codes = _marked(nodes, texts, typed, _jamo(replacements))
    row, starts = _matches(nodes, codes, sequences)
    values = sorted(set(sequences.values()))
    width = max(map(len, values))
    table = np.zeros((len(values) + 1, width), np.int32)
    table[0, 0] = _OWN
    for place, value in enumerate(values, start=1):
        table[place, : len(value)] = [SPACE if c == " " else ord(c) for c in value]
    spread = nodes.op("Gather", table, nodes.op("Mul", row, starts))
    spread = nodes.op("Cast", spread, to=TensorProto.INT64)
    own = nodes.op("Unsqueeze", nodes.op("Mul", codes, starts), ints(2))
    spread = nodes.op("Where", nodes.op("Equal", spread, _OWN), own, spread)
    flat = nodes.op("Reshape", spread, ints(-1))
    places = nodes.nonzero(flat)
    found = nodes.op("Gather", flat, places)
    of_text = nodes.op("Div", places, nodes.op("Mul", nodes.size(codes, 1), width))
    following = nodes.op("Concat", nodes.op("Slice", found, ints(1), ints(1 << 40)), ints(END), axis=0)
    ends = nodes.op("Or", nodes.op("Equal", following, SPACE), nodes.op("Equal", following, END))
    dropped = nodes.op("And", nodes.op("Equal", found, SPACE), ends)
    kept = nodes.op("Not", dropped)
    return Characters(
        typed=typed,
        codes=nodes.op("Compress", found, kept, axis=0),
        text=nodes.op("Compress", of_text, kept, axis=0),
        texts=nodes.size(texts),
    )


def _typed(nodes: Nodes, texts: str) -> str:
    """int64 [texts, characters]: code points; 0 is padding."""
    characters = nodes.op(
        "Tokenizer",
        nodes.op("Reshape", texts, ints(-1)),
        domain=MICROSOFT,
        mark=0,
        mincharnum=1,
        pad_value="",
        separators=[""],
    )
    nodes.declare(characters, TensorProto.STRING, [None, None])
    characters = nodes.op("Slice", characters, ints(0), ints(MAX_CHARACTERS), ints(1))
    known = [code for code in range(1, CODES) if unicodedata.category(chr(code)) not in ("Cn", "Cs")]
    keys = np.array(["", *map(chr, known)], dtype=object)
    return nodes.lookup(characters, keys, np.array([0, *known]), UNKNOWN)


def _marked(nodes: Nodes, texts: str, typed: str, jamo: Mapping[str, str]) -> str:
    """int64 [texts, characters + 3]: code points between BEGIN, a space and END; 0 is padding."""
    one_for_one = {ord(" "): SPACE, **{ord(key): ord(value) for key, value in jamo.items()}}
    other = nodes.lookup(typed, np.array(list(one_for_one)), np.array(list(one_for_one.values())), 0)
    codes = nodes.op("Where", nodes.op("Equal", other, 0), typed, other)
    # an empty text has no marks either
    sent = nodes.lookup(texts, np.array([""], dtype=object), ints(0), 1)
    begin, end = nodes.op("Mul", sent, ints(BEGIN, SPACE)), nodes.op("Mul", sent, END)
    return nodes.op("Concat", begin, codes, end, axis=1)


def _matches(nodes: Nodes, codes: str, sequences: Mapping[str, str]) -> tuple[str, str]:
    """Find what is replaced: its row in the table, 0 where nothing is, and where it starts."""
    row_of = {value: row for row, value in enumerate(sorted(set(sequences.values())), start=1)}
    rows = np.array([row_of[value] for value in sequences.values()])
    lengths = np.array([len(sequence) for sequence in sequences])
    keys = hash_strings(list(sequences), _SEQUENCE)  # a single character's is its code point
    if len(np.unique(keys)) != len(keys):
        raise ValueError("two sequences of the normalisation table have one hash")
    row = nodes.lookup(codes, keys[lengths == 1], rows[lengths == 1], 0)
    present = nodes.op("Cast", nodes.op("Cast", codes, to=TensorProto.BOOL), to=TensorProto.INT64)
    later = np.array(sorted({ord(c) for sequence in sequences for c in sequence[1:]}))
    joins = nodes.op("ReduceMax", nodes.lookup(codes, later, np.ones_like(later), 0), keepdims=0)

    alone, joined = Nodes(parent=nodes), Nodes(parent=nodes)
    results = (
        (alone, [alone.op("Identity", value) for value in (row, present)]),
        (joined, list(_joined(joined, codes, row, keys[lengths > 1], rows[lengths > 1]))),
    )
    apart, together = (
        part.subgraph(
            nodes.name("matches"),
            [],
            [helper.make_tensor_value_info(name, TensorProto.INT64, ["texts", "n"]) for name in names],
        )
        for part, names in results
    )
    any_joins = nodes.op("Cast", joins, to=TensorProto.BOOL)
    row, starts = nodes.ops("If", any_joins, outputs=2, then_branch=together, else_branch=apart)
    return row, nodes.op("Mul", starts, present)


def _joined(
    nodes: Nodes, codes: str, row: str, keys: npt.NDArray[np.int64], rows: npt.NDArray[np.int64]
) -> tuple[str, str]:
    """Match sequences of up to four characters, the longest first, from left to right."""
    hashed, hashes = codes, []
    for ahead in range(1, len(_SEQUENCE)):
        later = nodes.op("Slice", codes, ints(ahead), ints(1 << 40), ints(1))
        later = nodes.op("Pad", later, ints(0, 0, 0, ahead))
        hashed = nodes.op("Add", hashed, nodes.op("Mul", later, int(_SEQUENCE[ahead])))
        # padding is 0, which would make a sequence look longer than it is
        hashes.append(nodes.op("Where", nodes.op("Equal", later, 0), 0, hashed))
    longer = nodes.lookup(nodes.op("Concat", *hashes, axis=0), keys, rows, 0)
    parts = nodes.ops("Split", longer, outputs=len(hashes), axis=0, num_outputs=len(hashes))
    length = nodes.op("Mul", codes, 0)
    for ahead, part in enumerate(parts, start=1):
        found = nodes.op("Greater", part, 0)
        row, length = nodes.op("Where", found, part, row), nodes.op("Where", found, ahead, length)
    # state: how many of the next characters belong to the match before
    body = Nodes(parent=nodes)
    skip, further = body.name("skip"), body.name("further")
    free = body.op("LessOrEqual", skip, 0)
    left = body.op("Where", free, further, body.op("Sub", skip, 1))
    start = body.op("Cast", free, to=TensorProto.INT64)
    values = {
        n: helper.make_tensor_value_info(n, TensorProto.INT64, ["texts"])
        for n in (skip, further, left, start)
    }
    graph = body.subgraph(
        nodes.name("greedy"), [values[skip], values[further]], [values[left], values[start]]
    )
    zero = helper.make_tensor("zero", TensorProto.INT64, [1], [0])
    none = nodes.op("ConstantOfShape", nodes.op("Shape", codes, start=0, end=1), value=zero)
    return row, nodes.ops(
        "Scan",
        none,
        length,
        outputs=2,
        body=graph,
        num_scan_inputs=1,
        scan_input_axes=[1],
        scan_output_axes=[1],
    )[1]


def _jamo(replacements: Mapping[str, str]) -> dict[str, str]:
    """Korean letters of old encodings, and the letter that each stands for."""
    return {
        key: value
        for key, value in replacements.items()
        if len(key) == len(value) == 1 and ("\u3131" <= key <= "\u318e" or "\uffa0" <= key <= "\uffdc")
    }


def _without_jamo_spellings(replacements: Mapping[str, str]) -> dict[str, str]:
    """Leave out what `_jamo` makes superfluous: nine in ten sequences are spelt in old letters."""
    jamo = _jamo(replacements)
    return {key: value for key, value in replacements.items() if not any(c in jamo for c in key)}
