"""Ports stay a server's own from the moment they are picked."""

import socket

import pytest

from visrec_serving.errors import ServerFailed
from visrec_serving.ports import reserved

LOOPBACK = "127.0.0.1"


@pytest.fixture
def bound():
    """Bind a socket, as Triton does; closed when the test ends."""
    sockets = []

    def bound(port=0):
        sockets.append(socket.socket())
        sockets[-1].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sockets[-1].bind((LOOPBACK, port))
        return sockets[-1]

    yield bound
    for each in sockets:
        each.close()


def test_a_picked_port_is_given_to_nobody_else(bound):
    addresses = dict.fromkeys(map(str, range(50)), LOOPBACK)
    with reserved(addresses, dict.fromkeys(addresses, 0)) as ports:
        assert len(set(ports.values())) == len(ports)
        others = {bound().getsockname()[1] for _ in range(2000)}
        assert not others & set(ports.values())


def test_who_names_a_picked_port_may_listen_on_it(bound):
    with reserved({"grpc": LOOPBACK}, {"grpc": 0}) as ports:
        bound(ports["grpc"]).listen()
        with socket.create_connection((LOOPBACK, ports["grpc"])) as connection:
            assert connection.getpeername()[1] == ports["grpc"]


def test_a_port_on_which_another_listens_is_refused(bound):
    taken = bound()
    taken.listen()
    port = taken.getsockname()[1]
    with (
        pytest.raises(ServerFailed, match=f"{port}: address already in use"),
        reserved({"grpc": LOOPBACK}, {"grpc": port}),
    ):
        pass
