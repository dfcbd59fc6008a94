"""Releases and rollbacks under load: every answer is all of one release's."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from benchmarks.faults.callers import Expected, callers, real_requests
from benchmarks.faults.kills import DIMENSIONS, RATE
from benchmarks.faults.rows import Row, Settings
from benchmarks.faults.servers import Supervised, serve

from visrec_client import Recommendation, Recommender, Request, VisrecError
from visrec_client.ranking import rank
from visrec_client.wire import ranked_items, ranking_request
from visrec_export.check import Requests, ask_graphs
from visrec_serving import pins
from visrec_serving.releases import find
from visrec_training.data import Dataset, read_dataset

RELEASES = 20
ROLLBACKS = 5
KEEP = 50


def releases(settings: Settings) -> Row:
    """Change the catalogue again and again, each time a release, and go back now and then."""
    count, back = settings.times(RELEASES), settings.times(ROLLBACKS)
    dataset = read_dataset(settings.data)
    requests = real_requests(dataset, 16)
    repository = settings.work / "released"
    shutil.rmtree(repository, ignore_errors=True)
    shutil.copytree(settings.repository, repository, ignore=shutil.ignore_patterns(".*"))
    with (
        serve(repository, None, settings.work, "releases") as server,
        Recommender(server.url, timeout=30) as recommender,
        callers(recommender, requests, {}, rate=RATE) as seen,
    ):
        for number, item_id in enumerate(_removable(dataset, requests, count), start=1):
            words = ("catalog", "remove", item_id, "--checkpoint", settings.checkpoint, "--keep", KEEP)
            _visrec(server, repository, *words)
            if number % (count // back) == 0:
                _visrec(server, repository, "rollback")
    expected = _expected(repository, requests)
    seen.judge(expected)
    told_apart = len({tuple(map(_signature, answers)) for answers in expected.values()}) == len(expected)
    return Row(
        fault="releases and rollbacks under load",
        done={"releases": count, "rollbacks": back, "calls a second": RATE},
        seen={"answered by releases": len(seen.releases), "clients": seen.summary()},
        holds={
            "none failed": not seen.failed,
            "every answer is all of the release that it names": not seen.wrong and seen.answered > 0,
            "releases answer differently": told_apart,
        },
    )


def _removable(dataset: Dataset, requests: Sequence[Request], count: int) -> list[str]:
    """Items that can go without changing what a request asks."""
    used = {item_id for request in requests for item_id in request.history}
    return [item_id for item_id in dataset.catalogue.item_ids if item_id not in used][:count]


def _visrec(server: Supervised, repository: Path, *words: object) -> None:
    command = [sys.executable, "-m", "visrec_cli.main", *map(str, words)]
    command += ["--repository", str(repository), "--url", server.url]
    done = subprocess.run(command, capture_output=True, text=True)  # noqa: S603  (our own command)
    if done.returncode:
        raise VisrecError(f"visrec {words[0]}: {done.stderr.strip()}")


def _expected(repository: Path, requests: Sequence[Request]) -> Expected:
    """What each release answers, by its graphs in this process."""
    tensors = [ranking_request(DIMENSIONS, _pixels(r), r.history, r.text)[1] for r in requests]
    decode = np.vectorize(bytes.decode, otypes=[object])
    asked = Requests(
        pictures=np.concatenate([t["IMAGE"] for t in tensors]),
        has_picture=np.ones(len(requests), bool),
        history=decode(np.concatenate([t["HISTORY"] for t in tensors])),
        text=decode(np.concatenate([t["TEXT"] for t in tensors])),
    )
    return {number: _answers(repository, number, asked, requests) for number in find(repository)}


def _answers(
    repository: Path, number: int, asked: Requests, requests: Sequence[Request]
) -> list[Recommendation]:
    with tempfile.TemporaryDirectory() as folder:
        for model in pins.MODELS:
            (Path(folder) / model).symlink_to((repository / model / str(number)).absolute())
        outputs = ask_graphs(Path(folder), asked)
    encoded = np.vectorize(str.encode, otypes=[object])(outputs["ITEM_ID"])
    return [
        Recommendation(
            items=rank(
                ranked_items({"ITEM_ID": encoded[row : row + 1], "SCORE": outputs["SCORE"][row : row + 1]}),
                request.k,
                exclude=request.history,
            ),
            attention=None,
            unknown_history=(),
            understood=None,
            is_popular=False,
            release=number,
        )
        for row, request in enumerate(requests)
    ]


def _pixels(request: Request) -> npt.NDArray[np.uint8]:
    assert isinstance(request.image, np.ndarray)  # noqa: S101  (for the type checker)
    return request.image


def _signature(answer: Recommendation) -> tuple[tuple[str, float], ...]:
    return tuple((item.item_id, item.score) for item in answer.items)
