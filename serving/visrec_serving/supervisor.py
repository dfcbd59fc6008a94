"""Keeps a server answering: mends models whose process died, and starts Triton again when it ends."""

from __future__ import annotations

import os
import threading
import time
from concurrent import futures
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from visrec_client.errors import VisrecError
from visrec_serving import preflight, process, shared_memory, stubs
from visrec_serving.canary import TIMEOUT, Canary
from visrec_serving.errors import NoAnswer, QueueFull, ServerFailed, TritonCrashed, WrongAnswer
from visrec_serving.events import tell
from visrec_serving.health import Health, HealthEndpoint
from visrec_serving.server import Server
from visrec_serving.stubs import Stub

# seconds
LOOK = 0.1
"""Between two looks at the processes."""
CANARY = 1.0
"""Between two canaries."""
HUNG = 30.0
"""Without an answer for so long, Triton is started again although it lives."""
WINDOW = 300.0
"""Restarts are counted over so long."""
LONGEST_PAUSE = 30.0
"""Before a restart."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SupervisorConfig:
    """How a server is kept answering.

    Raises:
        ValueError: if a field has a value that is not allowed; the text names both.
    """

    health_port: int = 8003
    """Port for /live, /ready and /metrics, on the address of the metrics; 0 picks a free one."""
    restarts: int = 5
    """Triton is started again so often within five minutes, before the supervisor gives up."""

    def __post_init__(self) -> None:
        """Check what the types can't say."""
        if not 0 <= self.health_port <= 65535:
            raise ValueError(f"health_port={self.health_port}: must be between 0 and 65535")
        if self.restarts < 0:
            raise ValueError(f"restarts={self.restarts}: must be 0 or more")


class Supervisor:
    """Starts a server, watches it until it is told to stop, then stops it.

    Usage:
        with Supervisor(server, SupervisorConfig()) as supervisor:
            supervisor.watch(stop)

    Raises:
        VisrecError: from `with`, if the server can't start; from `watch`, if it ended once too often.
    """

    def __init__(self, server: Server, config: SupervisorConfig) -> None:
        """Prepare; nothing is started yet."""
        self.server, self.config = server, config
        self.health = Health()
        self.starting = False
        """Whether Triton is being started, which waits for nothing but itself."""
        self._failures: list[float] = []
        self._stubs: dict[int, Stub] = {}
        self._asking = futures.ThreadPoolExecutor(1, "canary")
        self._asked: futures.Future[int | None] | None = None
        self._asked_at = self._next_canary = 0.0
        self._failing = self._short_of_memory = False
        self._silent_since: float | None = None

    @property
    def health_url(self) -> str:
        """Where its health is told."""
        host = self.server.metrics_url.split("//")[1].split(":")[0]
        return f"http://{host}:{self._endpoint.port}"

    def __enter__(self) -> Supervisor:
        self._endpoint = HealthEndpoint(self.health, self.server, self.config.health_port)
        try:
            self._start_first()
        except BaseException:
            self.server.end_at_once()
            self._endpoint.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.health.fault = "it is stopping"
            self._asking.shutdown(wait=False)
            if kind is KeyboardInterrupt:
                self.server.end_at_once()
            else:
                self.server.stop()
        finally:
            self._endpoint.close()

    def watch(self, stop: threading.Event) -> None:
        """Keep the server answering until `stop` is set.

        Raises:
            ServerFailed: Triton ended too often; the text is the last cause.
        """
        while not stop.is_set():
            try:
                self.server.check()
                if lost := self._lost_stubs():
                    self._mend(lost)
                if time.monotonic() >= self._next_canary:
                    process.reap_orphans()
                    self._look_at_memory()
                    self._await_canary(patience=LOOK)
                else:
                    stop.wait(LOOK)
            except ServerFailed as error:
                self._restart(error, stop)

    def _start_first(self) -> None:
        """Start it; what is wrong with the models is told at once, a crash is tried again."""
        try:
            self._start()
        except TritonCrashed as error:
            self._restart(error, threading.Event())

    def _start(self) -> None:
        self.starting = True
        try:
            self.server.start()
        finally:
            self.starting = False
        if not self.server.keys_hidden:
            tell("keys_visible", pid=self.server.pid, until="Triton ends", cause="/proc can't be written")
        if not self.server.logs:
            tell("log_lost", file=self.server.log_file, cause="nothing can be read in it")
        self._stubs, self._failing, self._silent_since = stubs.find(self.server.pid or 0), False, None
        self._canary, self._asked = Canary(self.server.config.repository), None
        self._await_canary(patience=TIMEOUT)

    def _restart(self, cause: VisrecError, stop: threading.Event) -> None:
        while not stop.is_set():
            now = time.monotonic()
            self.health.fault = "Triton is being started again"
            self._failures = [*(when for when in self._failures if now - when < WINDOW), now]
            count = len(self._failures)
            if count > self.config.restarts:
                raise ServerFailed(
                    f"{cause}; gave up after {self.config.restarts} restarts within {WINDOW / 60:.0f} minutes"
                )
            pause = min(2.0 ** (count - 2), LONGEST_PAUSE) if count > 1 else 0.0
            tell("restart", number=count, pause_s=pause, cause=cause)
            self.server.end_at_once()
            if stop.wait(pause):
                return
            try:
                self._start()
            except VisrecError as error:  # a key that can't be read any more is no reason to give up at once
                cause = error
                continue
            self.health.restarts += 1
            tell("restarted", seconds=time.monotonic() - now, pid=self.server.pid)
            return

    def _lost_stubs(self) -> set[Stub]:
        """Stubs that ended although their version is to answer; a version that was unloaded needs none."""
        if all(map(stubs.alive, self._stubs)) and time.monotonic() < self._next_canary:
            return set()  # those that came since are found once a second
        triton = self.server.pid or 0
        found = stubs.find(triton)
        if lost := self._missing(found):
            time.sleep(LOOK)
            found = stubs.find(triton)  # again, for one may have been missed while threads came and went
            try:
                ready = self.server.http.versions()
            except NoAnswer:
                return set()  # the next look tells more
            lost = {stub for stub in self._missing(found) if stub.version in ready.get(stub.model, ())}
        self._stubs = found
        return {stub for stub in lost if self._graph(stub).is_file()}  # a release's trial run has none here

    def _look_at_memory(self) -> None:
        """Tell once that shared memory runs out, which Triton would not survive."""
        free = preflight.free_shared_memory()
        short = free < self.server.memory_need.largest
        if short and not self._short_of_memory:
            tell("shared_memory_low", free_mib=free >> 20, needed_mib=self.server.memory_need.largest >> 20)
        self._short_of_memory = short

    def _missing(self, found: dict[int, Stub]) -> set[Stub]:
        served = {stub.slot for stub in found.values()}
        return {stub for stub in self._stubs.values() if stub.slot not in served}

    def _graph(self, stub: Stub) -> Path:
        return self.server.config.repository / stub.model / str(stub.version) / "model.onnx"

    def _mend(self, lost: set[Stub]) -> None:
        """Load the versions again whose stubs died: Triton itself goes on failing their requests."""
        began = time.monotonic()
        names = ", ".join(sorted(f"{stub.instance} of version {stub.version}" for stub in lost))
        self.health.fault = f"{names} died and is being loaded again"
        tell("stub_died", stubs=names)
        try:
            for stub in lost:
                # Triton loads again what was written since; other versions stay as they are
                os.utime(self._graph(stub))
            for model in {stub.model for stub in lost}:
                self.server.http.load(model)
        except (OSError, NoAnswer) as error:
            raise ServerFailed(f"{names} died and can't be loaded again: {error}") from error
        self._stubs = stubs.find(self.server.pid or 0)
        if not {stub.slot for stub in lost} <= {stub.slot for stub in self._stubs.values()}:
            raise ServerFailed(f"{names} died and did not come back")
        for stub in lost:
            shared_memory.remove(stub.region)
        self.health.reloads += 1
        if self._asked:  # it may have met the process that died
            futures.wait([self._asked])
            self._asked = None
        self._await_canary(patience=2 * TIMEOUT)
        tell("mended", stubs=names, seconds=time.monotonic() - began, ready=not self.health.fault)

    def _await_canary(self, *, patience: float) -> None:
        """Take the canary's answer, asking if none is under way; go on after a while without one."""
        if self._asked is None:
            self._asked_at = time.monotonic()
            self._asked = self._asking.submit(self._canary.ask, self.server.http)
        try:
            release = self._asked.result(patience)
        except TimeoutError:
            return
        except QueueFull:  # overloaded, and so alive
            self._note_answer(self.health.release)
        except WrongAnswer as error:
            self._note_failure(error)  # which starting it again would not change
        except NoAnswer as error:
            self._note_failure(error)
            self._silent_since = self._silent_since or self._asked_at
            if time.monotonic() - self._silent_since > HUNG:
                raise ServerFailed(f"Triton gave no answer for {HUNG:.0f} s: {error}") from error
        else:
            self._note_answer(release)
        self._asked = None

    def _note_answer(self, release: int | None) -> None:
        health, now = self.health, time.monotonic()
        if self._failing:
            tell("canary_answered", release=release)
        self._failing, self._silent_since = False, None
        health.answered, health.canary_seconds = now, now - self._asked_at
        health.release, health.fault = release, ""
        self._next_canary = self._asked_at + CANARY

    def _note_failure(self, error: VisrecError) -> None:
        self.health.canary_failures += 1
        self.health.fault = f"canary: {error}"
        if not self._failing:
            tell("canary_failed", cause=error)
        self._failing = True
        self._next_canary = time.monotonic() + LOOK
