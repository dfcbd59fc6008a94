"""The real requests that a release carries, for whoever serves it to ask."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from visrec_export.check import Requests, ask_graphs
from visrec_serving.canary_requests import TOP, CanaryRequests

ROWS = (4, 5, 7)
"""Of drawn requests: a picture; a picture and a history; a picture, a history and words."""


def choose(requests: Requests) -> Requests:
    """The few that a release carries.

    Args:
        requests: as `draw_requests` makes them, at least eight.
    """
    rows = np.asarray(ROWS)
    return Requests(
        requests.pictures[rows], requests.has_picture[rows], requests.history[rows], requests.text[rows]
    )


def answered(requests: Requests, built: Path) -> CanaryRequests:
    """Requests, each with a picture, beside what the graphs in a folder answer."""
    answer = ask_graphs(built, requests)
    return CanaryRequests(
        image=requests.pictures,
        history=requests.history.astype(str),
        text=requests.text.astype(str),
        item_id=answer["ITEM_ID"][:, :TOP].astype(str),
        score=answer["SCORE"][:, :TOP],
    )


def asked_again(canary: CanaryRequests) -> Requests:
    """The requests of another release."""
    sent = np.ones(len(canary.text), dtype=bool)
    return Requests(canary.image, sent, canary.history.astype(object), canary.text.astype(object))
