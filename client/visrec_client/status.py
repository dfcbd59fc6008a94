"""From the status of a gRPC call to Triton to an error of visrec."""

from __future__ import annotations

from tritonclient.utils import InferenceServerException

from visrec_client.errors import (
    DeadlineExceeded,
    IncompatibleServer,
    Overloaded,
    ServerError,
    ServerUnavailable,
    VisrecError,
)

# Triton answers UNAVAILABLE to all of these; only the text tells them apart.
_QUEUE_TEXTS = ("exceeds maximum queue size", "request timeout expired")
_MISSING_TEXTS = ("unknown model", "no available versions")


def error_from_call(error: InferenceServerException, url: str) -> VisrecError:
    """Name the cause of what tritonclient raised while calling `url`, host:port."""
    status = str(error.status() or "UNKNOWN").removeprefix("StatusCode.")
    return error_from_status(status, str(error.message() or ""), url)


def error_from_status(status: str, details: str, url: str) -> VisrecError:
    """Name the cause of a failed call.

    Args:
        status: name of the gRPC status code, for instance "UNAVAILABLE".
        details: what the server, or gRPC, says about it.
        url: host:port that was called.
    """
    text = details.lower()
    said = " ".join(details.split()) or status
    if status == "DEADLINE_EXCEEDED":
        return DeadlineExceeded(f"the server at {url} gave no answer in time: allow more with timeout=")
    if status == "RESOURCE_EXHAUSTED" or (status == "UNAVAILABLE" and _any_in(_QUEUE_TEXTS, text)):
        return Overloaded(f"the server at {url} has too many requests waiting: try again later ({said})")
    if status in ("NOT_FOUND", "UNIMPLEMENTED") or (
        status == "UNAVAILABLE" and _any_in(_MISSING_TEXTS, text)
    ):
        return IncompatibleServer(f"the server at {url} does not serve what this client needs: {said}")
    if status == "UNAVAILABLE":
        return ServerUnavailable(f"no server answers at {url}: start it or correct the address ({said})")
    return ServerError(f"the server at {url} failed with {status}: {said}")


def _any_in(needles: tuple[str, ...], text: str) -> bool:
    return any(needle in text for needle in needles)
