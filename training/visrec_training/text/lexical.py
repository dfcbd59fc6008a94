"""The words of a text and their parts as hashes, as ONNX nodes.

A word stands for itself and for its pieces of three characters between boundary marks, so that "teapots" and
"tepot" still meet "teapot" ("<red>" gives "<re", "red" and "ed>"). Of scripts that put no spaces between
words, each two neighbouring characters are a token too, and each Chinese character.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from onnx import TensorProto, helper

from visrec_training.text.characters import UNKNOWN, Characters
from visrec_training.text.nodes import Nodes, ints, powers

PIECE_LENGTH = 3
_OPEN, _CLOSE = ord("<"), ord(">")  # no letters, so in no word
_SEPARATOR, _LETTER, _DENSE, _HAN = range(4)
_HAN_PLANES = 0x20000  # all characters from here on are Chinese, or none that a text has after normalisation
# Not seen, or not always written: soft hyphens, joiners, Arabic kashida and vowels, Hebrew points.
_OPTIONAL = re.compile(
    "[\u00ad\u200c\u200d\u0640\u064b-\u0652\u0670\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4-\u05c7\ufe00-\ufe0f]"
)
_HAN_RANGES = re.compile("[\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
# Hiragana and Katakana; Thai, Lao, Myanmar, Khmer; Hangul, which has spaces, but glues words together
_DENSE_RANGES = re.compile(
    "[\u3041-\u30ff\u31f0-\u31ff\u0e01-\u0eff\u1000-\u109f\u1780-\u17ff\u1100-\u11ff\uac00-\ud7af]"
)
_WORD = powers(0xF1357AEA2E62A9C5, 256)  # from the 256th on, the order of a word's characters is not kept
_PIECE = powers(0xA0761D6478BD642F, PIECE_LENGTH)
_SPREAD = int(powers(0xE7037ED1A0B428DB, 2)[1])
_KINDS = powers(0x8EBC6AF09C88C6E3, 5)[
    1:
]  # a word, two characters, one, and a piece that look the same differ
_MASK = (1 << 63) - 1


@dataclass(frozen=True)
class _Words:
    """All words of all texts in one row, each between its marks, as names of int64 [n]."""

    codes: str
    kind: str
    """_LETTER, _DENSE or _HAN; marks have their word's."""
    word: str
    """Which word each belongs to."""
    opens: str
    """Where the words start; int64 [words], as is `closes`."""
    closes: str
    text: str
    """Which text each belongs to."""


def write_tokens(nodes: Nodes, characters: Characters, length: int) -> str:
    """Write the nodes from normalised characters to hashes of tokens.

    Args:
        nodes: gets the nodes.
        characters: at least one text has some.
        length: T, the number of places.

    Returns:
        The name of an int64 [texts, T]: hashes in 1..2^63 - 1, those of a text's words in order, then of its
        pairs and single characters, then of its pieces; 0 pads. What is beyond T places is left out.
    """
    words = _words(nodes, characters)
    kinds = (
        _whole(nodes, words),
        _runs(nodes, words, length=2, kind=_DENSE, salt=1),
        _runs(nodes, words, length=1, kind=_HAN, salt=2),
        _pieces(nodes, words),
    )
    hashes, texts = zip(*kinds, strict=True)
    # one more, which sorts behind the first text's, so that there always is a token
    hashed = nodes.op("Concat", *hashes, ints(0), axis=0)
    text = nodes.op("Concat", *texts, ints(0), axis=0)
    return _table(nodes, hashed, text, characters.texts, length)


def _words(nodes: Nodes, characters: Characters) -> _Words:
    codes, texts = _folded(nodes, characters)
    kind = nodes.op("Gather", _kinds(), nodes.op("Min", codes, _HAN_PLANES))
    kind = nodes.op("Cast", kind, to=TensorProto.INT64)
    script = nodes.op("Min", kind, _DENSE)  # a word of both kinds, such as "tv台", is two
    inside = nodes.op("Cast", nodes.op("Greater", kind, _SEPARATOR), to=TensorProto.INT64)
    first = nodes.op(
        "Cast", _changes(nodes, script, nodes.op("Pad", script, ints(1, -1))), to=TensorProto.INT64
    )
    last = nodes.op(
        "Cast", _changes(nodes, script, nodes.op("Pad", script, ints(-1, 1))), to=TensorProto.INT64
    )
    columns = (nodes.op("Mul", first, _OPEN), codes, nodes.op("Mul", last, _CLOSE))
    marked = nodes.op("Concat", *[nodes.column(nodes.op("Mul", c, inside)) for c in columns], axis=1)
    flat = nodes.op("Reshape", marked, ints(-1))
    places = nodes.nonzero(flat)
    marked, of = nodes.op("Gather", flat, places), nodes.op("Div", places, len(columns))
    opens = nodes.op("Equal", marked, _OPEN)
    word = nodes.op("Sub", nodes.op("CumSum", nodes.op("Cast", opens, to=TensorProto.INT64), 0), 1)
    return _Words(
        codes=marked,
        kind=nodes.op("Gather", kind, of),
        word=word,
        opens=nodes.nonzero(opens),
        closes=nodes.nonzero(nodes.op("Equal", marked, _CLOSE)),
        text=nodes.op("Gather", texts, of),
    )


def _changes(nodes: Nodes, values: str, others: str) -> str:
    return nodes.op("Not", nodes.op("Equal", values, others))


def _folded(nodes: Nodes, characters: Characters) -> tuple[str, str]:
    """Characters without case, and which text each belongs to."""
    folds = _folds()
    width = max(map(len, folds.values()))
    table = np.zeros((len(folds) + 1, width), np.int64)
    table[0, 0] = -1
    for place, fold in enumerate(folds.values(), start=1):
        table[place, : len(fold)] = [ord(c) for c in fold]
    row = nodes.lookup(characters.codes, np.array(list(folds)), np.arange(1, len(folds) + 1), 0)
    spread = nodes.op("Gather", table, row)
    spread = nodes.op("Where", nodes.op("Equal", spread, -1), nodes.column(characters.codes), spread)
    flat = nodes.op("Reshape", spread, ints(-1))
    places = nodes.nonzero(flat)
    return nodes.op("Gather", flat, places), nodes.op(
        "Gather", characters.text, nodes.op("Div", places, width)
    )


def _folds() -> dict[int, str]:
    """What each code point becomes that does not stay as it is."""
    characters = [chr(code) for code in range(_HAN_PLANES) if not 0xD800 <= code < 0xE000]
    # no other characters are left after normalisation
    characters = [c for c in characters if unicodedata.is_normalized("NFKC", c)]
    folds = {c: _OPTIONAL.sub("", unicodedata.normalize("NFKC", c.casefold())) for c in characters}
    return {ord(c): fold for c, fold in folds.items() if fold != c}


def _kinds() -> npt.NDArray[np.uint8]:
    """The kind of each code point up to those of the Chinese planes, which share the last place."""
    kinds = np.zeros(_HAN_PLANES + 1, np.uint8)
    for code in range(UNKNOWN):
        character = chr(code)
        if unicodedata.category(character)[0] in "LMN":
            han, dense = _HAN_RANGES.match(character), _DENSE_RANGES.match(character)
            kinds[code] = _HAN if han else _DENSE if dense else _LETTER
    kinds[_HAN_PLANES] = _HAN
    return kinds


def _whole(nodes: Nodes, words: _Words) -> tuple[str, str]:
    start = nodes.op("Gather", words.opens, words.word)
    place = nodes.op("Sub", nodes.range(nodes.size(words.codes)), start)
    weight = nodes.op("Gather", _WORD, nodes.op("Min", place, len(_WORD) - 1))
    total = nodes.op("CumSum", nodes.op("Mul", words.codes, weight), 0)
    hashes = nodes.op("Sub", nodes.op("Gather", total, words.closes), nodes.op("Gather", total, words.opens))
    return _finish(nodes, hashes, 0), nodes.op("Gather", words.text, words.opens)


def _runs(nodes: Nodes, words: _Words, length: int, kind: int, salt: int) -> tuple[str, str]:
    """Each run of so many characters, all of one word and at least of a kind, without the word's marks."""
    marks = nodes.op("Or", nodes.op("Equal", words.codes, _OPEN), nodes.op("Equal", words.codes, _CLOSE))
    fit = nodes.op("And", nodes.op("Not", marks), nodes.op("GreaterOrEqual", words.kind, kind))
    for ahead in range(1, length):
        fit = nodes.op("And", fit, nodes.op("Pad", fit, ints(-ahead, ahead)))
    return _windows(nodes, words, fit, length, salt)


def _pieces(nodes: Nodes, words: _Words) -> tuple[str, str]:
    ahead = PIECE_LENGTH - 1
    later = nodes.op("Pad", words.word, ints(-ahead, ahead), -1)
    return _windows(nodes, words, nodes.op("Equal", words.word, later), PIECE_LENGTH, 3)


def _windows(nodes: Nodes, words: _Words, fit: str, length: int, salt: int) -> tuple[str, str]:
    """Hash the runs of so many characters that start where they fit."""
    start = nodes.nonzero(fit)
    around = nodes.op("Add", nodes.column(start), np.arange(length))
    # not ReduceSum: onnxruntime's is inexact for large integers
    weighted = nodes.op("MatMul", nodes.op("Gather", words.codes, around), _PIECE[:length, None])
    hashes = nodes.op("Reshape", weighted, ints(-1))
    return _finish(nodes, hashes, salt), nodes.op("Gather", words.text, start)


def _finish(nodes: Nodes, hashes: str, salt: int) -> str:
    """Salt by kind, bring to 1..2^63 - 1."""
    salted = nodes.op("Mul", nodes.op("Add", hashes, int(_KINDS[salt])), _SPREAD)
    return nodes.op("Max", nodes.op("BitwiseAnd", salted, _MASK), 1)


def _table(nodes: Nodes, hashed: str, text: str, texts: str, length: int) -> str:
    """Sort tokens by text, keep the order within a text, and cut each text's to a length."""
    count = nodes.size(hashed)
    key = nodes.op("Add", nodes.op("Mul", text, count), nodes.range(count))
    _, order = nodes.ops("TopK", key, nodes.op("Reshape", count, ints(1)), outputs=2, largest=0)
    hashed, text = nodes.op("Gather", hashed, order), nodes.op("Gather", text, order)
    equal = nodes.op("Equal", nodes.column(nodes.range(texts)), text)
    counts = nodes.op("ReduceSum", nodes.op("Cast", equal, to=TensorProto.INT64), ints(1), keepdims=0)
    first = nodes.op("CumSum", counts, 0, exclusive=1)
    place = nodes.op("Sub", nodes.range(count), nodes.op("Gather", first, text))
    fits = nodes.op("Less", place, length)
    at = nodes.op("Add", nodes.op("Mul", text, length), place)
    size = nodes.op("Reshape", nodes.op("Mul", texts, length), ints(1))
    zeros = nodes.op("ConstantOfShape", size, value=helper.make_tensor("zero", TensorProto.INT64, [1], [0]))
    flat = nodes.op(
        "ScatterElements",
        zeros,
        nodes.op("Compress", at, fits, axis=0),
        nodes.op("Compress", hashed, fits, axis=0),
    )
    return nodes.op("Reshape", flat, ints(-1, length))
