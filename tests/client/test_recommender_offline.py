"""What the client does where there is no server, or none that answers."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest

import visrec_client
from visrec_client import (
    DeadlineExceeded,
    InvalidRequest,
    RankedItem,
    Recommender,
    Request,
    ServerUnavailable,
    rank,
)


@pytest.fixture
def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Connections are taken, and nothing is ever said."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_an_absent_server_is_told_by_address_before_the_timeout(free_port: int) -> None:
    with Recommender(f"127.0.0.1:{free_port}", timeout=2) as recommender:
        with pytest.raises(ServerUnavailable, match=f"127.0.0.1:{free_port}"):
            recommender.recommend(history=["a"])
        with pytest.raises(ServerUnavailable):
            recommender.embed(b"whatever")


def test_a_silent_server_costs_no_more_than_the_timeout(silent_port: int) -> None:
    with Recommender(f"127.0.0.1:{silent_port}", timeout=0.3) as recommender, pytest.raises(DeadlineExceeded):
        recommender.recommend(text="red")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": 0}, "k is 0"),
        ({"k": 2.5}, "k is 2.5"),
        ({"k": True}, "k is True"),
        ({"k": np.bool_(True)}, "k is True"),
        ({"k": np.arange(3)}, "k is array"),
        ({"history": [7]}, r"an item id in history is 7 \(int\): give a str"),
        ({"history": np.array(["a"], "S")}, r"an item id in history is b'a' \(bytes_\): give a str"),
        ({"history": [float("nan")]}, r"an item id in history is nan \(float\): give a str"),
        ({"history": np.array("a")}, "history is array"),
        ({"history": None}, "history is None"),
        ({"history": {"a": 1}}, "without order"),
        ({"exclude": [None]}, "an item id in exclude is None"),
        ({"history": "a,b"}, "history is 'a,b'"),
        ({"history": {"a"}}, "without order"),
        ({"exclude": "a"}, "exclude is 'a'"),
        ({"text": None}, "text is None"),
    ],
)
def test_wrong_arguments_are_refused_without_a_server(
    arguments: dict[str, object], message: str, free_port: int
) -> None:
    with Recommender(f"127.0.0.1:{free_port}") as recommender, pytest.raises(InvalidRequest, match=message):
        recommender.recommend(**arguments)


class Column:
    """Iterable and nothing else, as a column of a table may be."""

    def __iter__(self) -> Iterator[str]:
        return iter(("a", "b"))


@pytest.mark.parametrize(
    "history",
    [["a", "b"], ("a", "b"), np.array(["a", "b"]), np.array(["a", "b"], object), iter(["a", "b"]), Column()],
)
def test_ids_come_in_any_iterable(history: object) -> None:
    request = Request(history=history, exclude=history if not isinstance(history, Iterator) else ())
    assert request.history == ("a", "b")
    assert {type(item_id) for item_id in request.history} == {str}


def test_numbers_and_texts_of_numpy_are_taken() -> None:
    request = Request(k=np.int64(3), text=np.str_("red"), request_id=np.str_("page"))
    assert (request.k, request.text, request.request_id) == (3, "red", "page")
    assert [type(value) for value in (request.k, request.text, request.request_id)] == [int, str, str]
    Recommender("localhost:1", timeout=np.float32(1.5)).close()
    assert len(rank([RankedItem("a", 0.5), RankedItem("b", 0.2)], np.int32(1))) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"timeout": "5"}, "timeout is 5"),
        ({"timeout": True}, "timeout is True"),
        ({"url": "http://localhost:8000"}, "host:port"),
        ({"timeout": 0}, "timeout is 0"),
        ({"timeout": float("nan")}, "timeout is nan"),
        ({"timeout": float("inf")}, "timeout is inf"),
    ],
)
def test_a_wrong_address_or_timeout_is_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        Recommender(**arguments)


def test_every_public_name_can_be_imported() -> None:
    for name in visrec_client.__all__:
        assert getattr(visrec_client, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = visrec_client.nothing


def test_reading_pictures_loads_no_grpc_and_no_learning() -> None:
    program = (
        "import sys; from visrec_client import load_picture, rank; "
        "print([name for name in ('grpc', 'tritonclient', 'torch', 'onnxruntime') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_little_is_asked_of_the_environment(free_port: int) -> None:
    """No home, few open files, and a child process that connects anew."""
    program = f"""
import os, resource
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
from visrec_client import Recommender, Request, ServerUnavailable
recommender = Recommender("127.0.0.1:{free_port}", timeout=2)
answers = recommender.recommend_many([Request(text="red")] * 40)
assert all(isinstance(answer, ServerUnavailable) for answer in answers), answers
"""
    environment = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True, timeout=60)
