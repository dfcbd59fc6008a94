"""Ten thousand each of broken pictures, odd requests and malformed tensors."""

from __future__ import annotations

import collections
from collections.abc import Callable
from typing import Any

import grpc
from benchmarks.faults.callers import answers, differs, real_requests
from benchmarks.faults.hostile import broken_pictures, malformed_messages, odd_requests, sample_pictures
from benchmarks.faults.rows import Row, Settings
from benchmarks.faults.servers import serve
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tqdm import tqdm
from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceStub

from visrec_client import Recommender, VisrecError
from visrec_training.data import read_dataset

EACH = 10_000


def strangers(config: Settings) -> Row:
    """Send what nobody should send, then ask as everybody does."""
    count, samples = config.times(EACH), sample_pictures()
    requests = real_requests(read_dataset(config.data), 16)
    with (
        serve(config.repository, None, config.work, "strangers") as server,
        Recommender(server.url, timeout=15) as recommender,
        grpc.insecure_channel(server.url) as channel,
    ):
        stub = GRPCInferenceServiceStub(channel)
        before = answers(recommender, requests)
        processes = {pid: words for pid, words in server.descendants().items() if words}
        seen = {
            "broken pictures": _send(count, broken_pictures(samples), recommender.recommend),
            "odd requests": _send(count, odd_requests(samples), lambda odd: recommender.recommend(**odd)),
            "malformed tensors": _send(
                count, malformed_messages(), lambda message: stub.ModelInfer(message, timeout=15)
            ),
        }
        after = answers(recommender, requests)
        survived = {pid: words for pid, words in server.descendants().items() if words} == processes
    typed = {name for ends in list(seen.values())[:2] for name in ends}
    allowed = {"answered", "InvalidImage", "InvalidRequest"}
    return Row(
        fault="strangers send broken pictures, odd requests and, past the client, malformed tensors",
        done={"of each": count},
        seen={kind: dict(ends) for kind, ends in seen.items()},
        holds={
            "typed errors only": typed <= allowed,
            "the server refuses and never fails to answer": "DEADLINE_EXCEEDED"
            not in seen["malformed tensors"],
            "no process died": survived,
            "answers as before": not any(map(differs, after, before)),
        },
    )


def _send(
    count: int, strategy: st.SearchStrategy[Any], send: Callable[[Any], object]
) -> collections.Counter[str]:
    """Send what a strategy makes, and count how each ended."""
    ends: collections.Counter[str] = collections.Counter()
    bar = tqdm(total=count, leave=False)

    @settings(
        max_examples=count,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def one(made: object) -> None:
        bar.update()
        try:
            send(made)
            ends["answered"] += 1
        except VisrecError as error:
            ends[type(error).__name__] += 1
        except grpc.RpcError as error:
            ends[error.code().name] += 1
        except Exception as error:  # what must not happen is counted, not raised
            ends[f"{type(error).__name__}: {error}"[:200]] += 1

    one()
    bar.close()
    return ends
