"""A request that a server asks of itself, as callers do, and the answer that it has to get."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy.typing as npt
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from visrec_serving.canary_requests import CanaryRequests, empty_request
from visrec_serving.errors import NoAnswer, ReleaseRefused, WrongAnswer
from visrec_serving.events import tell
from visrec_serving.pins import FUSED
from visrec_serving.triton_http import TritonHttp

TIMEOUT = 5.0
"""Seconds."""
_OUTPUTS = ("ITEM_ID", "SCORE", "RELEASE")


class Canary:
    """Asks `recommender` the first canary request of the release that answers; zeros where it has none."""

    def __init__(self, repository: Path) -> None:
        """Prepare; without a `recommender` that tells its release, the server is only asked if ready."""
        self._repository = repository
        path = repository / FUSED / "config.pbtxt"
        self._config: ModelConfig | None = None
        if path.is_file():
            config = text_format.Parse(path.read_text("utf-8"), ModelConfig())
            if {output.name for output in config.output}.issuperset(_OUTPUTS):
                self._config = config
        self._release: int | None = None
        self._requests: CanaryRequests | None = None

    def ask(self, http: TritonHttp) -> int | None:
        """Ask once, or twice if another release answers than the time before.

        Returns:
            The release that answers; None if the server has no `recommender`.

        Raises:
            WrongAnswer: another answer than the release gave when it was made.
            QueueFull: too many requests are waiting, so it was not computed.
            NoAnswer: any other failure.
        """
        if self._config is None:
            if not http.ready():
                raise NoAnswer("Triton is not ready")
            return None
        answer = http.infer(FUSED, self._inputs(), _OUTPUTS, TIMEOUT)
        release = int(answer["RELEASE"].flat[0])
        if release != self._release:
            self._release, self._requests = release, self._read(release)
            answer = http.infer(FUSED, self._inputs(), _OUTPUTS, TIMEOUT)
        if self._requests and (fault := self._requests.fault(answer, release)):
            raise WrongAnswer(fault)
        return release

    def _inputs(self) -> dict[str, npt.NDArray[Any]]:
        if self._requests:
            return self._requests.inputs()
        assert self._config is not None  # noqa: S101  (for the type checker)
        return empty_request(self._config)

    def _read(self, release: int) -> CanaryRequests | None:
        """The first canary request of a release; None for one that was made by hand: any answer will do."""
        path = self._repository / f"canary-{release}.npz"
        if not path.exists() and not (self._repository / f"release-{release}.json").exists():
            return None
        try:
            requests = CanaryRequests.load(path)
        except ReleaseRefused as error:
            tell("canary_unchecked", release=release, cause=error)
            return None
        first = {field.name: getattr(requests, field.name)[:1] for field in dataclasses.fields(requests)}
        return CanaryRequests(**first)
