"""What the client does where there is no server, or none that answers."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

import visrec_client
from visrec_client import DeadlineExceeded, InvalidRequest, Recommender, ServerUnavailable


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
        ({"history": "a,b"}, "history is 'a,b'"),
        ({"history": {"a"}}, "sequence of item ids"),
        ({"exclude": "a"}, "exclude is 'a'"),
        ({"text": None}, "text is None"),
    ],
)
def test_wrong_arguments_are_refused_without_a_server(
    arguments: dict[str, object], message: str, free_port: int
) -> None:
    with Recommender(f"127.0.0.1:{free_port}") as recommender, pytest.raises(InvalidRequest, match=message):
        recommender.recommend(**arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
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
