"""Texts to the pieces of a WordPiece vocabulary, as ONNX nodes.

A text is split into words as BERT does it (Devlin et al., BERT, NAACL 2019), and each word is cut from left
to right, the longest piece first (WordPiece: Wu et al., Google's Neural Machine Translation System, 2016).
Which piece is the longest is looked up at all places at once; which places a cut then comes by is found by
doubling jumps, so no loop follows the longest word.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from onnx import TensorProto, helper

from visrec_training.text.characters import CODES, Characters
from visrec_training.text.nodes import Nodes, hash_strings, ints, powers

CONTINUES = "##"
"""What a piece begins with that does not begin a word."""
_HASH = 0xCA5A826395121157
_BEGINS = int(
    powers(0x7C3CF0EE2A9A7D3B, 2)[1]
)  # makes a piece that begins a word differ from one that doesn't
_OWN, _GAP = -1, ord(" ")
# As the `tokenizers` library has them, which leaves out the first 256 of Extension E.
_CHINESE = (
    (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F), (0x2B920, 0x2CEAF), (0x2F800, 0x2FA1F),
)  # fmt: skip


@dataclass(frozen=True)
class WordPieces:
    """A WordPiece vocabulary, and how texts are made ready for it."""

    pieces: list[str]
    """By id."""
    unknown: int
    """The id of a word that can't be cut into pieces, as are the next two."""
    begin: int
    end: int
    longest_word: int
    """Words of more characters are unknown."""
    lower: bool
    strip_accents: bool
    split_chinese: bool
    """Whether each Chinese character is a word."""


@dataclass(frozen=True)
class Tokens:
    """The tokens of all texts in one row, as names of values."""

    ids: str
    """int64 [n]: without marks of begin and end."""
    text: str
    """int64 [n]: which text each belongs to."""
    understood: str
    """float32 [texts]: the share of a text's characters that are in known words; 0 where it has none."""


def write_wordpieces(nodes: Nodes, characters: Characters, vocabulary: WordPieces) -> Tokens:
    """Write the nodes that cut texts into pieces.

    Args:
        nodes: gets the nodes.
        characters: as they were typed.
        vocabulary: the pieces.

    Returns:
        The names of the results.

    Raises:
        ValueError: two pieces have the same hash.
    """
    codes, text = _words(nodes, characters, vocabulary)
    inside = nodes.op("Not", nodes.op("Equal", codes, _GAP))
    before = nodes.op("Pad", inside, ints(1, -1))
    starts = nodes.op("And", inside, nodes.op("Not", before))
    piece, length = _longest(nodes, codes, starts, vocabulary)
    visited = _visited(nodes, starts, length, vocabulary.longest_word)
    unknown = _unknown(nodes, inside, starts, visited, length, vocabulary.longest_word)
    known = nodes.op("And", inside, nodes.op("Not", unknown))
    chosen = nodes.op("Or", starts, nodes.op("And", known, visited))  # an unknown word is one piece
    piece = nodes.op("Where", unknown, vocabulary.unknown, piece)
    all_characters, known_ones = (_count(nodes, text, each, characters.texts) for each in (inside, known))
    return Tokens(
        ids=nodes.op("Compress", piece, chosen, axis=0),
        text=nodes.op("Compress", text, chosen, axis=0),
        understood=nodes.op("Div", known_ones, nodes.op("Max", all_characters, np.float32(1))),
    )


def _words(nodes: Nodes, characters: Characters, vocabulary: WordPieces) -> tuple[str, str]:
    """Characters with gaps between words, the last of each text a gap, and the text of each: int64 [n]."""
    rows, spellings = _spellings(vocabulary)
    row = nodes.op("Cast", nodes.op("Gather", rows, characters.typed), to=TensorProto.INT64)
    spread = nodes.op("Gather", spellings, row)
    own = nodes.op("Unsqueeze", characters.typed, ints(2))
    spread = nodes.op("Where", nodes.op("Equal", spread, _OWN), own, spread)
    apart = nodes.op("Flatten", spread, axis=1)
    apart = nodes.op("Pad", apart, ints(0, 0, 0, 1), _GAP)
    flat = nodes.op("Reshape", apart, ints(-1))
    places = nodes.nonzero(flat)
    return nodes.op("Gather", flat, places), nodes.op("Div", places, nodes.size(apart, 1))


def _spellings(vocabulary: WordPieces) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.int64]]:
    """What each character becomes: the row of each [CODES], and the rows; 0 is nothing, -1 the character."""
    spelt = [_spell(chr(code), vocabulary) for code in range(CODES)]
    row_of = {spelling: row for row, spelling in enumerate(sorted(set(spelt)))}
    table = np.zeros((len(row_of), max(map(len, row_of))), np.int64)
    for spelling, row in row_of.items():
        table[row, : len(spelling)] = spelling
    return np.array([row_of[spelling] for spelling in spelt], np.uint16), table


def _spell(character: str, vocabulary: WordPieces) -> tuple[int, ...]:
    """Clean, take off case and accents, and put gaps around what is a word of its own."""
    category = unicodedata.category(character)
    # characters that Unicode has not given out yet stay, as others that no piece has
    if character in "\0\ufffd" or (category in ("Cc", "Cf", "Co") and character not in "\t\n\r"):
        return ()
    alone = vocabulary.split_chinese and any(low <= ord(character) <= high for low, high in _CHINESE)
    spelt = character
    if vocabulary.strip_accents:
        parts = unicodedata.normalize("NFD", character)
        spelt = "".join(part for part in parts if unicodedata.category(part) != "Mn")
    found: list[int] = []
    for part in spelt.lower() if vocabulary.lower else spelt:
        code = _OWN if part == character else ord(part)
        if part.isspace():
            found.append(_GAP)
        else:
            found += [_GAP, code, _GAP] if alone or _is_punctuation(part) else [code]
    return tuple(found)


def _is_punctuation(character: str) -> bool:
    """BERT's: all of ASCII that is no letter, digit or space counts too, such as $."""
    symbol = character.isascii() and character.isprintable() and not character.isalnum()
    return symbol or unicodedata.category(character).startswith("P")


def _longest(nodes: Nodes, codes: str, starts: str, vocabulary: WordPieces) -> tuple[str, str]:
    """The longest piece that begins at each character, and its length; 0 where there is none: int64 [n]."""
    size = len(vocabulary.pieces)
    numbers = {piece: number for number, piece in enumerate(vocabulary.pieces) if chr(_GAP) not in piece}
    continues = np.array([piece.startswith(CONTINUES) and piece != CONTINUES for piece in numbers])
    bare = [
        piece[len(CONTINUES) :] if inner else piece for piece, inner in zip(numbers, continues, strict=True)
    ]
    lengths = np.array([len(piece) for piece in bare])
    weights = powers(_HASH, int(lengths.max()))
    keys = hash_strings(bare, weights) + np.where(continues, 0, _BEGINS)
    if len(np.unique(keys)) != len(keys):
        raise ValueError("this vocabulary can't be written as ONNX: two pieces have one hash")
    padded = nodes.op("Pad", codes, ints(0, len(weights)), _GAP)
    around = nodes.op("Add", nodes.column(nodes.range(nodes.size(codes))), np.arange(len(weights)))
    hashes = nodes.op("CumSum", nodes.op("Mul", nodes.op("Gather", padded, around), weights), 1)
    begins = nodes.op("Mul", nodes.op("Cast", starts, to=TensorProto.INT64), _BEGINS)
    hashes = nodes.op("Add", hashes, nodes.column(begins))
    # of several the longest has the largest number
    found = nodes.lookup(hashes, keys, lengths * size + np.array(list(numbers.values())), 0)
    best = nodes.op("ReduceMax", found, ints(1), keepdims=0)
    return nodes.op("Mod", best, size), nodes.op("Div", best, size)


def _visited(nodes: Nodes, starts: str, length: str, most: int) -> str:
    """Whether the cut of a word comes by a place, bool [n], if it takes no more than so many pieces.

    A jump leads behind the longest piece; where there is none it stays, as it does in gaps.
    """
    jump = nodes.op("Add", nodes.range(nodes.size(length)), length)
    visited = nodes.op("Cast", starts, to=TensorProto.INT64)
    for _ in range(most.bit_length()):
        visited = nodes.op("ScatterElements", visited, jump, visited, reduction="max")
        jump = nodes.op("Gather", jump, jump)
    return nodes.op("Cast", visited, to=TensorProto.BOOL)


def _unknown(nodes: Nodes, inside: str, starts: str, visited: str, length: str, most: int) -> str:
    """Whether a character is in a word that is too long or that can't be cut into pieces: bool [n]."""
    stuck = nodes.op("And", visited, nodes.op("Equal", length, 0))
    stuck = nodes.op("Cast", stuck, to=TensorProto.INT64)
    # a character counts 1, one where the cut is stuck as much as makes a word too long
    cost = nodes.op("Add", nodes.op("Mul", stuck, most), 1)
    cost = nodes.op("Mul", cost, nodes.op("Cast", inside, to=TensorProto.INT64))
    word = nodes.op("CumSum", nodes.op("Cast", starts, to=TensorProto.INT64), 0)  # gaps: of the word before
    total = nodes.op("ScatterElements", nodes.op("Mul", word, 0), word, cost, reduction="add")
    return nodes.op("Greater", nodes.op("Gather", total, word), most)


def _count(nodes: Nodes, text: str, chosen: str, texts: str) -> str:
    """How many characters of each text are chosen: float32 [texts]."""
    zero = helper.make_tensor("zero", TensorProto.FLOAT, [1], [0])
    none = nodes.op("ConstantOfShape", nodes.op("Reshape", texts, ints(1)), value=zero)
    ones = nodes.op("Cast", chosen, to=TensorProto.FLOAT)
    return nodes.op("ScatterElements", none, text, ones, reduction="add")
