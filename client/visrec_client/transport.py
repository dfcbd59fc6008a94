"""tritonclient, for blocking calls from any thread or for asyncio, kept over threads, forks and event loops.

Both have the same coroutines. Those of `BlockingTransport` never wait for an event loop, so that `run` gets
their result without one: the conversation with the server is written once.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine, Mapping
from typing import Any, Protocol, TypeVar

import grpc
import numpy as np
import numpy.typing as npt
import tritonclient.grpc
import tritonclient.grpc.aio
from tritonclient.grpc import InferInput
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from visrec_client.channel import Link
from visrec_client.errors import InvalidRequest
from visrec_client.picture import PictureSource, load_picture
from visrec_client.status import error_from_call

Result = TypeVar("Result")


class Transport(Protocol):
    """What a conversation needs."""

    async def call(self, method: str, *words: Any, headers: Mapping[str, str], **options: Any) -> Any:  # noqa: ANN401
        """Call a method of tritonclient's InferenceServerClient, and give what it returns.

        Raises:
            VisrecError: there is no answer.
        """

    async def load_picture(self, source: PictureSource, size: int) -> npt.NDArray[np.uint8]:
        """As `visrec_client.load_picture`."""


def run(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine that waits for nothing but a `BlockingTransport`."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: Result = end.value
        return result
    raise AssertionError("a blocking transport gave up control")


def infer_input(name: str, tensor: npt.NDArray[Any]) -> InferInput:
    """A tensor as tritonclient sends it; STRING as objects of bytes."""
    return InferInput(name, list(tensor.shape), np_to_triton_dtype(tensor.dtype)).set_data_from_numpy(tensor)


class BlockingTransport:
    """One connection, shared by all threads of this process; a child process makes its own."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._closed = False
        # By process: what a parent left behind is never touched, as its connections are the parent's.
        self._clients: dict[int, Any] = {}

    async def call(self, method: str, *words: Any, headers: Mapping[str, str], **options: Any) -> Any:  # noqa: ANN401
        """Block until there is an answer."""
        try:
            client = self._client()
            return getattr(client, method)(*words, headers={**self._link.headers, **headers}, **options)
        except (InferenceServerException, ValueError) as error:  # ValueError: closed meanwhile
            raise _cause(error, self._link, self._closed) from error

    async def load_picture(self, source: PictureSource, size: int) -> npt.NDArray[np.uint8]:
        """Decode here and now."""
        return load_picture(source, size)

    def close(self) -> None:
        """End the calls in flight, and the connection."""
        self._closed = True
        client = self._clients.pop(os.getpid(), None)
        if client is not None:
            client.close()

    def _client(self) -> Any:  # noqa: ANN401  (tritonclient has no types)
        if self._closed:
            raise _closed(self._link)
        process = os.getpid()
        if process not in self._clients:
            # Of threads that come here together the first wins; no lock, which a fork could leave locked.
            self._clients.setdefault(process, self._link.open(tritonclient.grpc.InferenceServerClient))
        return self._clients[process]


class AsyncioTransport:
    """One connection for an event loop; another loop, or another process, gets another one."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._closed = False
        self._home: tuple[int, asyncio.AbstractEventLoop] | None = None
        self._client_: Any = None

    async def call(self, method: str, *words: Any, headers: Mapping[str, str], **options: Any) -> Any:  # noqa: ANN401
        """Let others run until there is an answer."""
        try:
            client = self._client()
            return await getattr(client, method)(*words, headers={**self._link.headers, **headers}, **options)
        except (InferenceServerException, grpc.aio.UsageError) as error:
            raise _cause(error, self._link, self._closed) from error
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if self._closed and not (task and task.cancelling()):  # by `close`, not by who waits
                raise _closed(self._link) from error
            raise

    async def load_picture(self, source: PictureSource, size: int) -> npt.NDArray[np.uint8]:
        """Decode in a thread, while others run."""
        return await asyncio.to_thread(load_picture, source, size)

    async def close(self) -> None:
        """End the calls in flight, and the connection."""
        self._closed = True
        client, self._client_ = self._client_, None
        if client is not None and self._home == (os.getpid(), asyncio.get_running_loop()):
            await client.close()

    def _client(self) -> Any:  # noqa: ANN401  (tritonclient has no types)
        if self._closed:
            raise _closed(self._link)
        home = (os.getpid(), asyncio.get_running_loop())
        if home != self._home:
            self._home, self._client_ = home, self._link.open(tritonclient.grpc.aio.InferenceServerClient)
        return self._client_


def _cause(error: Exception, link: Link, closed: bool) -> Exception:
    if closed:
        return _closed(link)
    if isinstance(error, InferenceServerException):
        return error_from_call(error, link.name, keyed=bool(link.headers), proxy_note=link.proxy_note)
    return error


def _closed(link: Link) -> InvalidRequest:
    return InvalidRequest(f"this recommender for {link.name} is closed: make another one")
