"""Callers who go on asking while something breaks, and what they saw."""

from __future__ import annotations

import collections
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from visrec_bench.requests import draw_moments
from visrec_client import Recommendation, Recommender, Request, VisrecError
from visrec_client.picture import load_picture
from visrec_training.data import Dataset

Expected: TypeAlias = Mapping[int, Sequence[Recommendation]]
"""By release, the answer to each request."""
TOLERANCE = 1e-3
"""Relative difference of a score: the server puts requests together as they come, and sums in that order."""
THREADS = 8


@dataclass(slots=True)
class Seen:
    """What callers saw."""

    answered: int = 0
    wrong: list[str] = field(default_factory=list)
    failed: collections.Counter[str] = field(default_factory=collections.Counter)
    """By kind of error."""
    releases: collections.Counter[int] = field(default_factory=collections.Counter)
    seconds: list[float] = field(default_factory=list)
    """Of each answer."""
    unjudged: list[tuple[int, Recommendation]] = field(default_factory=list)
    """Answers of releases that nothing was known about, with the number of the request."""

    def judge(self, expected: Expected) -> None:
        """Compare what is not judged yet, now that more is known."""
        for place, answer in self.unjudged:
            known = expected.get(answer.release)
            fault = differs(answer, known[place]) if known else f"nobody made release {answer.release}"
            self.wrong += [fault] if fault else []
        self.unjudged.clear()

    def summary(self) -> dict[str, Any]:
        """As it goes into the results."""
        return {
            "answered": self.answered,
            "wrong": len(self.wrong),
            "failed": dict(self.failed),
            "failed_share": sum(self.failed.values()) / max(1, self.answered + sum(self.failed.values())),
            "p50_ms": _percentile(self.seconds, 50),
            "p99_ms": _percentile(self.seconds, 99),
        }


def _percentile(seconds: Sequence[float], share: float) -> float | None:
    return round(1000 * float(np.percentile(seconds, share)), 2) if seconds else None


def real_requests(dataset: Dataset, count: int) -> list[Request]:
    """Pictures of the catalogue with real histories, decoded beforehand: the callers share the machine."""
    catalogue = dataset.catalogue
    return [
        Request(
            image=load_picture(catalogue.images[before[-1]]),
            history=[catalogue.item_ids[row] for row in before[:-1]],
            text=catalogue.titles[target] if number % 3 == 0 else "",
        )
        for number, (before, target) in enumerate(draw_moments(dataset, count, seed=0))
    ]


def differs(answer: Recommendation, expected: Recommendation) -> str | None:
    """What is wrong with an answer; None if nothing is. Equal scores may come in any order."""
    scores = {item.item_id: item.score for item in answer.items}
    for item in expected.items:
        if item.item_id not in scores:
            # the last places may go to others with the same score
            if item.score > expected.items[-1].score * (1 + TOLERANCE):
                return f"{item.item_id} is missing"
        elif abs(scores[item.item_id] - item.score) > TOLERANCE * item.score:
            return f"{item.item_id} scores {scores[item.item_id]:.6g}, not {item.score:.6g}"
    return None


@contextmanager
def callers(
    recommender: Recommender,
    requests: Sequence[Request],
    expected: Expected,
    *,
    threads: int = THREADS,
    rate: float | None = None,
) -> Iterator[Seen]:
    """Ask from several threads until the `with` ends.

    Args:
        recommender: whom they share.
        requests: what they ask, over and over.
        expected: what is known before; see `Seen.judge`.
        threads: how many.
        rate: calls a second, of all together; None: the next as soon as the last is answered.
    """
    seen, stop, lock = Seen(), threading.Event(), threading.Lock()

    def work(place: int) -> None:
        number, due = place, time.monotonic()
        while not stop.is_set():
            if rate is not None:
                due = max(due + threads / rate, time.monotonic() - 1)  # what was missed is not made up for
                stop.wait(max(0.0, due - time.monotonic()))
            _ask(recommender, requests[number % len(requests)], number % len(requests), expected, seen, lock)
            number += threads

    running = [threading.Thread(target=work, args=(place,), daemon=True) for place in range(threads)]
    for thread in running:
        thread.start()
    try:
        yield seen
    finally:
        stop.set()
        for thread in running:
            thread.join()


def _ask(
    recommender: Recommender,
    request: Request,
    place: int,
    expected: Expected,
    seen: Seen,
    lock: threading.Lock,
) -> None:
    start = time.monotonic()
    try:
        answer = recommender.recommend(
            request.image, request.history, request.text, request.k, request.exclude, request.exclude_history
        )
    except VisrecError as error:
        with lock:
            seen.failed[type(error).__name__] += 1
        return
    seconds = time.monotonic() - start
    known = expected.get(answer.release)
    fault = differs(answer, known[place]) if known else None
    with lock:
        seen.answered += 1
        seen.seconds.append(seconds)
        seen.releases[answer.release] += 1
        if fault:
            seen.wrong.append(fault)
        if known is None:
            seen.unjudged.append((place, answer))


def answers(recommender: Recommender, requests: Sequence[Request]) -> list[Recommendation]:
    """What each request is answered when nothing is broken.

    Raises:
        VisrecError: one is not answered.
    """
    found = []
    for answer in recommender.recommend_many(requests, in_flight=1):
        if isinstance(answer, VisrecError):
            raise answer
        found.append(answer)
    return found
