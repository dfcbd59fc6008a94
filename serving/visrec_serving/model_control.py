"""Triton's explicit model control, over gRPC: what is loaded, loading, unloading, and asking."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy.typing as npt
from google.protobuf import json_format
from tritonclient.grpc import InferenceServerClient, InferRequestedOutput
from tritonclient.grpc.model_config_pb2 import ModelConfig
from tritonclient.utils import InferenceServerException

from visrec_client.channel import service_config
from visrec_client.endpoints import find_endpoints
from visrec_client.errors import VisrecError
from visrec_client.proxy import find_proxy
from visrec_client.status import error_from_call
from visrec_client.transport import infer_input
from visrec_serving.canary_requests import empty_request
from visrec_serving.errors import ReleaseRefused

CALL_TIMEOUT = 60.0
LOAD_TIMEOUT = 900.0  # seconds: TensorRT builds its engine while it loads
_CHANNEL = [
    ("grpc.max_send_message_length", 2**31 - 1),  # a fused graph is sent whole
    ("grpc.max_receive_message_length", 2**31 - 1),
    # a call that a full queue turned away, or that met a model being mended, is made again, as a client's is
    ("grpc.service_config", service_config(CALL_TIMEOUT)),
]

Tensors = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Access:
    """Where a server is and what it asks of who controls it."""

    url: str
    """host:port of its gRPC."""
    admin_key: str | None = None
    api_key: str | None = None
    ca: Path | None = None
    """PEM file of the authority that signed the server's certificate: the connection uses TLS."""
    certificate: Path | None = None
    """PEM file of a certificate to show, with `private_key`."""
    private_key: Path | None = None

    def __repr__(self) -> str:
        return f"Access(url={self.url!r})"  # keys stay out of logs


class ModelControl:
    """A connection to a server's control. One may be used by many threads at once."""

    def __init__(self, access: Access) -> None:
        """Prepare a connection; nothing is sent yet."""
        self.url = access.url
        self._proxy = find_proxy(find_endpoints(access.url))
        self._client = InferenceServerClient(
            access.url,
            ssl=access.ca is not None,
            root_certificates=access.ca and str(access.ca),
            certificate_chain=access.certificate and str(access.certificate),
            private_key=access.private_key and str(access.private_key),
            channel_args=[*_CHANNEL, ("grpc.enable_http_proxy", int(self._proxy.used))],
        )
        keys = {"visrec-admin-key": access.admin_key, "visrec-api-key": access.api_key}
        self._headers = {f"triton-grpc-protocol-{name}": key for name, key in keys.items() if key}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def versions(self) -> dict[str, list[int]]:
        """Versions by model that are ready to answer.

        Raises:
            VisrecError: the server does not answer, or refuses.
        """
        found: dict[str, list[int]] = {}
        for entry in self._index():
            if entry.state == "READY":
                found.setdefault(entry.name, []).append(int(entry.version))
        return {name: sorted(versions) for name, versions in sorted(found.items())}

    def is_unloading(self) -> bool:
        """Whether a version is being unloaded.

        Raises:
            VisrecError: the server does not answer, or refuses.
        """
        return any(entry.state == "UNLOADING" for entry in self._index())

    def _index(self) -> Any:  # noqa: ANN401  (protobuf messages)
        try:
            return self._client.get_model_repository_index(
                headers=self._headers, client_timeout=CALL_TIMEOUT
            ).models
        except InferenceServerException as error:
            raise self._cause(error) from error

    def config(self, model: str) -> ModelConfig:
        """The config that a loaded model runs with.

        Raises:
            VisrecError: it is not loaded, or the server does not answer, or refuses.
        """
        try:
            return self._client.get_model_config(
                model, headers=self._headers, client_timeout=CALL_TIMEOUT
            ).config
        except InferenceServerException as error:
            raise self._cause(error) from error

    def load(
        self, model: str, config: ModelConfig | None = None, files: Mapping[str, bytes] | None = None
    ) -> None:
        """Load a model, or load it again if its folder changed; what it served goes on until it is ready.

        Args:
            model: its name.
            config: used in place of the repository's.
            files: its version folders, sent in place of the repository's, by path such as `1/model.onnx`.

        Raises:
            ReleaseRefused: Triton can't load it; the text is Triton's reason.
            VisrecError: the server does not answer, or refuses.
        """
        try:
            self._client.load_model(
                model,
                headers=self._headers,
                config=None if config is None else json_format.MessageToJson(config),
                files=None if files is None else {f"file:{path}": content for path, content in files.items()},
                client_timeout=LOAD_TIMEOUT,
            )
        except InferenceServerException as error:
            if "load" in str(error.message()):
                # a Python traceback may follow the reason
                reason = str(error.message()).split("\n\nAt:")[0].split("TritonModelException: ")[-1]
                raise ReleaseRefused(f"{model} can't be loaded: {' '.join(reason.split())}") from error
            raise self._cause(error) from error

    def unload(self, model: str) -> None:
        """Unload a model; nothing happens if it is not loaded.

        Raises:
            VisrecError: the server does not answer, or refuses.
        """
        try:
            self._client.unload_model(model, headers=self._headers, client_timeout=CALL_TIMEOUT)
        except InferenceServerException as error:
            raise self._cause(error) from error

    def ask(self, model: str, inputs: Tensors) -> dict[str, npt.NDArray[Any]]:
        """Send requests to a model, as one batch.

        Args:
            model: its name.
            inputs: its input tensors, [n, …].

        Returns:
            Its output tensors, [n, …]; STRING as objects of bytes.

        Raises:
            VisrecError: the server does not answer, or refuses.
        """
        outputs = [output.name for output in self.config(model).output]
        try:
            result = self._client.infer(
                model,
                [infer_input(name, tensor) for name, tensor in inputs.items()],
                outputs=[InferRequestedOutput(name) for name in outputs],
                headers=self._headers,
                client_timeout=CALL_TIMEOUT,
            )
        except InferenceServerException as error:
            raise self._cause(error) from error
        return {name: result.as_numpy(name) for name in outputs}

    def serving(self) -> int:
        """The release that answers requests without a picture now.

        Raises:
            VisrecError: none does.
        """
        answer = self.ask("ranker", empty_request(self.config("ranker")))
        return int(answer["RELEASE"].item())

    def _cause(self, error: InferenceServerException) -> VisrecError:
        said = str(error.message())
        if "restricted" in said:  # how Triton tells of a missing or wrong key
            return VisrecError(
                f"the server at {self.url} refuses this without its key: give --admin-key-file, and"
                f" --api-key-file if it has one ({said})"
            )
        return error_from_call(error, self.url, proxy_note=self._proxy.note)
