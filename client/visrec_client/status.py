"""From the status of a gRPC call to Triton to an error of visrec."""

from __future__ import annotations

import random

from tritonclient.utils import InferenceServerException

from visrec_client.errors import (
    AccessDenied,
    DeadlineExceeded,
    IncompatibleServer,
    InvalidRequest,
    Overloaded,
    ServerError,
    ServerUnavailable,
    Unauthenticated,
    VisrecError,
)

# Triton answers UNAVAILABLE to all of these; only the text, here in lower case, tells them apart.
QUEUE_TEXTS = ("exceeds maximum queue size", "request timeout expired")
_MISSING_TEXTS = ("unknown model", "no available versions")
_RESTRICTED_TEXT = "protocol is restricted"
# gRPC itself answers RESOURCE_EXHAUSTED to these.
_TOO_LARGE_TO_SEND = "sent message larger than max"
_TOO_LARGE_TO_READ = "received message larger than max"
# Seconds. Triton does not say when to come back; drawn between these, so that callers who were turned away
# together do not return together.
_RETRY_AFTER = (0.5, 1.5)


def error_from_call(
    error: InferenceServerException, url: str, *, keyed: bool = False, proxy_note: str = ""
) -> VisrecError:
    """Name the cause of what tritonclient raised while calling `url`, host:port.

    Args:
        error: what it raised.
        url: host:port that was called.
        keyed: whether the call carried a key.
        proxy_note: what to add about a proxy where the server did not answer.
    """
    status = str(error.status() or "UNKNOWN").removeprefix("StatusCode.")
    return error_from_status(status, str(error.message() or ""), url, keyed=keyed, proxy_note=proxy_note)


def error_from_status(
    status: str, details: str, url: str, *, keyed: bool = False, proxy_note: str = ""
) -> VisrecError:
    """Name the cause of a failed call.

    Args:
        status: name of the gRPC status code, for instance "UNAVAILABLE".
        details: what the server, or gRPC, says about it.
        url: host:port that was called.
        keyed: whether the call carried a key.
        proxy_note: what to add about a proxy where the server did not answer.
    """
    text = details.lower()
    said = " ".join(details.split()) or status
    unavailable = status == "UNAVAILABLE"
    if status == "DEADLINE_EXCEEDED":
        return DeadlineExceeded(
            f"the server at {url} gave no answer in time: allow more with timeout={proxy_note}"
        )
    if status in ("UNAUTHENTICATED", "PERMISSION_DENIED") or (unavailable and _RESTRICTED_TEXT in text):
        if keyed:
            return AccessDenied(f"the server at {url} refuses this key: ask its operator for another")
        return Unauthenticated(f"the server at {url} asks for a key: give it with api_key=")
    if _TOO_LARGE_TO_SEND in text:
        return InvalidRequest(f"the request is too large to send: {said}")
    if (
        status in ("NOT_FOUND", "UNIMPLEMENTED", "INVALID_ARGUMENT")
        or _TOO_LARGE_TO_READ in text
        or (unavailable and _any_in(_MISSING_TEXTS, text))
    ):
        return IncompatibleServer(f"the server at {url} does not serve what this client needs: {said}")
    if status == "RESOURCE_EXHAUSTED" or (unavailable and _any_in(QUEUE_TEXTS, text)):
        return Overloaded(
            f"the server at {url} has too many requests waiting: try again later ({said})",
            retry_after=random.uniform(*_RETRY_AFTER),  # noqa: S311  (no secret)
        )
    if unavailable:
        return ServerUnavailable(
            f"no server answers at {url}: start it or correct the address ({said}){proxy_note}"
        )
    return ServerError(f"the server at {url} failed with {status}: {said}")


def _any_in(needles: tuple[str, ...], text: str) -> bool:
    return any(needle in text for needle in needles)
