"""The client for blocking code: sends what a person looks at, did and typed; returns ranked items."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

from visrec_client.channel import make_link
from visrec_client.conversation import Conversation, Embedding, OnCall
from visrec_client.errors import VisrecError
from visrec_client.picture import PictureSource
from visrec_client.request import Recommendation, Request
from visrec_client.security import TLS
from visrec_client.transport import BlockingTransport, run

IN_FLIGHT = 16
"""Of many requests; twice what a server of two cores takes from its queue at once."""


class Recommender:
    """A connection to servers of recommendations.

        with Recommender("localhost:8001") as recommender:
            answer = recommender.recommend("shoe.jpg", history=["boot-7", "sock-2"], text="red", k=5)
            for item in answer.items:
                print(item.item_id, item.score)

    It connects with the first call, and then learns from the server what size its tensors have. One
    recommender may be used by many threads at once, and by a child process after a fork, which connects anew.

    gRPC spreads calls over several servers, leaves out those that are down, and asks again where a server
    gave no answer (up to five times within the timeout; an answer changes nothing there). Under a lasting
    overload it stops asking again, and `Overloaded` comes at once.
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
        """Prepare a connection; nothing is sent yet.

        Args:
            url: host:port of the server's gRPC, without http://; of several servers that serve the same, a
                sequence, or one text with commas.
            timeout: seconds that one call may take in all, with everything that it tries again.
            tls: encrypt, and how; None does not.
            api_key: what the server asks of its callers. Never part of an error, a log or a repr.
            allow_plaintext_key: send the key without TLS to another machine, where the network is trusted.
            on_call: called after each call with its `CallInfo`, in the thread of the call, for metrics. What
                it raises is logged and goes no further.

        Raises:
            InvalidRequest: an argument cannot be used.
            ServerUnavailable: of several servers, one's name is not known.
        """
        link = make_link(
            url, timeout=timeout, tls=tls, api_key=api_key, allow_plaintext_key=allow_plaintext_key
        )
        self._transport = BlockingTransport(link)
        self._conversation = Conversation(self._transport, link.name, timeout, on_call)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; calls in flight end with InvalidRequest. Harmless if it is closed already."""
        self._transport.close()

    def recommend(
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
        """Rank items for a person. Whatever is unknown is left out; without anything, what is popular comes.

        The answer's `is_popular` tells when nothing of the request could be used.

        Args:
            image: the picture that the person looks at, in any form that `load_picture` takes.
            history: ids of items that the person chose before, oldest first, in a list, a NumPy array or
                anything else with an order. The newest that the model takes are sent; ids that the
                catalogue lacks are ignored, and reported in the answer.
            text: what the person typed, in any language; at most 16,384 characters. The answer tells how
                much of it was understood.
            k: how many items to return at most; no more than the server ranks.
            exclude: ids of items not to return.
            exclude_history: leave out the items of the history as well.
            request_id: goes with the request; Triton's log and traces name it.
            trace: headers of W3C Trace Context to pass on, `traceparent` and `tracestate`.
            timeout: seconds for this call, in place of the recommender's.

        Returns:
            At most `k` items, best first: fewer where exclusion leaves fewer of those that the server ranks.

        Raises:
            InvalidImage: the picture cannot be used.
            InvalidRequest: another argument cannot be used, or `k` is more than the server ranks.
            ServerUnavailable: no server answers.
            Overloaded: the server turned the request away; `retry_after` says when to come back.
            DeadlineExceeded: the timeout passed.
            Unauthenticated: the server asks for a key.
            AccessDenied: the server refuses the key.
            IncompatibleServer: the server lacks a model or tensor that is needed.
            ServerError: the server failed in another way.
        """
        request = Request(image, history, text, k, exclude, exclude_history, request_id)
        return run(self._conversation.recommend(request, trace, timeout))

    def recommend_many(
        self,
        requests: Iterable[Request],
        *,
        in_flight: int = IN_FLIGHT,
        trace: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> list[Recommendation | VisrecError]:
        """Rank items for many requests at once; the server puts them together as it sees fit.

        Args:
            requests: any number.
            in_flight: how many are sent before the first answer comes back.
            trace: as for `recommend`, for all of them.
            timeout: seconds for each of them, from when it is sent.

        Returns:
            For each request, in their order, its answer, or the error that `recommend` would raise: one that
            fails does not cost the others.
        """

        def answer(request: Request) -> Recommendation | VisrecError:
            try:
                return run(self._conversation.recommend(request, trace, timeout))
            except VisrecError as error:
                return error

        with ThreadPoolExecutor(in_flight, thread_name_prefix="visrec") as threads:
            return list(threads.map(answer, requests))

    def embed(
        self,
        image: PictureSource,
        *,
        request_id: str = "",
        trace: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> Embedding:
        """See a picture as the model does: what the vectors of catalogue items are made from.

        Args:
            image: a picture, in any form that `load_picture` takes.
            request_id: as for `recommend`, like those that follow.
            trace: headers of W3C Trace Context.
            timeout: seconds for this call.

        Returns:
            The aspects, float32 [M, d], and for each aspect where it was seen, float32 [M, 49], each row
            summing to 1.

        Raises:
            VisrecError: as for `recommend`.
        """
        return run(self._conversation.embed(image, request_id, trace, timeout))
