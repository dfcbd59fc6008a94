"""Releases of tiny graphs, complete with canary and digests, beside the committed configs."""

import json

import numpy as np
import onnx
from dummy_graphs import ITEMS, WORDS, attention, encoder, fusion_scorer

from visrec_export.canary import answered
from visrec_export.check import Requests
from visrec_export.fused import fuse
from visrec_export.release import building, publish_built
from visrec_export.repository import ensure_configs
from visrec_serving.releases import file_digest

REPORT = {
    "backbone": "tiny",
    "precision": "fp32",
    "items": len(ITEMS),
    "checkpoint": "none",
    "against PyTorch": {"requests": 3, "same top 10": 3},
}


def requests(seed=0, count=3):
    rng = np.random.default_rng(seed)
    history = np.full((count, 50), "", object)
    history[:, :4] = rng.choice([*ITEMS, "gone"], size=(count, 4))
    pictures = rng.integers(0, 256, size=(count, 224, 224, 3), dtype=np.uint8)
    text = rng.choice([*WORDS, "unheard of", ""], size=(count, 1)).astype(object)
    return Requests(pictures, np.ones(count, dtype=bool), history, text)


def release(repository, *, claims=None, fused=False, keep=50):
    """Publish a release whose graphs differ from those of all others; gives its number.

    `claims` is the release whose answers its canary expects: another one's make it fail.
    """
    ensure_configs(repository)
    with building(repository) as (number, built):
        write_graphs(built, number, claims or number)
        canary = answered(requests(), built)
        if claims:
            write_graphs(built, number, number)
        if fused:
            fuse(built)
        return publish_built(repository, number, built, {}, canary, REPORT, keep).number


def write_graphs(folder, number, seed):
    for model, graph in {
        "encoder": encoder(seed),
        "attention": attention(seed),
        "fusion_scorer": fusion_scorer(number, seed),
    }.items():
        (folder / model).mkdir(exist_ok=True)
        onnx.save(graph, folder / model / "model.onnx")


def resign(repository, number):
    """Have a report name the files as they are, whatever was done to them."""
    path = repository / f"release-{number}.json"
    report = json.loads(path.read_text())
    report["digests"] = {name: file_digest(repository / name) for name in report["digests"]}
    path.write_text(json.dumps(report))
