"""How a server is started."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from visrec_serving.tls import Tls


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerConfig:
    """What to serve, and where.

    Raises:
        ValueError: if a field has a value that is not allowed; the text names both.
    """

    repository: Path
    """The folder of Triton models."""
    models: tuple[str, ...] = ()
    """Names of the models to load; what an ensemble needs is loaded with it. Empty: the whole repository."""
    address: str = "127.0.0.1"
    """IPv4 address that gRPC listens on. The default lets in this machine only; 0.0.0.0 lets in everybody."""
    metrics_address: str | None = None
    """IPv4 address of the metrics. None: as `address`."""
    grpc_port: int = 8001
    """Port for gRPC; 0 picks a free one, here and below."""
    http_port: int = 8000
    """Port for HTTP, which only ever lets in this machine."""
    metrics_port: int = 8002
    """Port for Prometheus metrics."""
    admin_key_file: Path | None = None
    """Holds the key for who controls the server. None: `.admin-key` in the repository, made if missing."""
    api_key_file: Path | None = None
    """Holds the key for who asks it. None: the environment's VISREC_API_KEY; without either, all may ask."""
    tls: Tls | None = None
    """Encrypts gRPC. HTTP then answers nobody but this server itself."""
    trace_url: str | None = None
    """OpenTelemetry collector (OTLP over HTTP) that gets a trace of one request in a hundred."""
    model_config_name: str | None = None
    """Use each model's `configs/<name>.pbtxt` where it has one."""
    ready_timeout: float = 60.0
    """Seconds until every model must be ready."""
    exit_timeout: int = 30
    """Seconds that requests in flight get to finish when the server stops."""
    log_file: Path | None = None
    """Triton's log is appended here. None: a temporary file, kept only if the server fails."""
    echo_log: bool = False
    """Copy Triton's log to stderr as it grows."""
    verbose: bool = False
    """Have Triton log every request."""

    def __post_init__(self) -> None:
        """Check what the types can't say."""
        for name in ("address", "metrics_address"):
            value = getattr(self, name)
            if value is None:
                continue
            try:
                ipaddress.IPv4Address(value)
            except ValueError:
                raise ValueError(f"{name}={value!r}: must be an IPv4 address such as 127.0.0.1") from None
        for name in ("grpc_port", "http_port", "metrics_port"):
            if not 0 <= getattr(self, name) <= 65535:
                raise ValueError(f"{name}={getattr(self, name)}: must be between 0 and 65535")
        fixed = [port for port in (self.grpc_port, self.http_port, self.metrics_port) if port]
        if len(set(fixed)) < len(fixed):
            raise ValueError(f"ports {fixed}: gRPC, HTTP and metrics must have a port each")
        for name in ("ready_timeout", "exit_timeout"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}={getattr(self, name)}: must be above 0 seconds")
