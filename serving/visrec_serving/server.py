"""Start and stop the embedded Triton."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType

from visrec_serving import ports, preflight, process
from visrec_serving.config import ServerConfig
from visrec_serving.errors import ServerFailed, TritonCrashed
from visrec_serving.hiding import hide
from visrec_serving.installation import Installation
from visrec_serving.keys import Keys
from visrec_serving.log import Echo, failure_reason
from visrec_serving.repository import check_alternatives, servable_models
from visrec_serving.shared_memory import SharedMemory
from visrec_serving.shared_memory_need import Need
from visrec_serving.triton_http import TritonHttp

# the first of Triton's own lines, which it writes when it has read its arguments
_LOGGED = re.compile(rb"^[IWE]\d{4} ", re.MULTILINE)
_TRACED = 100
"""One request in so many."""


class Server:
    """The embedded Triton with a model repository.

    Usage:
        with Server(ServerConfig(repository=Path("model_repository"))) as server:
            print(server.grpc_url)

    Raises:
        VisrecError: from `start`, and so from `with`, if a key or certificate can't be used.
        ServerFailed: from the same, if it does not become ready; from `check`, if it has ended since.
    """

    def __init__(self, config: ServerConfig) -> None:
        self.config = config
        self.ports = {"grpc": config.grpc_port, "http": config.http_port, "metrics": config.metrics_port}
        self.log_file = config.log_file
        self._process: subprocess.Popen[bytes] | None = None
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        self._echo: Echo | None = None
        self._memory = SharedMemory()  # two servers on one machine must not share the Python backend's
        self.memory_need = Need(0, 0)
        """Known from `start`."""
        self._linked: dict[str, str] = {}
        self._log_start = 0
        self.keys: Keys | None = None
        """Read by `start`."""
        self.keys_hidden = False
        """Whether the process list of this machine shows no key."""
        self.logs = False
        """Whether Triton's log can be written."""

    @property
    def host(self) -> str:
        """Where this machine reaches the server."""
        return _reached(self.config.address)

    @property
    def grpc_url(self) -> str:
        """`host:port`, as gRPC clients take it."""
        return f"{self.host}:{self.ports['grpc']}"

    @property
    def http_url(self) -> str:
        """Where HTTP is answered."""
        return f"http://{self._addresses['http']}:{self.ports['http']}"

    @property
    def metrics_url(self) -> str:
        """Where Prometheus reads."""
        return f"http://{_reached(self._addresses['metrics'])}:{self.ports['metrics']}/metrics"

    @property
    def http(self) -> TritonHttp:
        """Triton's HTTP, with this server's keys; only once it was started."""
        assert self.keys is not None  # noqa: S101  (for the type checker)
        return TritonHttp(self._addresses["http"], self.ports["http"], self.keys.headers())

    @property
    def _addresses(self) -> dict[str, str]:
        """What each port listens on."""
        config = self.config
        return {
            "grpc": config.address,
            "http": "127.0.0.1",  # this Triton's HTTP can be overrun before it asks for a key (SECURITY.md)
            "metrics": config.metrics_address or config.address,
        }

    @property
    def pid(self) -> int | None:
        """Process id of Triton; None unless it runs."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def start(self) -> None:
        """Start Triton and return when it and every model are ready.

        Raises:
            ServerFailed: if it can't start, or is not ready in time. Nothing of it is left running.
        """
        if self.pid:
            raise ServerFailed(f"this server already runs at {self.grpc_url}")
        installation = Installation.find()
        preflight.check_installation(installation)
        preflight.raise_open_files()
        models = servable_models(self.config.repository, self.config.models)
        if self.config.model_config_name:
            check_alternatives(self.config.repository, models, self.config.model_config_name)
        if self.config.tls:
            self.config.tls.check()
        self.keys = Keys.find(self.config.repository, self.config.admin_key_file, self.config.api_key_file)
        try:
            # those of the last start, if it was one
            with ports.reserved(self._addresses, self.ports) as self.ports:
                self._launch(installation, models)
                self._hide_keys()
                self._await_ready(models)
        except ServerFailed:
            self._end()
            raise
        except OSError as error:  # the disk is full, say, or no process can be started
            self._end()
            raise ServerFailed(f"Triton can't be started: {error}") from error
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Let requests in flight finish, then end Triton; harmless if it does not run."""
        self._end()
        ended_well = self._process is not None and self._process.returncode == 0
        if ended_well and self.config.log_file is None and self.log_file:
            self.log_file.unlink(missing_ok=True)

    def kill(self) -> None:
        """Kill Triton and leave tidying up to whoever stops it; a signal handler may call it."""
        if self._process:
            self._process.kill()

    def end_at_once(self) -> None:
        """End Triton whatever it is doing; harmless if it does not run."""
        self.kill()
        self._end()

    def check(self) -> None:
        """Raise ServerFailed if Triton has ended."""
        if self._process and (code := self._process.poll()) is not None:
            kind = TritonCrashed if code < 0 else ServerFailed
            raise kind(f"Triton ended ({process.describe_exit(code)}); its log: {self.log_file}")

    def loaded(self) -> dict[str, list[int]]:
        """Ask Triton which versions of which models are ready."""
        return self.http.versions()

    def metrics(self) -> str:
        """Ask Triton for its metrics, in Prometheus' text format; a comment if it does not answer."""
        return TritonHttp(_reached(self._addresses["metrics"]), self.ports["metrics"], {}).metrics()

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _launch(self, installation: Installation, models: tuple[str, ...]) -> None:
        config = self.config
        scratch = preflight.scratch_parent(installation)
        inherited = self._memory.claim()
        self.memory_need = Need.of(config.repository, models, config.model_config_name)
        preflight.check_shared_memory(self.memory_need)
        self._scratch = tempfile.TemporaryDirectory(prefix="visrec-triton-", dir=scratch)
        backends = Path(self._scratch.name)
        installation.lay_out_backends(backends)
        if config.log_file is None:
            descriptor, path = tempfile.mkstemp(prefix="visrec-triton-", suffix=".log", dir=scratch)
            os.close(descriptor)
            self.log_file = Path(path)
        assert self.log_file is not None  # noqa: S101  (for the type checker)
        try:
            self.log_file.touch()
        except OSError as error:
            raise ServerFailed(f"can't write the log to {self.log_file}: {error.strerror}") from error
        self._log_start = self.log_file.stat().st_size
        if config.echo_log:
            self._echo = Echo(self.log_file, self._log_start)
        command = self._command(installation, models, backends)
        self._process = process.start(command, installation.environment(), self.log_file, inherited)

    def _hide_keys(self) -> None:
        """Take the keys out of Triton's command line, which all the machine may read, once it has read it."""
        assert self._process and self.log_file and self.keys  # noqa: S101  (for the type checker)
        deadline = time.monotonic() + self.config.ready_timeout
        while not _LOGGED.search(logged := self._logged()) and self._process.poll() is None:
            if time.monotonic() > deadline:
                return  # what waits for readiness says so
            if self.http.ready():  # it has read its arguments, but can't write its log
                break
            time.sleep(0.002)
        self.logs = bool(logged)
        self.keys_hidden = hide(self._process.pid, filter(None, (self.keys.admin, self.keys.api)))

    def _command(self, installation: Installation, models: tuple[str, ...], backends: Path) -> list[str]:
        config = self.config
        assert self.keys is not None  # noqa: S101  (for the type checker)
        command = [
            str(installation.binary),
            f"--model-repository={self._plain('models', config.repository.resolve())}",
            f"--backend-directory={self._plain('backends', backends)}",
            # Models change when somebody says so, not when a file appears.
            "--model-control-mode=explicit",
            *(f"--load-model={model}" for model in models),
            # Configurations are written out in full; guesses would hide a mistake.
            "--disable-auto-complete-config",
            "--strict-readiness=true",
            f"--exit-timeout-secs={config.exit_timeout}",
            f"--log-verbose={int(config.verbose)}",
            f"--backend-config=python,shm-region-prefix-name={self._memory.prefix}",
            *self.keys.arguments(private_http=config.tls is not None),
        ]
        for name, port in self.ports.items():
            command += [f"--{name}-address={self._addresses[name]}", f"--{name}-port={port}"]
        if config.tls:
            command += config.tls.arguments()
        if config.trace_url:
            command += ["--trace-config=mode=opentelemetry", "--trace-config=level=TIMESTAMPS"]
            command += [f"--trace-config=rate={_TRACED}"]
            command += [f"--trace-config=opentelemetry,url={config.trace_url}"]
        if config.model_config_name:
            command.append(f"--model-config-name={config.model_config_name}")
        return command

    def _plain(self, name: str, folder: Path) -> Path:
        """A path as Triton can take it: its Python backend puts it into a shell's line as it is."""
        if shlex.quote(str(folder)) == str(folder):
            return folder
        link = self._memory.link(name, folder)
        self._linked[str(link)] = str(folder)
        return link

    def _await_ready(self, models: tuple[str, ...]) -> None:
        waiting: list[str | None] = [None, *models]  # None: Triton itself
        deadline = time.monotonic() + self.config.ready_timeout
        assert self._process is not None  # noqa: S101  (for the type checker)
        while waiting:
            if (code := self._process.poll()) is not None:
                raise self._start_failure(code)
            if time.monotonic() > deadline:
                raise ServerFailed(
                    f"Triton was not ready after {self.config.ready_timeout:g} s "
                    f"(still waiting for {waiting[0] or 'the server'}); full log: {self.log_file}"
                )
            if self.http.ready(waiting[0]):
                waiting.pop(0)
            else:
                time.sleep(0.05)

    def _start_failure(self, code: int) -> ServerFailed:
        """Why Triton ended while it started: the cause in its log, even where it crashed after that."""
        log = self._logged().decode(errors="replace")
        refused = failure_reason(log)
        reason = refused or next(reversed(log.splitlines()), "it logged nothing")
        for link, folder in self._linked.items():
            reason = reason.replace(link, folder)
        kind = TritonCrashed if code < 0 and not refused else ServerFailed
        return kind(f"Triton did not start: {reason}; full log: {self.log_file}")

    def _logged(self) -> bytes:
        """What Triton has logged since it was started, where that can be read: in a file."""
        if self.log_file is None or not self.log_file.is_file():
            return b""
        with self.log_file.open("rb") as log:
            log.seek(self._log_start)
            return log.read()

    def _end(self) -> None:
        try:
            if self._process:
                # Triton itself goes on after exit_timeout; the rest is for unloading models.
                process.end(self._process, self.config.exit_timeout + 10)
        finally:
            if self._echo:
                self._echo.close()
                self._echo = None
            if self._scratch:
                self._scratch.cleanup()
                self._scratch = None
            self._memory.release()


def _reached(address: str) -> str:
    """Where this machine reaches what listens on an address."""
    return "127.0.0.1" if address == "0.0.0.0" else address  # noqa: S104
