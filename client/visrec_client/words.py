"""Words as numbers: the one tokenizer of visrec, shared by training and by requests.

A word stands for itself and for its pieces of four characters, so that "teapots" and "tepot" still meet
"teapot". Tokens are hashes, so there is no vocabulary to carry about; the model knows which it has learnt
and ignores the rest.

    >>> len(token_ids("Red teapot"))
    9
    >>> token_tensor("Red teapot", 64).shape
    (64,)
"""

from __future__ import annotations

import hashlib
import re
import unicodedata

import numpy as np
import numpy.typing as npt

PIECE_LENGTH = 4
_WORD = re.compile(r"[^\W_]+")  # letters and digits of any script; unlike \w+, an underscore separates


def token_ids(text: str) -> list[int]:
    """Turn a text into the hashes of its tokens.

    The text is normalised (NFKC, casefolded) and split into words of letters and digits. Each word gives a
    token for itself, and one for each 4 characters in a row of the word between angle brackets ("<red>"
    gives "<red" and "red>"). A word and a piece that look the same have different hashes.

    Args:
        text: any text, in any language; it may be empty.

    Returns:
        Distinct hashes, each in 1..2^63 - 1: those of the words in order, then those of the pieces in
        order, so that a cut loses pieces first. Stable over machines, processes and versions.
    """
    # casefolding can undo the normal form, so it is brought back afterwards
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    words = _WORD.findall(folded)
    tokens = [f"w:{word}" for word in words]
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


def _hash(token: str) -> int:
    digest = hashlib.blake2b(token.encode()).digest()
    return (int.from_bytes(digest[:8], "little") & (2**63 - 1)) or 1  # 0 is padding
