"""The command: measures what is not yet measured, then writes what follows from all of it."""

from __future__ import annotations

import argparse
import base64
import io
import json
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.quality_figures import ROOT, commit, machine
from benchmarks.serving import results
from benchmarks.serving.peers.registry import PEERS, Peer, install
from benchmarks.serving.runs import Settings, run_client, run_peer, run_visrec
from PIL import Image
from tqdm import tqdm

from visrec_bench.errors import BenchError
from visrec_bench.requests import draw_moments
from visrec_client.errors import VisrecError
from visrec_client.picture import load_picture
from visrec_serving import ServerConfig
from visrec_training.data import Dataset, read_dataset
from visrec_training.files import make_folder, write_text

JPEG_QUALITY = 95


def main() -> int:
    """Run the command line."""
    args = _arguments()
    try:
        _run(args)
    except VisrecError as error:
        print(f"benchmarks.serving: error: {error}", file=sys.stderr)
        return 1
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="data folder for requests")
    parser.add_argument(
        "--repository",
        action="append",
        required=True,
        metavar="NAME=FOLDER[@CONFIG]",
        help="an exported model repository, named backbone-precision, such as lite0-fp32, and the configs"
        " that it is served with, such as fused; may be repeated. The first is what peers are compared with",
    )
    parser.add_argument(
        "--checkpoint", type=Path, metavar="FILE", help="the first one's checkpoint, for FastAPI + PyTorch"
    )
    parser.add_argument(
        "--peers", default=",".join(peer.name for peer in PEERS), metavar="NAME[,NAME...]", help="'' for none"
    )
    parser.add_argument("--repeats", type=int, default=3, metavar="N")
    parser.add_argument("--seconds", type=float, default=6.0, metavar="S", help="how long a load is measured")
    parser.add_argument(
        "--work", type=Path, default=Path("build/serving"), metavar="FOLDER", help="keeps what was measured"
    )
    return parser.parse_args()


def _run(args: argparse.Namespace) -> None:
    repositories = dict(map(_repository, args.repository))
    main_name, main_repository = next(iter(repositories.items()))
    peers = _peers(args.peers.split(","), args.checkpoint)
    make_folder(args.work)
    settings = Settings(dataset=read_dataset(args.data), work=args.work, seconds=args.seconds)
    jpegs = jpeg_requests(settings.dataset, settings.requests)
    measures: dict[str, Callable[[int], dict[str, Any]]] = {
        name: partial(run_visrec, repository, settings) for name, repository in repositories.items()
    }
    if peers:
        measures[results.CLIENT] = partial(run_client, main_repository, jpegs, settings)
    for peer in peers:
        environment = _environment(peer, main_repository.repository, args, settings)
        bodies = [_body(peer, request) for request in jpegs]
        measures[peer.name] = partial(run_peer, peer, environment, bodies, settings)
    # all of them, then all again: what disturbs the machine for a while must not fall on one alone
    parts = [(name, repeat) for repeat in range(args.repeats) for name in measures]
    for name, repeat in tqdm(parts, "runs"):
        path = args.work / f"{name}-{repeat}.json"
        if not path.is_file():
            write_text(path, json.dumps(measures[name](repeat)))
    runs = {
        name: [
            json.loads((args.work / f"{name}-{repeat}.json").read_text()) for repeat in range(args.repeats)
        ]
        for name in measures
    }
    _write(runs, main_name, repositories)


def _repository(word: str) -> tuple[str, ServerConfig]:
    name, _, place = word.partition("=")
    folder, _, config = place.partition("@")
    return name, ServerConfig(
        repository=Path(folder),
        model_config_name=config or None,
        grpc_port=0,  # any that is free, and so on
        http_port=0,
        metrics_port=0,
    )


def _write(runs: results.Runs, main_name: str, repositories: dict[str, ServerConfig]) -> None:
    summary = results.summarise(runs, _int8_quality(repositories), main_name)
    found = {"machine": machine(), "commit": commit(), **summary, "runs": runs}
    results.publish(found, "figures", results.block(found, runs))
    results.write_chart(runs, results.RESULTS.with_name("serving"))
    print(results.table(runs))
    for ratio, value in sorted(found["ratios"].items()):
        print(f"{ratio}: {value:.2f}")


def jpeg_requests(dataset: Dataset, count: int) -> list[dict[str, Any]]:
    """Real requests as peers get them: the same for all, and in every run.

    Returns:
        `bytes`, a JPEG of 224 x 224; `history`, ids; `text`, what was typed.
    """
    catalogue = dataset.catalogue
    requests = []
    for before, target in draw_moments(dataset, count, seed=0):
        file = io.BytesIO()
        Image.fromarray(load_picture(catalogue.images[before[-1]])).save(file, "JPEG", quality=JPEG_QUALITY)
        history = [catalogue.item_ids[row] for row in before[:-1]]
        requests.append({"bytes": file.getvalue(), "history": history, "text": catalogue.titles[target]})
    return requests


def _body(peer: Peer, request: dict[str, Any]) -> bytes:
    image = base64.b64encode(request["bytes"]).decode()
    message = {"image": image, "history": request["history"], "text": request["text"]}
    return json.dumps({"requests": [message]} if peer.many else message).encode()


def _peers(names: Sequence[str], checkpoint: Path | None) -> list[Peer]:
    known = {peer.name: peer for peer in PEERS}
    if strange := [name for name in names if name and name not in known]:
        raise BenchError(f"no peer {', '.join(strange)}: there are {', '.join(known)}")
    if "fastapi-torch" in names and checkpoint is None:
        raise BenchError("fastapi-torch runs the checkpoint: give it with --checkpoint")
    return [known[name] for name in names if name]


def _environment(
    peer: Peer, repository: Path, args: argparse.Namespace, settings: Settings
) -> dict[str, str]:
    folders = [
        str(ROOT),
        os.environ.get("PYTHONPATH", ""),
        str(install(peer, args.work / "peers").absolute()),
    ]
    return {
        "PYTHONPATH": ":".join(folder for folder in folders if folder),
        "PEER_REPOSITORY": str(repository.absolute()),
        "PEER_CHECKPOINT": str(args.checkpoint.absolute()) if args.checkpoint else "",
        "PEER_WORKERS": str(settings.cores),
        "OMP_NUM_THREADS": "1",
    }


def _int8_quality(repositories: dict[str, ServerConfig]) -> dict[str, Any] | None:
    """What the export of the first INT8 repository measured against FP32; None where there is none."""
    for name, config in repositories.items():
        repository = config.repository
        reports = sorted(repository.glob("release-*.json"), key=lambda path: path.stat().st_mtime)
        if name.endswith("-int8") and reports:
            figures = json.loads(reports[-1].read_text()).get("against FP32")
            if figures is None:
                raise BenchError(f"{repository} is given as {name}, but its newest release is not in INT8")
            return {
                "repository": name,
                # not measured on data whose queries send no picture
                "ndcg@10_change": figures["ndcg@10"].get("change"),
                "top10_overlap": figures["top 10 overlap"],
            }
    return None


if __name__ == "__main__":
    sys.exit(main())
