"""The client for asyncio: the same surface as `Recommender`, awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Self

from visrec_client.channel import make_link
from visrec_client.conversation import Conversation, Embedding, OnCall
from visrec_client.errors import VisrecError
from visrec_client.picture import PictureSource
from visrec_client.recommender import IN_FLIGHT
from visrec_client.request import Recommendation, Request
from visrec_client.security import TLS
from visrec_client.transport import AsyncioTransport


class AsyncRecommender:
    """A connection to servers of recommendations; see `Recommender`, whose arguments and errors these are.

        async with AsyncRecommender("localhost:8001") as recommender:
            answer = await recommender.recommend("shoe.jpg", history=["boot-7", "sock-2"], text="red", k=5)

    Any number of calls may be in flight at once. Pictures are decoded in threads, so that they stop nobody.
    """

    def __init__(
        self,
        url: str | Sequence[str] = "localhost:8001",
        *,
        timeout: float = 5.0,
        tls: TLS | None = None,
        api_key: str | None = None,
        allow_plaintext_key: bool = False,
        on_call: OnCall | None = None,
    ) -> None:
        """Prepare a connection; nothing is sent yet, and no event loop is needed yet."""
        link = make_link(
            url, timeout=timeout, tls=tls, api_key=api_key, allow_plaintext_key=allow_plaintext_key
        )
        self._transport = AsyncioTransport(link)
        self._conversation = Conversation(self._transport, link.name, timeout, on_call)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """As `Recommender.close`."""
        await self._transport.close()

    async def recommend(
        self,
        image: PictureSource | None = None,
        history: Iterable[str] = (),
        text: str = "",
        k: int = 10,
        exclude: Iterable[str] = (),
        exclude_history: bool = True,
        *,
        request_id: str = "",
        trace: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> Recommendation:
        """As `Recommender.recommend`."""
        request = Request(image, history, text, k, exclude, exclude_history, request_id)
        return await self._conversation.recommend(request, trace, timeout)

    async def recommend_many(
        self,
        requests: Iterable[Request],
        *,
        in_flight: int = IN_FLIGHT,
        trace: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> list[Recommendation | VisrecError]:
        """As `Recommender.recommend_many`."""
        waiting = enumerate(requests)
        answers: dict[int, Recommendation | VisrecError] = {}

        async def work() -> None:
            for number, request in waiting:
                try:
                    answers[number] = await self._conversation.recommend(request, trace, timeout)
                except VisrecError as error:
                    answers[number] = error

        async with asyncio.TaskGroup() as group:
            for _ in range(in_flight):
                group.create_task(work())
        return [answers[number] for number in range(len(answers))]

    async def embed(
        self,
        image: PictureSource,
        *,
        request_id: str = "",
        trace: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> Embedding:
        """As `Recommender.embed`."""
        return await self._conversation.embed(image, request_id, trace, timeout)
