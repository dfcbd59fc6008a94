"""Releases of tiny graphs, complete with canary and digests, in a repository with the committed configs."""

import json
import shutil

import numpy as np
import onnx
import onnxruntime
from dummy_graphs import COMMITTED, ITEMS, attention, encoder, fusion_scorer

from visrec_export.canary import answered
from visrec_export.check import Requests
from visrec_export.release import publish_built
from visrec_export.repository import ensure_configs

PICTURES = 3


def requests(seed=0):
    rng = np.random.default_rng(seed)
    history = np.full((PICTURES, 50), "", object)
    history[:, :4] = rng.choice([*ITEMS, "gone"], size=(PICTURES, 4))
    return Requests(
        rng.integers(0, 256, size=(PICTURES, 224, 224, 3), dtype=np.uint8),
        np.ones(PICTURES, dtype=bool),
        history,
        rng.integers(0, 3, size=(PICTURES, 64)),
    )
