"""What goes over the wire: the tensors of a request and of an answer, apart from how they travel.

Everything here is a pure function of arrays and of the server's model metadata, so that any transport
(blocking, asyncio, shared memory) can use it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from visrec_client.errors import IncompatibleServer
from visrec_client.ranking import RankedItem

RECOMMENDER = "recommender"
RANKER = "ranker"
EMBEDDER = "embedder"
RANKED_OUTPUTS = ("ITEM_ID", "SCORE", "ATTENTION", "KNOWN", "UNDERSTOOD", "RELEASE")
EMBEDDED_OUTPUTS = ("ASPECTS", "MAPS")

Tensors: TypeAlias = Mapping[str, npt.NDArray[Any]]
_Form: TypeAlias = tuple[str, tuple[str | int, ...]]

# A letter stands for a size that the server decides, and for the same size wherever it stands.
_QUERY: dict[str, _Form] = {"HISTORY": ("BYTES", ("L",)), "TEXT": ("BYTES", (1,))}
_RANKED: dict[str, _Form] = {
    "ITEM_ID": ("BYTES", ("K",)),
    "SCORE": ("FP32", ("K",)),
    "ATTENTION": ("FP32", ("G", "G")),
    "KNOWN": ("BOOL", ("L",)),
    "UNDERSTOOD": ("FP32", (1,)),
    "RELEASE": ("INT64", (1,)),
}
_EXPECTED: dict[str, tuple[dict[str, _Form], dict[str, _Form]]] = {
    RECOMMENDER: ({"IMAGE": ("UINT8", ("S", "S", 3)), **_QUERY}, _RANKED),
    RANKER: ({"ASPECTS": ("FP32", ("M", "d")), "MAPS": ("FP32", ("M", "R")), **_QUERY}, _RANKED),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Dimensions:
    """The sizes of one server's tensors."""

    picture_size: int
    """Side of IMAGE in pixels."""
    history_length: int
    """How many ids HISTORY holds."""
    items: int
    """How many ranked items an answer holds at most."""
    aspects: int
    """How many learned looks at a picture there are."""
    aspect_width: int
    """Numbers in one aspect."""
    regions: int
    """Places of the attention grid, over which each map of an aspect sums to 1."""


def read_dimensions(metadata: Mapping[str, Any]) -> Dimensions:
    """Learn the sizes of a server's tensors from its models' metadata.

    Args:
        metadata: for `recommender` and for `ranker`, the server's ModelMetadataResponse.

    Raises:
        IncompatibleServer: a tensor is missing, of another type or shape, or does not fit another one.
    """
    sizes: dict[str, int] = {}
    for model, expected in _EXPECTED.items():
        for kind, forms, found in zip(
            ("input", "output"), expected, (metadata[model].inputs, metadata[model].outputs), strict=True
        ):
            tensors = {tensor.name: tensor for tensor in found}
            for name, form in forms.items():
                if name not in tensors:
                    raise IncompatibleServer(f"the server's model '{model}' has no {kind} {name}")
                _bind(tensors[name], form, sizes, f"the server's model '{model}' has the {kind} {name}")
    if sizes["R"] != sizes["G"] ** 2:
        raise IncompatibleServer(
            f"the server's model '{RANKER}' has MAPS of {sizes['R']} places, "
            f"but ATTENTION of {sizes['G']} x {sizes['G']}"
        )
    return Dimensions(
        picture_size=sizes["S"],
        history_length=sizes["L"],
        items=sizes["K"],
        aspects=sizes["M"],
        aspect_width=sizes["d"],
        regions=sizes["R"],
    )


def _bind(tensor: Any, form: _Form, sizes: dict[str, int], what: str) -> None:  # noqa: ANN401  (a protobuf message)
    """Match a tensor with its expected form; sizes met for the first time are written down."""
    datatype, dims = form
    shape = tuple(tensor.shape)[1:]  # the first is the batch
    fits = tensor.datatype == datatype and len(shape) == len(dims)
    for dim, size in zip(dims, shape, strict=False):
        wanted = dim if isinstance(dim, int) else sizes.setdefault(dim, size)
        fits = fits and size == wanted and size > 0
    if not fits:
        wanted_dims = ", ".join(
            f"{dim}={sizes[dim]}" if dim in sizes else str(dim) for dim in ("batch", *dims)
        )
        raise IncompatibleServer(
            f"{what} {tensor.datatype} {list(tensor.shape)}, "
            f"where this client expects {datatype} [{wanted_dims}]"
        )


def ranking_request(
    dimensions: Dimensions,
    picture: npt.NDArray[np.uint8] | None,
    history: Iterable[str],
    text: str,
) -> tuple[str, dict[str, npt.NDArray[Any]]]:
    """Build a request for ranked items.

    Args:
        dimensions: what the server's tensors measure.
        picture: uint8 [S, S, 3], or None.
        history: item ids, oldest first; the newest that fit are sent.
        text: what was typed, or "".

    Returns:
        The model to ask, and its inputs with a batch of 1. Without a picture that is `ranker`,
        told by maps of zeros that there is none.
    """
    query = {
        "HISTORY": _history_tensor(history, dimensions.history_length)[None],
        "TEXT": _text_tensor(text)[None],
    }
    if picture is not None:
        return RECOMMENDER, {"IMAGE": picture[None], **query}
    aspects = np.zeros((1, dimensions.aspects, dimensions.aspect_width), np.float32)
    maps = np.zeros((1, dimensions.aspects, dimensions.regions), np.float32)
    return RANKER, {"ASPECTS": aspects, "MAPS": maps, **query}


def _history_tensor(history: Iterable[str], length: int) -> npt.NDArray[np.object_]:
    """The newest `length` ids, oldest first, then "": object [length] of UTF-8 bytes."""
    newest = [item_id.encode() for item_id in tuple(history)[-length:]]
    tensor = np.full(length, b"", object)
    tensor[: len(newest)] = newest
    return tensor


def _text_tensor(text: str) -> npt.NDArray[np.object_]:
    """The text: object [1] of UTF-8 bytes. NUL, which nobody types, would end it for Triton's C++ backend."""
    return np.array([text.replace("\0", " ").encode()], object)


def ranked_items(outputs: Tensors) -> tuple[RankedItem, ...]:
    """Read the ranked items of an answer with a batch of 1; the padding of small catalogues is dropped.

    Raises:
        IncompatibleServer: an id is no text.
    """
    try:
        ids = [item_id.decode() for item_id in outputs["ITEM_ID"][0]]
    except UnicodeDecodeError as error:
        raise IncompatibleServer(
            f"the server names an item {error.object!r}, which is not UTF-8: export its catalogue again"
        ) from error
    scores = outputs["SCORE"][0].tolist()
    return tuple(RankedItem(item_id, score) for item_id, score in zip(ids, scores, strict=True) if item_id)


def unknown_history(history: Iterable[str], outputs: Tensors) -> tuple[str, ...]:
    """Read which of the newest ids of a history, those that were sent, the catalogue lacks; each once."""
    known = outputs["KNOWN"][0].tolist()
    sent = tuple(history)[-len(known) :]
    return tuple(dict.fromkeys(item_id for item_id, found in zip(sent, known, strict=False) if not found))


def understood_text(outputs: Tensors) -> float:
    """Read which share of the text the model understood, 0 to 1; 0 where none was sent."""
    return float(outputs["UNDERSTOOD"].item())


def knows_history(outputs: Tensors) -> bool:
    """Read whether the catalogue has any of the history's ids that were sent."""
    return bool(outputs["KNOWN"].any())
