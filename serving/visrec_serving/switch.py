"""Switching a running server to another release, under traffic, or leaving it as it was.

Both releases are loaded side by side, the new one answers its canary requests where no caller reaches it, and
then the ensembles name it, one after another, each from one request to the next. Any failure takes the same
way back. A call is answered by one release, never by parts of two.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from visrec_serving import history, pins
from visrec_serving.canary_requests import CanaryRequests
from visrec_serving.errors import ReleaseRefused
from visrec_serving.lock import locked
from visrec_serving.model_control import ModelControl
from visrec_serving.pins import ENSEMBLES, FUSED, MODELS
from visrec_serving.releases import Release, read

CANARY = "canary"
"""The name under which the new release is asked first; no client calls it, and no folder holds it."""
FREED = 2.0
"""Seconds in which Triton gives back the memory of a version that another copy of it replaced."""
UNLOADED = 60.0
"""Seconds that unloading may take."""
Say = Callable[[str], None]


def release(
    repository: Path, number: int, control: ModelControl, say: Say, *, after: int | None = None
) -> None:
    """Have a server answer with another release of the repository that it serves.

    Args:
        repository: the folder.
        number: of the release.
        control: of the server.
        say: is told of each step.
        after: the release that this one was made from and may follow; None where it may follow any.

    Raises:
        ReleaseRefused: the release is broken, fails its canary, or may not follow what is served; the server
            answers as before.
        RepositoryBusy: another release is going on.
        VisrecError: the server does not answer.
    """
    with locked(repository, "release"):
        served = pins.served(repository)
        if after not in (None, served):
            raise ReleaseRefused(
                f"release {number} is refused: it was made from release {after}, and now {served} is served"
            )
        if served == number == control.serving():
            say(f"release {number} is served already")
            return
        _switch(read(repository, number), control, say)


def rollback(repository: Path, control: ModelControl, say: Say) -> None:
    """Have a server answer with the release that was served before.

    Args:
        repository: the folder.
        control: of the server.
        say: is told of each step.

    Raises:
        ReleaseRefused: there was none before, or it is broken or fails its canary.
        RepositoryBusy: another release is going on.
        VisrecError: the server does not answer.
    """
    with locked(repository, "release"):
        before = history.before(repository)
        if before is None:
            raise ReleaseRefused(f"no release was served from {repository} before this one")
        _switch(read(repository, before), control, say)


def _switch(candidate: Release, control: ModelControl, say: Say) -> None:
    repository, number = candidate.repository, candidate.number
    served, texts = pins.served(repository), pins.texts(repository)
    try:
        control.versions()  # before anything is changed
        requests = CanaryRequests.load(candidate.canary)
        candidate.verify()
        say(f"release {number} is whole")
        try:
            _load_beside(repository, number, control)
            say(f"release {number} is loaded beside release {served}")
            _ask_canary(candidate, requests, control)
            say(f"release {number} answers its {len(requests.text)} canary requests as it should")
            pins.serve(repository, number)
            for ensemble in ENSEMBLES:
                control.load(ensemble)
            _check(requests, number, control)
        except BaseException:
            _go_back(texts, control)
            raise
    except ReleaseRefused as error:
        raise ReleaseRefused(
            f"release {number} is refused, release {served} is still served: {error}"
        ) from error
    history.note(repository, number)
    say(f"release {number} is served")


def _load_beside(repository: Path, number: int, control: ModelControl) -> None:
    named = pins.named(repository)
    if set(pins.loaded(repository)) - named - {number}:
        # what was loaded to go back to goes first: there may be shared memory for two releases, not for three
        pins.load(repository, named)
        for model in MODELS:
            control.load(model)
        _await_unloaded(control)
    pins.load(repository, {number} | named)
    for model in MODELS:
        control.load(model)
    ready = control.versions()
    for model in MODELS:
        # Triton passes over versions that it does not find
        if number not in ready.get(model, []):
            raise ReleaseRefused(
                f"the server at {control.url} has no {model} {number}: does it serve {repository}?"
            )


def _await_unloaded(control: ModelControl) -> None:
    """Wait until memory is free again: Triton tells of versions that go, not of copies that are replaced."""
    deadline = time.monotonic() + UNLOADED
    while control.is_unloading() and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(FREED)


def _ask_canary(candidate: Release, requests: CanaryRequests, control: ModelControl) -> None:
    """Have the candidate answer under a name that nobody calls, in the form that `recommender` has."""
    fused = not control.config(FUSED).HasField("ensemble_scheduling")
    if fused and candidate.fused is None:
        raise ReleaseRefused("it has no fused graph, which this server serves: export with --fused")
    path = candidate.repository / FUSED / ("configs/fused.pbtxt" if fused else "config.pbtxt")
    config = text_format.Parse(pins.pinned(path.read_text("utf-8"), candidate.number), ModelConfig())
    config.name = CANARY
    config.version_policy.specific.versions[:] = [1]
    graph = candidate.fused.read_bytes() if fused and candidate.fused else b""
    try:
        # Triton wants a version folder, also of an ensemble, whose file it does not read
        control.load(CANARY, config, {"1/model.onnx": graph})
        if fault := requests.fault(control.ask(CANARY, requests.inputs()), candidate.number):
            raise ReleaseRefused(fault)
    finally:
        control.unload(CANARY)


def _check(requests: CanaryRequests, number: int, control: ModelControl) -> None:
    """Ask as callers do, once the ensembles name the release."""
    if fault := requests.fault(control.ask(FUSED, requests.inputs()), number):
        raise ReleaseRefused(f"{FUSED}: {fault}")
    if (other := control.serving()) != number:
        raise ReleaseRefused(f"ranker: release {other} answers")
    maps = control.ask("embedder", {"IMAGE": requests.image})["MAPS"]
    if not np.allclose(maps.sum(axis=-1), 1, atol=1e-3):
        raise ReleaseRefused("embedder: maps do not sum to 1")


def _go_back(texts: dict[Path, str], control: ModelControl) -> None:
    """Serve what was served, by ensembles first: no version may go while one names it."""
    pins.write(texts)
    for model in (*ENSEMBLES, *MODELS):
        control.load(model)
