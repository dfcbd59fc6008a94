"""What is asked of a server, in which order, by when; the same for blocking calls and for asyncio."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from tritonclient.grpc import InferRequestedOutput

from visrec_client import wire
from visrec_client.channel import check_timeout
from visrec_client.errors import DeadlineExceeded, IncompatibleServer, InvalidRequest
from visrec_client.picture import PictureSource
from visrec_client.ranking import rank
from visrec_client.request import CallInfo, Recommendation, Request
from visrec_client.trace import trace_headers
from visrec_client.transport import Transport, infer_input

Result = TypeVar("Result")
OnCall = Callable[[CallInfo], None]
Embedding = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]
_LOG = logging.getLogger(__name__)


class Conversation:
    """Knows the server's sizes once it has met it."""

    def __init__(self, transport: Transport, endpoint: str, timeout: float, on_call: OnCall | None) -> None:
        """The arguments are those of `Recommender`.

        Raises:
            InvalidRequest: the timeout is not positive.
        """
        self._transport = transport
        self._endpoint = endpoint
        self._timeout = check_timeout(timeout)
        self._on_call = on_call
        self._dimensions: wire.Dimensions | None = None

    async def recommend(
        self, request: Request, trace: Mapping[str, str] | None, timeout: float | None
    ) -> Recommendation:
        """Answer one request, as `Recommender.recommend` says."""

        async def ask(call: _Call) -> Recommendation:
            dimensions = await self._learn_dimensions(call)
            if request.k > dimensions.items:
                raise InvalidRequest(
                    f"k is {request.k}, but the server ranks {dimensions.items} items: ask for no more"
                )
            picture = None
            if request.image is not None:
                picture = await self._transport.load_picture(request.image, dimensions.picture_size)
            model, inputs = wire.ranking_request(dimensions, picture, request.history, request.text)
            outputs = await self._infer(call, model, inputs, wire.RANKED_OUTPUTS)
            understood = wire.understood_text(outputs)
            excluded = {*request.exclude, *(request.history if request.exclude_history else ())}
            return Recommendation(
                items=rank(wire.ranked_items(outputs), request.k, exclude=excluded),
                attention=None if picture is None else outputs["ATTENTION"][0],
                unknown_history=wire.unknown_history(request.history, outputs),
                understood=understood if request.text else None,
                is_popular=picture is None and not understood and not wire.knows_history(outputs),
                release=int(outputs["RELEASE"].item()),
            )

        return await self._call("recommend", ask, request.request_id, trace, timeout)

    async def embed(
        self, image: PictureSource, request_id: str, trace: Mapping[str, str] | None, timeout: float | None
    ) -> Embedding:
        """See a picture, as `Recommender.embed` says."""

        async def ask(call: _Call) -> Embedding:
            size = (await self._learn_dimensions(call)).picture_size
            picture = await self._transport.load_picture(image, size)
            outputs = await self._infer(call, wire.EMBEDDER, {"IMAGE": picture[None]}, wire.EMBEDDED_OUTPUTS)
            return outputs["ASPECTS"][0], outputs["MAPS"][0]

        return await self._call("embed", ask, request_id, trace, timeout)

    async def _call(
        self,
        method: str,
        ask: Callable[[_Call], Coroutine[Any, Any, Result]],
        request_id: str,
        trace: Mapping[str, str] | None,
        timeout: float | None,
    ) -> Result:
        """Ask, again if the server has been replaced by one of other sizes, and tell how it went."""
        allowed = self._timeout if timeout is None else check_timeout(timeout)
        start = time.monotonic()
        call = _Call(start + allowed, request_id, trace_headers(trace), self._endpoint)
        error: type[BaseException] | None = None
        remembered = self._dimensions is not None
        try:
            try:
                return await ask(call)
            except IncompatibleServer:
                self._dimensions = None
                if not remembered:
                    raise
                _LOG.info("asking %s again: its models have changed", self._endpoint)
                return await ask(call)
        except BaseException as raised:
            error = type(raised)
            raise
        finally:
            self._tell(CallInfo(method, self._endpoint, error, time.monotonic() - start, request_id))

    async def _learn_dimensions(self, call: _Call) -> wire.Dimensions:
        known = self._dimensions
        if known is None:  # two callers may both ask; they learn the same
            metadata = {
                model: await self._transport.call(
                    "get_model_metadata", model, headers=call.headers, client_timeout=call.left()
                )
                for model in (wire.RECOMMENDER, wire.RANKER)
            }
            known = self._dimensions = wire.read_dimensions(metadata)
        return known

    async def _infer(
        self, call: _Call, model: str, inputs: wire.Tensors, outputs: Sequence[str]
    ) -> dict[str, npt.NDArray[Any]]:
        result = await self._transport.call(
            "infer",
            model,
            [infer_input(name, tensor) for name, tensor in inputs.items()],
            outputs=[InferRequestedOutput(name) for name in outputs],
            request_id=call.request_id,
            headers=call.headers,
            client_timeout=call.left(),
        )
        tensors = {name: result.as_numpy(name) for name in outputs}
        if absent := [name for name, tensor in tensors.items() if tensor is None]:
            raise IncompatibleServer(f"the server's model '{model}' did not return {', '.join(absent)}")
        return tensors

    def _tell(self, info: CallInfo) -> None:
        if self._on_call is not None:
            try:
                self._on_call(info)
            except Exception:  # who counts calls must not fail them
                _LOG.exception("on_call failed")


class _Call:
    """What belongs to one call of a method."""

    def __init__(self, deadline: float, request_id: str, headers: Mapping[str, str], endpoint: str) -> None:
        self.deadline, self.request_id, self.headers, self.endpoint = deadline, request_id, headers, endpoint

    def left(self) -> float:
        """Seconds until the deadline.

        Raises:
            DeadlineExceeded: it has passed.
        """
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise DeadlineExceeded(f"no time was left to ask {self.endpoint}: allow more with timeout=")
        return left
