"""The encoder's graph, traced once: a frozen backbone is the same in every training.

Tracing it is a large part of an export's work. It is kept beside the features of pictures, under a name that
tells all it is made from, and the digest of what it holds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import onnx

from visrec_training import encoder as code
from visrec_training.encoder import Encoder
from visrec_training.files import write_beside

TRACED_BY = ("torch", "onnx", "onnxscript")


def graph_name(encoder: Encoder, size: int) -> str:
    """Name an encoder's graph by all that it is made from.

    Args:
        encoder: with its weights.
        size: of pictures, in pixels.
    """
    libraries = [f"{name} {version(name)}" for name in TRACED_BY]
    made_from = repr((encoder.digest(), size, libraries)).encode()
    return hashlib.sha256(made_from + Path(code.__file__).read_bytes()).hexdigest()[:16]


def kept_graph(cache: Path, name: str, trace: Callable[[], onnx.ModelProto]) -> onnx.ModelProto:
    """The graph of that name, if it was kept and is unchanged since; else it is traced and kept.

    Args:
        cache: the folder; made if missing.
        name: from `graph_name`.
        trace: makes the graph.

    Raises:
        VisrecError: the cache can't be written.
    """
    for path in sorted(cache.glob(f"encoder-{name}-*.onnx")):
        content = path.read_bytes()
        if path == _path(cache, name, content):
            return onnx.load_model_from_string(content)
    graph = trace()
    content = graph.SerializeToString()
    write_beside(_path(cache, name, content), lambda path: path.write_bytes(content))
    return graph


def _path(cache: Path, name: str, content: bytes) -> Path:
    return cache / f"encoder-{name}-{hashlib.sha256(content).hexdigest()[:16]}.onnx"
