"""The sentence encoders that a name, or a folder, selects."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from visrec_training.errors import WeightsError
from visrec_training.text.bert_encoder import whole_words as whole_words_of
from visrec_training.text.bert_encoder import write_bert
from visrec_training.text.bert_resources import minilm_folder, read_bert
from visrec_training.text.characters import Characters
from visrec_training.text.nodes import Nodes, ints
from visrec_training.text.sentence_encoder import Sentences, TextEncoder
from visrec_training.text.use_encoder import WIDTH, whole_words, write_use

USE_MULTILINGUAL, MINILM, NONE = "use-multilingual", "minilm", "none"


def _bert(name: str, folder: Path) -> TextEncoder:
    model = read_bert(folder)
    return TextEncoder(name, model.width, partial(write_bert, model=model), partial(whole_words_of, model))


def _write_none(nodes: Nodes, outer: Nodes, characters: Characters) -> Sentences:
    """No numbers, and nothing understood."""
    texts = nodes.op("Reshape", characters.texts, ints(1))
    vectors = nodes.op("ConstantOfShape", nodes.op("Concat", texts, ints(0), axis=0))
    return Sentences(vectors, nodes.op("ConstantOfShape", texts))


ENCODERS: dict[str, Callable[[], TextEncoder]] = {
    USE_MULTILINGUAL: lambda: TextEncoder(USE_MULTILINGUAL, WIDTH, write_use, whole_words),
    MINILM: lambda: _bert(MINILM, minilm_folder()),
    NONE: lambda: TextEncoder(NONE, 0, _write_none, list),
}


def text_encoder(name: str) -> TextEncoder:
    """Find a sentence encoder; its weights are read only where it is written.

    Args:
        name: one of `ENCODERS`, or the folder of a model of sentence-transformers. A folder is known by its
            whole path from then on.

    Raises:
        WeightsError: there is none of that name, it is not installed, or it is of no kind that is supported.
    """
    if name in ENCODERS:
        return ENCODERS[name]()
    folder = Path(name)
    if os.sep in name or os.path.isdir(name):  # noqa: PTH112  (never raises)
        return _bert(str(folder.absolute()), folder)
    names = ", ".join(sorted(ENCODERS))
    raise WeightsError(
        f"there is no text encoder '{name}': choose one of {names}, or a folder with a model of"
        " sentence-transformers"
    )
