"""The encoder's graph of an earlier release: where the encoder is the same, it is not traced again.

A frozen backbone is the same in every training, and tracing it is a large part of an export's work.
"""

from __future__ import annotations

import hashlib
from importlib.metadata import version
from pathlib import Path

from visrec_serving import releases
from visrec_serving.errors import ReleaseRefused
from visrec_training import encoder as code
from visrec_training.encoder import Encoder

MODEL = "encoder"
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


def find_graph(repository: Path, name: str) -> Path | None:
    """The folder of a graph of that name in the newest release that has it, unchanged since; None without."""
    try:
        known = releases.find(repository)
    except ReleaseRefused:  # `visrec release` says so; the graph is made anew
        return None
    for number, release in reversed(known.items()):
        folder = repository / MODEL / str(number)
        if release.report.get("encoder graph") == name and _is_unchanged(folder, release):
            return folder
    return None


def _is_unchanged(folder: Path, release: releases.Release) -> bool:
    """Whether a version's folder holds what was exported, and nothing else."""
    place = f"{MODEL}/{release.number}/"
    expected = {name: digest for name, digest in release.report["digests"].items() if name.startswith(place)}
    if not folder.is_dir():
        return False
    return expected == {place + path.name: releases.file_digest(path) for path in folder.iterdir()}
