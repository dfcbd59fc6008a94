"""How a channel of gRPC to Triton is set up: balancing, retries, sizes, connections, encryption.

All of it is gRPC's own work; here is only what it is told.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

import grpc

from visrec_client.endpoints import find_endpoints
from visrec_client.errors import InvalidRequest
from visrec_client.proxy import find_proxy
from visrec_client.security import TLS, key_headers, read_credentials, server_name

SERVICE = "inference.GRPCInferenceService"
# What a picture of 1024 pixels and a long history need, several times over.
LARGEST_MESSAGE = 16 * 2**20
# The most that gRPC makes of it.
ATTEMPTS = 5
# The waits between the attempts are 1, 2, 4 and 8 of the first, each up to a fifth more or less: 3 s in all,
# in which a dead process behind a model is replaced. A caller who allows less waits less.
FIRST_WAIT = 0.2
WAITS = 15
SHARE_OF_TIMEOUT = 0.6
# Each failed attempt takes a token, each success gives a tenth back, below half there are no retries: some
# 300 calls in flight survive the loss of their server, and a lasting overload is not made worse.
TOKENS = 600
TOKENS_PER_SUCCESS = 0.1


def service_config(timeout: float) -> str:
    """What gRPC does by itself on every channel, as its JSON.

    A server that is down is left out until it is back. What failed with UNAVAILABLE, or with INTERNAL as
    Triton answers while a model's process is dead, is asked again: an answer changes nothing on the server.
    An INTERNAL for another reason fails again, and comes so much later.

    Args:
        timeout: seconds that a call usually may take.
    """
    first = min(FIRST_WAIT, SHARE_OF_TIMEOUT * timeout / WAITS)
    retry = {
        "maxAttempts": ATTEMPTS,
        "initialBackoff": f"{first:.9f}s",
        "maxBackoff": f"{8 * first:.9f}s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE", "INTERNAL"],
    }
    methods = [{"service": SERVICE, "method": method} for method in ("ModelInfer", "ModelMetadata")]
    return json.dumps(
        {
            "loadBalancingConfig": [{"round_robin": {}}],
            "methodConfig": [{"name": methods, "retryPolicy": retry}],
            "retryThrottling": {"maxTokens": TOKENS, "tokenRatio": TOKENS_PER_SUCCESS},
        }
    )


def check_timeout(timeout: object) -> float:
    """A number of seconds, of any kind of number.

    Raises:
        InvalidRequest: it is none, or not positive, or infinite.
    """
    if isinstance(timeout, Real) and not isinstance(timeout, bool) and 0 < float(timeout) < math.inf:
        return float(timeout)
    raise InvalidRequest(f"timeout is {timeout}: it must be a positive number of seconds")


def channel_options(
    timeout: float, name: str | None, *, proxied: bool = False
) -> tuple[tuple[str, Any], ...]:
    """The arguments of a channel.

    Args:
        timeout: seconds that a call usually may take.
        name: what the server's certificate is for; None without TLS.
        proxied: whether a proxy that the environment names is used.
    """
    return (
        ("grpc.service_config", service_config(timeout)),
        ("grpc.service_config_disable_resolution", 1),  # no other one from DNS
        ("grpc.max_send_message_length", LARGEST_MESSAGE),
        ("grpc.max_receive_message_length", LARGEST_MESSAGE),
        # What is larger than this is not asked again: a picture of 384 pixels passes gRPC's default.
        ("grpc.per_rpc_retry_buffer_size", LARGEST_MESSAGE),
        # By default a server that was away for long would be tried again only every two minutes.
        ("grpc.initial_reconnect_backoff_ms", 200),
        ("grpc.max_reconnect_backoff_ms", 2000),
        # Triton takes no ping sooner than this, and none from a connection without calls. With keepalive the
        # kernel gives a connection up whose data nobody acknowledges within the timeout.
        ("grpc.keepalive_time_ms", 310_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        # So an idle connection is not kept alive but closed, before something on the way forgets it.
        ("grpc.client_idle_timeout_ms", 240_000),
        ("grpc.enable_http_proxy", int(proxied)),
        *((("grpc.default_authority", name),) if name is not None else ()),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """What all channels to the same servers have in common."""

    name: str
    """The servers, for errors and metrics."""
    target: str
    """The servers, for gRPC."""
    credentials: grpc.ChannelCredentials | None
    """None: not encrypted."""
    options: Sequence[tuple[str, Any]]
    headers: Mapping[str, str] = field(repr=False)
    """Sent with every call. Holds the key, if there is one."""
    proxy_note: str = ""
    """What to say of a proxy where no server answers."""

    def open(self, client: Any) -> Any:  # noqa: ANN401  (a class of tritonclient's, which has no types)
        """Make one of tritonclient's clients; it connects with its first call."""
        return client(self.target, creds=self.credentials, channel_args=list(self.options))


def make_link(
    url: str | Sequence[str],
    *,
    timeout: float,
    tls: TLS | None,
    api_key: str | None,
    allow_plaintext_key: bool,
) -> Link:
    """Prepare channels; nothing is sent yet. The arguments are those of `Recommender`.

    Raises:
        InvalidRequest: an argument cannot be used.
        ServerUnavailable: one of several names is not known.
    """
    timeout = check_timeout(timeout)
    endpoints = find_endpoints(url)
    proxy = find_proxy(endpoints)
    return Link(
        name=endpoints.name,
        target=endpoints.target,
        credentials=None if tls is None else read_credentials(tls),
        options=channel_options(
            timeout, None if tls is None else server_name(tls, endpoints), proxied=proxy.used
        ),
        headers=key_headers(
            api_key, endpoints, encrypted=tls is not None, plaintext_allowed=allow_plaintext_key
        ),
        proxy_note=proxy.note,
    )
