"""What a server asks its own Triton, over HTTP on this machine, where no certificate is needed."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from tritonclient.utils import np_to_triton_dtype, serialize_byte_tensor

from visrec_client.status import QUEUE_TEXTS
from visrec_serving.errors import NoAnswer, QueueFull

LOAD_TIMEOUT = 900.0  # seconds: TensorRT builds its engine while it loads


class TritonHttp:
    """Triton's HTTP, as far as a server uses it. One may be used by many threads at once."""

    def __init__(self, host: str, port: int, headers: Mapping[str, str]) -> None:
        """Prepare calls; nothing is sent yet.

        Args:
            host: IPv4 address.
            port: of HTTP.
            headers: the keys.
        """
        self._host, self._port, self._headers = host, port, dict(headers)

    def ready(self, model: str | None = None) -> bool:
        """Whether Triton, or one of its models, says that it is ready; no if nothing answers."""
        path = "/v2/health/ready" if model is None else f"/v2/models/{model}/ready"
        try:
            return self._call("GET", path, timeout=5)[0] == http.HTTPStatus.OK
        except NoAnswer:
            return False

    def versions(self) -> dict[str, list[int]]:
        """Versions by model that are ready to answer.

        Raises:
            NoAnswer: Triton does not answer, or refuses.
        """
        found: dict[str, list[int]] = {}
        for entry in json.loads(self._successful("POST", "/v2/repository/index", timeout=5)):
            if entry.get("state") == "READY":
                found.setdefault(entry["name"], []).append(int(entry["version"]))
        return {name: sorted(versions) for name, versions in sorted(found.items())}

    def metrics(self) -> str:
        """What Prometheus reads, from the port of the metrics; a comment if nothing answers."""
        try:
            return self._successful("GET", "/metrics", timeout=5).decode()
        except NoAnswer as error:
            return f"# Triton's metrics are missing: {' '.join(str(error).split())}\n"

    def load(self, model: str) -> None:
        """Load what changed of a model; what it serves goes on until the rest is ready.

        Raises:
            NoAnswer: it can't be loaded, or Triton does not answer.
        """
        self._successful("POST", f"/v2/repository/models/{model}/load", timeout=LOAD_TIMEOUT)

    def infer(
        self, model: str, inputs: Mapping[str, npt.NDArray[Any]], outputs: Sequence[str], timeout: float
    ) -> dict[str, npt.NDArray[Any]]:
        """Send requests to a model, as one batch.

        Args:
            model: its name.
            inputs: its input tensors, [n, …].
            outputs: names of output tensors.
            timeout: seconds.

        Returns:
            The output tensors, [n, …]; STRING as text.

        Raises:
            QueueFull: too many requests are waiting.
            NoAnswer: any other failure.
        """
        contents = [
            serialize_byte_tensor(array).item() if array.dtype == np.object_ else array.tobytes()
            for array in inputs.values()
        ]
        head = {
            "inputs": [
                {
                    "name": name,
                    "shape": array.shape,
                    "datatype": np_to_triton_dtype(array.dtype),
                    "parameters": {"binary_data_size": len(content)},
                }
                for (name, array), content in zip(inputs.items(), contents, strict=True)
            ],
            "outputs": [{"name": name} for name in outputs],
        }
        text = json.dumps(head).encode()
        answer = self._successful(
            "POST",
            f"/v2/models/{model}/infer",
            timeout=timeout,
            body=b"".join([text, *contents]),
            headers={"Inference-Header-Content-Length": str(len(text))},
        )
        try:
            return {
                tensor["name"]: np.array(tensor["data"]).reshape(tensor["shape"])
                for tensor in json.loads(answer)["outputs"]
            }
        except (ValueError, KeyError) as error:
            raise NoAnswer(f"{model}: an answer that can't be read: {error}") from error

    def _successful(self, method: str, path: str, **options: Any) -> bytes:  # noqa: ANN401  (as for _call)
        status, body = self._call(method, path, **options)
        if status == http.HTTPStatus.OK:
            return body
        said = " ".join(body.decode(errors="replace").split())
        if any(refusal in said.lower() for refusal in QUEUE_TEXTS):
            raise QueueFull(said)
        raise NoAnswer(f"{path}: HTTP {status}: {said}")

    def _call(
        self,
        method: str,
        path: str,
        *,
        timeout: float,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=timeout)
        try:
            connection.request(method, path, body, {**self._headers, **(headers or {})})
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            raise NoAnswer(f"{path}: {error or type(error).__name__}") from error
        finally:
            connection.close()
