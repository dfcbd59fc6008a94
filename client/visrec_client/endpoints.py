"""Which servers are meant: from what a caller writes to what gRPC connects to."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from visrec_client.errors import InvalidRequest, ServerUnavailable

_Place = tuple[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """One or more servers that serve the same."""

    name: str
    """As the caller wrote them, for errors and metrics."""
    target: str
    """For gRPC. Of one endpoint gRPC looks the name up itself, again and again, and uses all its addresses;
    of several endpoints the names are looked up once, because gRPC takes no list of names."""
    hosts: frozenset[str]
    """The hosts that the caller wrote."""
    several: bool
    """More than one endpoint."""

    @property
    def local(self) -> bool:
        """Whether nothing that is sent there leaves this machine."""
        return all(map(_is_loopback, self.hosts))


def find_endpoints(url: str | Sequence[str]) -> Endpoints:
    """Understand one or several host:port.

    Args:
        url: "host:port", several of them with commas between, or a sequence of them. IPv6 addresses stand
            in brackets.

    Raises:
        InvalidRequest: one is no host:port, or they have no kind of address in common.
        ServerUnavailable: one of several names is not known.
    """
    words = url.split(",") if isinstance(url, str) else list(url)
    names = [word.strip() if isinstance(word, str) else word for word in words]
    places = list(dict.fromkeys(map(_parse, names)))
    if not places:
        raise InvalidRequest("url is empty: give host:port of the server's gRPC, such as localhost:8001")
    target = f"dns:///{names[0]}" if len(places) == 1 else _list_addresses(places)
    return Endpoints(
        name=",".join(names),
        target=target,
        hosts=frozenset(host for host, _ in places),
        several=len(places) > 1,
    )


def _parse(name: str) -> _Place:
    try:
        parts = urlsplit(f"//{name}")
        host, port = parts.hostname, parts.port
    except ValueError:  # a port out of range, a bracket that is not closed
        host, port = None, None
    if not isinstance(name, str) or not host or not port or parts.netloc != name or "@" in name:
        raise InvalidRequest(
            f"url is {name!r}: give host:port of the server's gRPC, such as localhost:8001, "
            "and commas between several"
        )
    return host, port


def _list_addresses(places: Sequence[_Place]) -> str:
    """A target of gRPC's that lists addresses, which must be of one family: IPv4 if each host has one."""
    for family, scheme in ((socket.AF_INET, "ipv4"), (socket.AF_INET6, "ipv6")):
        found = [_addresses(place, family) for place in places]
        if all(found):
            return f"{scheme}:" + ",".join(dict.fromkeys(address for some in found for address in some))
    raise InvalidRequest(
        f"the hosts {', '.join(host for host, _ in places)} have neither all an IPv4 nor all an IPv6 address"
    )


def _addresses(place: _Place, family: socket.AddressFamily) -> list[str]:
    host, port = place
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise ServerUnavailable(f"the name '{host}' is not known: correct it ({error})") from error
    addresses = [str(address[4][0]) for address in found if address[0] == family]
    return [f"[{address}]:{port}" if ":" in address else f"{address}:{port}" for address in addresses]


def _is_loopback(host: str) -> bool:
    """Whether a host is this machine by its very name or address."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:  # a name; those under localhost are reserved for loopback (RFC 6761)
        return f".{host.rstrip('.')}".endswith(".localhost")
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    address = mapped or address
    return address.is_loopback or address.is_unspecified  # 0.0.0.0 connects to loopback
