"""What a caller may write for a server, and who may read a key on its way there."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visrec_client import TLS, InvalidRequest, Recommender, ServerUnavailable
from visrec_client.endpoints import find_endpoints
from visrec_client.security import KEY_HEADER, key_headers
from visrec_client.trace import trace_headers

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_one_name_is_left_to_grpc_to_look_up() -> None:
    assert find_endpoints("shop.example:8001").target == "dns:///shop.example:8001"


@pytest.mark.parametrize(
    "url", ["127.0.0.1:1,127.0.0.2:2", ["127.0.0.1:1", "127.0.0.2:2"], " 127.0.0.1:1 , 127.0.0.2:2"]
)
def test_several_are_listed_for_grpc_to_balance(url: str) -> None:
    endpoints = find_endpoints(url)
    assert endpoints.target == "ipv4:127.0.0.1:1,127.0.0.2:2"
    assert endpoints.name == "127.0.0.1:1,127.0.0.2:2"
    assert find_endpoints("[::1]:1,[::1]:2").target == "ipv6:[::1]:1,[::1]:2"


@pytest.mark.parametrize(
    "url",
    [
        *("", "shop", "http://shop:8000", "shop:eight", "shop:0", "shop:99999", ":8001", "a@b:1", "[::1"),
        *("a:1,,b:2", [], [7]),
    ],
)
def test_what_is_no_address_is_named(url: object) -> None:
    with pytest.raises(InvalidRequest, match="host:port of the server's gRPC"):
        find_endpoints(url)  # type: ignore[arg-type]


def test_a_name_that_nobody_knows() -> None:
    with pytest.raises(ServerUnavailable, match=r"the name 'nowhere\.invalid' is not known"):
        find_endpoints("127.0.0.1:1,nowhere.invalid:2")


@given(st.text(max_size=40))
def test_any_text_is_understood_or_refused(url: str) -> None:
    with contextlib.suppress(InvalidRequest, ServerUnavailable):
        assert find_endpoints(url).hosts


def test_a_key_does_not_travel_in_the_clear() -> None:
    far, near = find_endpoints("shop.example:1"), find_endpoints("localhost:1")
    with pytest.raises(InvalidRequest, match=r"for anybody to read: encrypt with tls=TLS\(\.\.\.\)"):
        key_headers("secret", far, encrypted=False, plaintext_allowed=False)
    for endpoints, encrypted, allowed in ((far, True, False), (far, False, True), (near, False, False)):
        headers = key_headers("secret", endpoints, encrypted=encrypted, plaintext_allowed=allowed)
        assert headers == {KEY_HEADER: "secret"}


@pytest.mark.parametrize("key", ["", " ", "line\nbreak", "schlüssel", "space after "])
def test_a_key_that_cannot_be_sent_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(InvalidRequest, match="api_key must be printable ASCII") as raised:
        Recommender(api_key=key)
    assert not key.strip() or key.strip() not in str(raised.value)


def test_a_key_is_in_no_representation() -> None:
    with Recommender(api_key="s3cret") as recommender:
        assert "s3cret" not in repr(recommender) + repr(vars(recommender)) + repr(
            recommender._transport._link
        )


def test_certificates_that_cannot_be_used_are_refused_before_anything_is_sent(tmp_path) -> None:
    with pytest.raises(InvalidRequest, match="certificate and key together"):
        TLS(certificate="own.pem")
    with pytest.raises(InvalidRequest, match=r"TLS cannot use .*nowhere\.pem: No such file"):
        Recommender(tls=TLS(ca=tmp_path / "nowhere.pem"))
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(InvalidRequest, match=r"TLS cannot use .*ca\.pem"):
        Recommender(tls=TLS(ca=tmp_path / "ca.pem"))
    with pytest.raises(InvalidRequest, match=r"no name in common: give .* with TLS\(server_name="):
        Recommender("127.0.0.1:1,127.0.0.2:1", tls=TLS())


def test_trace_context_is_passed_on_as_the_standard_says() -> None:
    context = {"Traceparent": PARENT, "tracestate": "shop=1", "cookie": "private"}
    assert trace_headers(context) == {"traceparent": PARENT, "tracestate": "shop=1"}
    assert trace_headers({"traceparent": PARENT, "tracestate": "ü"}) == {"traceparent": PARENT}
    for broken in (
        None,
        {},
        {"tracestate": "shop=1"},
        {"traceparent": "00-abc"},
        {"traceparent": PARENT + "\n"},
    ):
        assert trace_headers(broken) == {}


def test_a_trace_context_that_is_left_out_is_told(caplog) -> None:
    trace_headers({"traceparent": "00-abc"})
    trace_headers({"traceparent": PARENT, "tracestate": "ü"})
    assert caplog.messages == [
        "trace context left out: traceparent is '00-abc'",
        "tracestate left out: it is 'ü'",
    ]
    caplog.clear()
    trace_headers({"cookie": "private"})
    assert not caplog.messages
