"""Start and stop the embedded Triton."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import tempfile
import time
import uuid
from pathlib import Path
from types import TracebackType

from visrec_serving import ports, process
from visrec_serving.config import ServerConfig
from visrec_serving.errors import ServerFailed
from visrec_serving.installation import Installation
from visrec_serving.log import Echo, failure_reason
from visrec_serving.repository import check_alternatives, servable_models


class Server:
    """The embedded Triton with a model repository.

    Usage:
        with Server(ServerConfig(repository=Path("model_repository"))) as server:
            print(server.grpc_url)

    Raises:
        ServerFailed: from `start`, and so from `with`, if it does not become ready; from `check`, if it has
            ended since.
    """

    def __init__(self, config: ServerConfig) -> None:
        self.config = config
        self.ports = {"grpc": config.grpc_port, "http": config.http_port, "metrics": config.metrics_port}
        self.log_file = config.log_file
        self._process: subprocess.Popen[bytes] | None = None
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        self._echo: Echo | None = None
        # Two servers on one machine must not share the Python backend's memory.
        self._shm_prefix = f"visrec_{uuid.uuid4().hex[:12]}_"

    @property
    def host(self) -> str:
        """Where this machine reaches the server."""
        return "127.0.0.1" if self.config.address == "0.0.0.0" else self.config.address  # noqa: S104

    @property
    def grpc_url(self) -> str:
        """`host:port`, as gRPC clients take it."""
        return f"{self.host}:{self.ports['grpc']}"

    @property
    def http_url(self) -> str:
        """Where HTTP is answered."""
        return f"http://{self.host}:{self.ports['http']}"

    @property
    def metrics_url(self) -> str:
        """Where Prometheus reads."""
        return f"http://{self.host}:{self.ports['metrics']}/metrics"

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
        models = servable_models(self.config.repository, self.config.models)
        if self.config.model_config_name:
            check_alternatives(self.config.repository, models, self.config.model_config_name)
        wanted = {name: getattr(self.config, f"{name}_port") for name in self.ports}
        self.ports = ports.reserve(self.config.address, wanted)
        try:
            self._launch(installation, models)
            self._await_ready(models)
        except ServerFailed:
            self._end()
            raise
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Let requests in flight finish, then end Triton; harmless if it does not run."""
        self._end()
        ended_well = self._process is not None and self._process.returncode == 0
        if ended_well and self.config.log_file is None and self.log_file:
            self.log_file.unlink(missing_ok=True)

    def check(self) -> None:
        """Raise ServerFailed if Triton has ended."""
        if self._process and (code := self._process.poll()) is not None:
            raise ServerFailed(f"Triton ended ({process.describe_exit(code)}); its log: {self.log_file}")

    def loaded(self) -> dict[str, list[int]]:
        """Ask Triton which versions of which models are ready."""
        _, body = self._ask("POST", "/v2/repository/index")
        found: dict[str, list[int]] = {}
        for entry in json.loads(body):
            if entry.get("state") == "READY":
                found.setdefault(entry["name"], []).append(int(entry["version"]))
        return {name: sorted(versions) for name, versions in sorted(found.items())}

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
        self._scratch = tempfile.TemporaryDirectory(prefix="visrec-triton-")
        backends = Path(self._scratch.name)
        installation.lay_out_backends(backends)
        if self.config.log_file is None:
            descriptor, path = tempfile.mkstemp(prefix="visrec-triton-", suffix=".log")
            os.close(descriptor)
            self.log_file = Path(path)
        assert self.log_file is not None  # noqa: S101  (for the type checker)
        try:
            self.log_file.touch()
        except OSError as error:
            raise ServerFailed(f"can't write the log to {self.log_file}: {error.strerror}") from error
        self._log_start = self.log_file.stat().st_size
        if self.config.echo_log:
            self._echo = Echo(self.log_file, self._log_start)
        command = self._command(installation, models, backends)
        self._process = process.start(command, installation.environment(), self.log_file)

    def _command(self, installation: Installation, models: tuple[str, ...], backends: Path) -> list[str]:
        config = self.config
        command = [
            str(installation.binary),
            f"--model-repository={config.repository.resolve()}",
            f"--backend-directory={backends}",
            # Models change when somebody says so, not when a file appears.
            "--model-control-mode=explicit",
            *(f"--load-model={model}" for model in models),
            # Configurations are written out in full; guesses would hide a mistake.
            "--disable-auto-complete-config",
            "--strict-readiness=true",
            f"--exit-timeout-secs={config.exit_timeout}",
            f"--log-verbose={int(config.verbose)}",
            f"--backend-config=python,shm-region-prefix-name={self._shm_prefix}",
        ]
        for name, port in self.ports.items():
            command += [f"--{name}-address={config.address}", f"--{name}-port={port}"]
        if config.model_config_name:
            command.append(f"--model-config-name={config.model_config_name}")
        return command

    def _await_ready(self, models: tuple[str, ...]) -> None:
        paths = ["/v2/health/ready", *(f"/v2/models/{model}/ready" for model in models)]
        deadline = time.monotonic() + self.config.ready_timeout
        assert self._process is not None  # noqa: S101  (for the type checker)
        while paths:
            if self._process.poll() is not None:
                raise ServerFailed(f"Triton did not start: {self._reason()}; full log: {self.log_file}")
            if time.monotonic() > deadline:
                raise ServerFailed(
                    f"Triton was not ready after {self.config.ready_timeout:g} s "
                    f"(still waiting for {paths[0]}); full log: {self.log_file}"
                )
            try:
                status, _ = self._ask("GET", paths[0])
            except (OSError, http.client.HTTPException):  # it does not listen yet
                status = 0
            if status == http.HTTPStatus.OK:
                paths.pop(0)
            else:
                time.sleep(0.05)

    def _ask(self, method: str, path: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(self.host, self.ports["http"], timeout=5)
        try:
            connection.request(method, path)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def _reason(self) -> str:
        assert self.log_file is not None  # noqa: S101  (for the type checker)
        with self.log_file.open(encoding="utf-8", errors="replace") as log:
            log.seek(self._log_start)
            return failure_reason(log.read())

    def _end(self) -> None:
        if self._process:
            # Triton itself goes on after exit_timeout; the rest is for unloading models.
            process.end(self._process, self.config.exit_timeout + 10)
        if self._echo:
            self._echo.close()
            self._echo = None
        if self._scratch:
            self._scratch.cleanup()
            self._scratch = None
        for left in Path("/dev/shm").glob(f"{self._shm_prefix}*"):  # noqa: S108  (what a killed stub left)
            left.unlink(missing_ok=True)
