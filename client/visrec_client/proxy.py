"""Whether gRPC goes through a proxy that the environment names.

gRPC itself reads the variables, in lower case only, when it connects. Loopback has no business with a proxy,
and several servers at once it asks of a proxy as if they were one name, which none can answer: in both cases
it is told to leave the proxy out.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass

from visrec_client.endpoints import Endpoints

_VARIABLES = ("grpc_proxy", "https_proxy", "http_proxy")
_EXCEPTIONS = ("no_grpc_proxy", "no_proxy", "NO_PROXY")


@dataclass(frozen=True, slots=True)
class Proxy:
    """What the environment means for some servers."""

    used: bool
    note: str
    """For the error where no server answers; "" where there is nothing to say."""


def find_proxy(endpoints: Endpoints, environment: Mapping[str, str] = os.environ) -> Proxy:
    """Find out whether servers are asked through a proxy."""
    variable = next((name for name in _VARIABLES if environment.get(name)), None)
    if variable is None or endpoints.local:
        return Proxy(False, "")
    named = f"{variable}={_without_credentials(environment[variable])}"
    if endpoints.several:
        return Proxy(False, f"; the proxy of {named} is not used for several servers: give one name for all")
    exceptions = next((environment[name] for name in _EXCEPTIONS if environment.get(name)), "")
    if all(_is_excepted(host, exceptions) for host in endpoints.hosts):
        return Proxy(False, "")
    return Proxy(
        True, f"; it was asked through the proxy of {named}: correct it, or add the host to no_proxy"
    )


def _is_excepted(host: str, exceptions: str) -> bool:
    """Whether a host is in a list such as "localhost,.example.com,10.0.0.0/8,*"."""
    for word in filter(None, map(str.strip, exceptions.lower().split(","))):
        if host.endswith(word.removeprefix("*")) or host == word.removeprefix(".") or _is_in(host, word):
            return True
    return False


def _is_in(host: str, network: str) -> bool:
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(network, strict=False)
    except ValueError:  # one of them is a name
        return False


def _without_credentials(url: str) -> str:
    scheme, separator, rest = url.rpartition("://")
    credentials, _, place = rest.rpartition("@")
    return f"{scheme}{separator}{'***@' if credentials else ''}{place}"
