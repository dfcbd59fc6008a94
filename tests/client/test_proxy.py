"""Servers on this machine are never asked through a proxy; a proxy in the way is named."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from visrec_client import Recommender, ServerUnavailable
from visrec_client.endpoints import find_endpoints
from visrec_client.proxy import find_proxy

VARIABLES = ("grpc_proxy", "https_proxy", "http_proxy")


class RefusingProxy:
    """Refuses everything, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:  # closed
                return
            with connection:
                self.asked.append(connection.recv(4096))
                connection.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def proxy(monkeypatch) -> Iterator[RefusingProxy]:
    for name in (*VARIABLES, "no_grpc_proxy", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    refusing = RefusingProxy()
    yield refusing
    refusing.close()


@pytest.fixture
def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def refusal(url: str | list[str]) -> str:
    with Recommender(url, timeout=2) as recommender, pytest.raises(ServerUnavailable) as error:
        recommender.recommend(text="red")
    return str(error.value)


@pytest.mark.parametrize("variable", VARIABLES)
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1.2.3", "0.0.0.0", "LOCALHOST"])
def test_loopback_never_goes_through_a_proxy(
    host: str, variable: str, proxy: RefusingProxy, free_port: int, monkeypatch
) -> None:
    monkeypatch.setenv(variable, f"http://{proxy.address}")
    assert "proxy" not in refusal(f"{host}:{free_port}")
    assert not proxy.asked


@pytest.mark.parametrize("variable", VARIABLES)
def test_a_proxy_in_the_way_is_named_without_its_credentials(
    variable: str, proxy: RefusingProxy, monkeypatch
) -> None:
    monkeypatch.setenv(variable, f"http://someone:secret@{proxy.address}")
    message = refusal("shop.invalid:8001")
    assert f"{variable}=http://***@{proxy.address}" in message
    assert "no_proxy" in message
    assert "secret" not in message
    assert b"CONNECT shop.invalid:8001" in proxy.asked[0]


@pytest.mark.parametrize(
    "exceptions", ["shop.invalid", ".invalid", "invalid", "a.b, *.invalid", "*", "SHOP.invalid"]
)
@pytest.mark.parametrize("variable", ["no_proxy", "NO_PROXY", "no_grpc_proxy"])
def test_no_proxy_is_honoured(exceptions: str, variable: str, proxy: RefusingProxy, monkeypatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://{proxy.address}")
    monkeypatch.setenv(variable, exceptions)
    assert "proxy" not in refusal("shop.invalid:8001")
    assert not proxy.asked


def test_several_servers_are_asked_directly_and_the_error_says_so(
    proxy: RefusingProxy, free_port: int, monkeypatch
) -> None:
    """gRPC would ask the proxy for all of them as if they were one name."""
    monkeypatch.setenv("http_proxy", f"http://{proxy.address}")
    url = [f"127.0.0.1:{free_port}", f"192.0.2.1:{free_port}"]
    assert find_proxy(find_endpoints(url)).note.startswith(
        f"; the proxy of http_proxy=http://{proxy.address}"
    )
    assert "proxy" not in refusal([f"127.0.0.1:{free_port}", f"127.0.0.2:{free_port}"])
    assert not proxy.asked


@pytest.mark.parametrize(
    ("host", "exceptions", "used"),
    [
        ("10.1.2.3", "10.0.0.0/8", False),
        ("11.1.2.3", "10.0.0.0/8", True),
        ("[2001:db8::1]", "2001:db8::/32", False),
        ("shop.example", "example.org, ,", True),
        ("shop.example", "10.0.0.0/8,shop.example", False),
        ("[::1]", "", False),
        ("[::ffff:127.0.0.1]", "", False),
        ("shop.localhost", "", False),
        ("notlocalhost", "", True),
    ],
)
def test_networks_and_names(host: str, exceptions: str, used: bool) -> None:
    environment = {"http_proxy": "http://proxy:3128", "no_proxy": exceptions}
    assert find_proxy(find_endpoints(f"{host}:8001"), environment).used is used


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("http://proxy:3128", "http://proxy:3128"),
        ("proxy:3128", "proxy:3128"),
        ("me:pass@proxy:3128", "***@proxy:3128"),
        ("http://me:p@ss/w@proxy:3128/", "http://***@proxy:3128/"),
    ],
)
def test_credentials_are_redacted(value: str, shown: str) -> None:
    note = find_proxy(find_endpoints("shop.example:1"), {"http_proxy": value}).note
    assert f"http_proxy={shown}:" in note
    assert "pass" not in note
