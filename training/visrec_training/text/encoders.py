"""The sentence encoders that a name selects."""

from __future__ import annotations

from visrec_training.errors import WeightsError
from visrec_training.text.characters import Characters
from visrec_training.text.nodes import Nodes, ints
from visrec_training.text.sentence_encoder import Sentences, TextEncoder
from visrec_training.text.use_encoder import WIDTH, write_use

USE_MULTILINGUAL, NONE = "use-multilingual", "none"


def _write_none(nodes: Nodes, outer: Nodes, characters: Characters) -> Sentences:
    """No numbers, and nothing understood."""
    texts = nodes.op("Reshape", characters.texts, ints(1))
    vectors = nodes.op("ConstantOfShape", nodes.op("Concat", texts, ints(0), axis=0))
    return Sentences(vectors, nodes.op("ConstantOfShape", texts))


ENCODERS = {
    encoder.name: encoder
    for encoder in (TextEncoder(USE_MULTILINGUAL, WIDTH, write_use), TextEncoder(NONE, 0, _write_none))
}


def text_encoder(name: str) -> TextEncoder:
    """Find a sentence encoder.

    Raises:
        WeightsError: there is none of that name.
    """
    if name not in ENCODERS:
        raise WeightsError(f"there is no text encoder '{name}': choose one of {', '.join(sorted(ENCODERS))}")
    return ENCODERS[name]
