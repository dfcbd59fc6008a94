"""The client: sends what a person looks at, did and typed; returns ranked items."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from tritonclient.grpc import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from visrec_client import wire
from visrec_client.errors import IncompatibleServer, InvalidRequest
from visrec_client.picture import PictureSource, load_picture
from visrec_client.ranking import RankedItem, rank
from visrec_client.status import error_from_call


@dataclass(frozen=True, slots=True, eq=False)
class Recommendation:
    """An answer."""

    items: tuple[RankedItem, ...]
    """Best first."""
    attention: npt.NDArray[np.float32] | None
    """float32 [7, 7]: how much each part of the picture decided, summing to 1; None without a picture."""


class Recommender:
    """A connection to a server of recommendations.

        with Recommender("localhost:8001") as recommender:
            answer = recommender.recommend("shoe.jpg", history=["boot-7", "sock-2"], text="red", k=5)
            for item in answer.items:
                print(item.item_id, item.score)

    It connects with the first call, and then learns from the server what size its tensors have. One
    recommender may be used by many threads at once.
    """

    def __init__(self, url: str = "localhost:8001", *, timeout: float = 5.0) -> None:
        """Prepare a connection; nothing is sent yet.

        Args:
            url: host:port of the server's gRPC, without http://.
            timeout: seconds that one call of `recommend` or `embed` may take in all.

        Raises:
            InvalidRequest: the url is one of HTTP, or the timeout is not positive.
        """
        if url.startswith(("http://", "https://")):
            raise InvalidRequest(
                f"url is '{url}': give host:port of the server's gRPC, such as localhost:8001"
            )
        if not timeout > 0:
            raise InvalidRequest(f"timeout is {timeout}: it must be a positive number of seconds")
        self._url = url
        self._timeout = timeout
        self._client = InferenceServerClient(url)
        self._dimensions: wire.Dimensions | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def recommend(
        self,
        image: PictureSource | None = None,
        history: Sequence[str] = (),
        text: str = "",
        k: int = 10,
        exclude: Iterable[str] = (),
        exclude_history: bool = True,
    ) -> Recommendation:
        """Rank items for a person. Whatever is unknown is left out; without anything, what is popular comes.

        Args:
            image: the picture that the person looks at, in any form that `load_picture` takes.
            history: ids of items that the person chose before, oldest first. The newest that the model
                takes are sent; ids that the server does not know are ignored there.
            text: words that the person typed.
            k: how many items to return at most; no more than the server ranks.
            exclude: ids of items not to return.
            exclude_history: leave out the items of the history as well.

        Returns:
            At most `k` items, best first: fewer where exclusion leaves fewer of those that the server ranks.

        Raises:
            InvalidImage: the picture cannot be used.
            InvalidRequest: another argument cannot be used, or `k` is more than the server ranks.
            ServerUnavailable: no server answers at the url.
            Overloaded: the server turned the request away.
            DeadlineExceeded: the timeout passed.
            IncompatibleServer: the server lacks a model or tensor that is needed.
            ServerError: the server failed in another way.
        """
        _check_request(history, text, k, exclude)
        deadline = time.monotonic() + self._timeout
        dimensions = self._learn_dimensions(deadline)
        if k > dimensions.items:
            raise InvalidRequest(f"k is {k}, but the server ranks {dimensions.items} items: ask for no more")
        picture = None if image is None else load_picture(image, dimensions.picture_size)
        model, inputs = wire.ranking_request(dimensions, picture, history, text)
        outputs = self._infer(model, inputs, wire.RANKED_OUTPUTS, deadline)
        excluded = {*exclude, *history} if exclude_history else exclude
        return Recommendation(
            items=rank(wire.ranked_items(outputs), k, exclude=excluded),
            attention=None if image is None else outputs["ATTENTION"][0],
        )

    def embed(self, image: PictureSource) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """See a picture as the model does: what the vectors of catalogue items are made from.

        Args:
            image: a picture, in any form that `load_picture` takes.

        Returns:
            The aspects, float32 [M, d], and for each aspect where it was seen, float32 [M, 49], each row
            summing to 1.

        Raises:
            VisrecError: as for `recommend`.
        """
        deadline = time.monotonic() + self._timeout
        picture = load_picture(image, self._learn_dimensions(deadline).picture_size)
        outputs = self._infer(wire.EMBEDDER, {"IMAGE": picture[None]}, wire.EMBEDDED_OUTPUTS, deadline)
        return outputs["ASPECTS"][0], outputs["MAPS"][0]

    def _learn_dimensions(self, deadline: float) -> wire.Dimensions:
        if self._dimensions is None:  # two threads may both ask; they learn the same
            metadata = {}
            for model in (wire.RECOMMENDER, wire.RANKER):
                try:
                    metadata[model] = self._client.get_model_metadata(model, client_timeout=_left(deadline))
                except InferenceServerException as error:
                    raise error_from_call(error, self._url) from error
            self._dimensions = wire.read_dimensions(metadata)
        return self._dimensions

    def _infer(
        self, model: str, inputs: wire.Tensors, outputs: Sequence[str], deadline: float
    ) -> dict[str, npt.NDArray[Any]]:
        try:
            result = self._client.infer(
                model,
                [_infer_input(name, tensor) for name, tensor in inputs.items()],
                outputs=[InferRequestedOutput(name) for name in outputs],
                client_timeout=_left(deadline),
            )
        except InferenceServerException as error:
            raise error_from_call(error, self._url) from error
        tensors = {name: result.as_numpy(name) for name in outputs}
        if absent := [name for name, tensor in tensors.items() if tensor is None]:
            raise IncompatibleServer(f"the server's model '{model}' did not return {', '.join(absent)}")
        return tensors


def _check_request(history: Sequence[str], text: str, k: int, exclude: Iterable[str]) -> None:
    """Refuse what is wrong whatever the server, before it is asked."""
    if not isinstance(history, Sequence) or isinstance(history, str | bytes):
        raise InvalidRequest(f"history is {history!r}: give a sequence of item ids, oldest first")
    if isinstance(exclude, str | bytes):
        raise InvalidRequest(f"exclude is {exclude!r}: give a collection of item ids")
    if not isinstance(text, str):
        raise InvalidRequest(f"text is {text!r}: give a str, and '' where there are no words")
    if not isinstance(k, int) or k < 1:
        raise InvalidRequest(f"k is {k!r}: ask for a whole number of items, at least 1")


def _infer_input(name: str, tensor: npt.NDArray[Any]) -> InferInput:
    return InferInput(name, list(tensor.shape), np_to_triton_dtype(tensor.dtype)).set_data_from_numpy(tensor)


def _left(deadline: float) -> float:
    return max(deadline - time.monotonic(), 0.0)
