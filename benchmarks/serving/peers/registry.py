"""Which peers there are, what each needs, and how it is started."""

from __future__ import annotations

import contextlib
import http.client
import importlib.metadata
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from visrec_bench.errors import BenchError
from visrec_serving.ports import reserved

ROOT = Path(__file__).parents[3]
START_SECONDS = 90.0
# Packages that visrec and a peer share, held at visrec's version.
_SHARED = ("numpy", "pillow", "protobuf", "grpcio", "onnxruntime-gpu")
_PACKAGE = "benchmarks.serving.peers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A server to compare with."""

    name: str
    requirements: tuple[str, ...]
    command: tuple[str, ...]
    """After `python -m`; {port} and {workers} are filled in."""
    many: bool = False
    """Whether a request is a list under `requests`, as adaptive batching wants it, rather than one object."""


_UVICORN = ("--host", "127.0.0.1", "--port", "{port}", "--workers", "{workers}", "--no-access-log")
_FASTAPI = ("fastapi>=0.110", "uvicorn[standard]>=0.30")
PEERS = (
    Peer(
        name="fastapi-torch",
        requirements=_FASTAPI,
        command=("uvicorn", f"{_PACKAGE}.fastapi_torch:app", *_UVICORN),
    ),
    Peer(
        name="fastapi-onnx",
        requirements=_FASTAPI,
        command=("uvicorn", f"{_PACKAGE}.fastapi_onnx:app", *_UVICORN),
    ),
    Peer(name="litserve", requirements=("litserve>=0.2.10",), command=(f"{_PACKAGE}.litserve_onnx",)),
    Peer(
        name="bentoml",
        requirements=("bentoml>=1.4",),
        command=(
            *("bentoml", "serve", f"{_PACKAGE}.bentoml_onnx:Recommend"),
            *("--host", "127.0.0.1", "--port", "{port}"),
        ),
        many=True,
    ),
)


def install(peer: Peer, folder: Path) -> Path:
    """Install what a peer needs into a folder of its own, once; visrec's environment stays as it is.

    Args:
        peer: the peer.
        folder: holds a folder for each set of requirements.

    Returns:
        The folder to put on PYTHONPATH.

    Raises:
        BenchError: pip fails.
    """
    target = folder / peer.requirements[0].split(">")[0]
    if target.is_dir():
        return target
    held = [f"{name}=={importlib.metadata.version(name)}" for name in _SHARED]
    constraints = folder / "constraints.txt"
    folder.mkdir(parents=True, exist_ok=True)
    constraints.write_text("\n".join(held) + "\n")
    beside = target.with_name(f".{target.name}")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(beside)]
    command += ["--constraint", str(constraints), *peer.requirements]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise BenchError(f"{peer.name} can't be installed: {done.stderr.strip().splitlines()[-1]}")
    beside.rename(target)
    return target


@contextlib.contextmanager
def serve(peer: Peer, environment: dict[str, str], folder: Path, body: bytes) -> Iterator[int]:
    """Run a peer for as long as the context lasts.

    Args:
        peer: the peer.
        environment: what its script reads, and PYTHONPATH.
        folder: gets its log.
        body: a request; once it is answered, the peer is ready.

    Yields:
        The port where it answers.

    Raises:
        BenchError: it ends, or does not answer in time.
    """
    with reserved({"peer": "127.0.0.1"}, {"peer": 0}) as ports:
        port = ports["peer"]  # released at once: not every peer sets SO_REUSEADDR
    workers = environment["PEER_WORKERS"]
    words = [word.format(port=port, workers=workers) for word in peer.command]
    log = folder / f"{peer.name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603  (our own command)
            [sys.executable, "-m", *words],
            cwd=ROOT,
            env=os.environ | environment | {"PEER_PORT": str(port)},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _await_answer(process, port, body, log)
        yield port
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        with contextlib.suppress(ProcessLookupError):  # workers that did not hear
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _await_answer(process: subprocess.Popen[bytes], port: int, body: bytes, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise BenchError(f"the peer ended with exit code {process.returncode}; its log: {log}")
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=START_SECONDS)
        with contextlib.suppress(OSError, http.client.HTTPException), contextlib.closing(connection):
            connection.request("POST", "/recommend", body, {"Content-Type": "application/json"})
            if connection.getresponse().status == http.HTTPStatus.OK:
                return
        time.sleep(0.2)
    raise BenchError(f"the peer did not answer within {START_SECONDS:g} s; its log: {log}")
