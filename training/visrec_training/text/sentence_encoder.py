"""What a sentence encoder is: pretrained, frozen, and able to write itself as ONNX nodes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from visrec_training.text.characters import Characters
from visrec_training.text.nodes import Nodes


@dataclass(frozen=True)
class Sentences:
    """What an encoder says of texts, as names of values."""

    vectors: str
    """float32 [texts, width]: length 1; zeros for a text without characters."""
    understood: str
    """float32 [texts]: the share of characters that the encoder knows; 0 for a text without characters."""


@dataclass(frozen=True)
class TextEncoder:
    """A sentence encoder."""

    name: str
    width: int
    """How many numbers a vector has; 0 if this encoder says nothing."""
    write: Callable[[Nodes, Nodes, Characters], Sentences]
    """Write the nodes, given those to add to, the outermost graph's (for weights) and the characters."""
    words: Callable[[], list[str]]
    """Words that the encoder knows, the commonest first."""
