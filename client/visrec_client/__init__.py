"""The client of visrec: recommendations from a picture, a history and a text.

    from visrec_client import Recommender

    with Recommender("localhost:8001") as recommender:
        answer = recommender.recommend("shoe.jpg", history=["boot-7", "sock-2"], text="red", k=5)
        for item in answer.items:
            print(item.item_id, item.score)

The picture, the history and the text may each be left out. `AsyncRecommender` is the same for asyncio.
`rank` applies the caller's own rules to an answer, `load_picture` is what turns pictures into tensors, and
every error is a `VisrecError`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from visrec_client.async_recommender import AsyncRecommender
    from visrec_client.errors import (
        AccessDenied,
        DeadlineExceeded,
        IncompatibleServer,
        InvalidImage,
        InvalidRequest,
        Overloaded,
        ServerError,
        ServerUnavailable,
        Unauthenticated,
        UnknownItem,
        VisrecError,
    )
    from visrec_client.picture import load_picture
    from visrec_client.ranking import RankedItem, rank
    from visrec_client.recommender import Recommender
    from visrec_client.request import CallInfo, Recommendation, Request
    from visrec_client.security import TLS

__all__ = [
    "TLS",
    "AccessDenied",
    "AsyncRecommender",
    "CallInfo",
    "DeadlineExceeded",
    "IncompatibleServer",
    "InvalidImage",
    "InvalidRequest",
    "Overloaded",
    "RankedItem",
    "Recommendation",
    "Recommender",
    "Request",
    "ServerError",
    "ServerUnavailable",
    "Unauthenticated",
    "UnknownItem",
    "VisrecError",
    "load_picture",
    "rank",
]

_HOME = {
    "AsyncRecommender": "async_recommender",
    "CallInfo": "request",
    "RankedItem": "ranking",
    "Recommendation": "request",
    "Recommender": "recommender",
    "Request": "request",
    "TLS": "security",
    "load_picture": "picture",
    "rank": "ranking",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used: training reads pictures without loading gRPC."""
    if name not in __all__:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(importlib.import_module(f"{__name__}.{_HOME.get(name, 'errors')}"), name)
