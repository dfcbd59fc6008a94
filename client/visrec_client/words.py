"""Words as numbers: the one tokenizer of visrec, shared by training and by requests.

A word stands for itself and for its pieces of four characters, so that "teapots" and "tepot" still meet
"teapot". Of scripts that put no spaces between words, each two neighbouring characters are a token too, so
that "苹果" meets "红苹果". Tokens are hashes, so there is no vocabulary to carry about; the model knows which
it has learnt and ignores the rest.

    >>> len(token_ids("Red teapot"))
    9
    >>> token_tensor("Red teapot", 64).shape
    (64,)
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from itertools import pairwise

import numpy as np
import numpy.typing as npt

PIECE_LENGTH = 4

# All combining marks lie in these two ranges, as in any script that is written with vowel signs.
_MARKS = "".join(
    chr(code)
    for codes in (range(0x300, 0x20000), range(0xE0100, 0xE01F0))
    for code in codes
    if unicodedata.category(chr(code)).startswith("M")
)
# Letters and digits of any script with their marks; unlike \w+, an underscore separates.
_WORD = re.compile(rf"[^\W_](?:[^\W_]|[{re.escape(_MARKS)}])*")
# Not seen, or not always written: soft hyphens, joiners, Arabic kashida and vowels, Hebrew points.
_OPTIONAL = re.compile(
    "[\u00ad\u200c\u200d\u0640\u064b-\u0652\u0670\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4-\u05c7]"
)
_HAN = "\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
# Hiragana and Katakana; Thai, Lao, Myanmar, Khmer; Hangul, which has spaces, but glues words together
_OTHER_DENSE = "\u3041-\u30ff\u31f0-\u31ff\u0e01-\u0eff\u1000-\u109f\u1780-\u17ff\u1100-\u11ff\uac00-\ud7af"
_DENSE = f"{_HAN}{_OTHER_DENSE}"
# A word of both kinds, such as "tv台", is two.
_PART = re.compile(f"[{_DENSE}]+|[^{_DENSE}]+")
_LETTER = re.compile(rf"[^{re.escape(_MARKS)}][{re.escape(_MARKS)}]*")
_IDEOGRAPH = re.compile(f"[{_HAN}]")


def token_ids(text: str) -> list[int]:
    """Turn a text into the hashes of its tokens.

    The text is normalised (NFKC, casefolded) and split into words of letters and digits. Each word gives a
    token for itself, and one for each 4 characters in a row of the word between angle brackets ("<red>"
    gives "<red" and "red>"). A word and a piece that look the same have different hashes.

    Words in scripts without spaces also give a token for each two letters in a row, and for each Chinese
    character. A word of three letters with an s at its end also gives the word without it: "tvs" has no
    piece in common with "tv".

    Args:
        text: any text, in any language; it may be empty.

    Returns:
        Distinct hashes, each in 1..2^63 - 1: those of the words in order, then those of the pieces in
        order, short ones first, so that a cut loses long pieces first. Stable over machines and processes.
    """
    # casefolding can undo the normal form, so it is brought back afterwards
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    words = [part for word in _WORD.findall(_OPTIONAL.sub("", folded)) for part in _PART.findall(word)]
    tokens = [f"w:{word}" for word in words]
    tokens += [f"w:{word[:2]}" for word in words if len(word) == 3 and word.endswith("s")]
    tokens += [f"g:{piece}" for word in words for piece in _short_pieces(word)]
    tokens += [f"g:{piece}" for word in words for piece in _pieces(f"<{word}>")]
    return list(dict.fromkeys(_hash(token) for token in dict.fromkeys(tokens)))


def token_tensor(text: str, length: int) -> npt.NDArray[np.int64]:
    """Turn a text into a tensor TEXT: the first `length` hashes of `token_ids`, then zeros.

    Args:
        text: any text; the empty text gives zeros alone.
        length: number of places, T in the model.

    Returns:
        int64 [length].
    """
    tensor = np.zeros(length, np.int64)
    ids = token_ids(text)[:length]
    tensor[: len(ids)] = ids
    return tensor


def _pieces(word: str) -> list[str]:
    return [word[start : start + PIECE_LENGTH] for start in range(len(word) - PIECE_LENGTH + 1)]


def _short_pieces(word: str) -> list[str]:
    """Each two letters in a row, each with its marks, and each Chinese character; none of other scripts."""
    if not re.match(f"[{_DENSE}]", word):
        return []
    letters = _LETTER.findall(word)
    pairs = [first + second for first, second in pairwise(letters)]
    return pairs + _IDEOGRAPH.findall(word)


def _hash(token: str) -> int:
    digest = hashlib.blake2b(token.encode()).digest()
    return (int.from_bytes(digest[:8], "little") & (2**63 - 1)) or 1  # 0 is padding
