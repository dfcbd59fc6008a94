"""Who may listen and who may ask: TLS, and the key that a server may want."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from pathlib import Path

import grpc

from visrec_client.endpoints import Endpoints
from visrec_client.errors import InvalidRequest

KEY_HEADER = "triton-grpc-protocol-visrec-api-key"


@dataclass(frozen=True, slots=True, kw_only=True)
class TLS:
    """How to encrypt, whom to believe, and who we are. All files are PEM; they are read once.

    Raises:
        InvalidRequest: one of `certificate` and `key` is given without the other.
    """

    ca: str | os.PathLike[str] | None = None
    """Certificates of the authorities that the server's certificate may come from. None: the public ones
    that gRPC brings along."""
    certificate: str | os.PathLike[str] | None = None
    """Our own certificate with those that lead to its authority, for a server that wants one (mTLS)."""
    key: str | os.PathLike[str] | None = None
    """The private key of our own certificate, without a password."""
    server_name: str | None = None
    """The name that the server's certificate is for. None: the host of the url; several different hosts
    have no such name in common, and need it here."""

    def __post_init__(self) -> None:
        """Check what the types can't say."""
        if (self.certificate is None) != (self.key is None):
            raise InvalidRequest("TLS needs certificate and key together, or neither")


def read_credentials(tls: TLS) -> grpc.ChannelCredentials:
    """Read the files, and refuse what gRPC would only refuse when it connects.

    Raises:
        InvalidRequest: a file is missing or is not what it should be.
    """
    check = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if tls.ca is not None:
            check.load_verify_locations(tls.ca)
        if tls.certificate is not None:
            check.load_cert_chain(tls.certificate, tls.key, password="")  # asks nobody for one
        ca, key, certificate = (
            None if path is None else Path(path).read_bytes() for path in (tls.ca, tls.key, tls.certificate)
        )
    except OSError as error:  # ssl.SSLError too
        paths = ", ".join(f"{path}" for path in (tls.ca, tls.certificate, tls.key) if path is not None)
        raise InvalidRequest(f"TLS cannot use {paths}: {error.strerror or error}") from error
    return grpc.ssl_channel_credentials(ca, key, certificate)


def server_name(tls: TLS, endpoints: Endpoints) -> str:
    """The name that the certificates of all endpoints are for.

    Raises:
        InvalidRequest: the endpoints have none in common.
    """
    if tls.server_name is not None:
        return tls.server_name
    if len(endpoints.hosts) > 1:
        raise InvalidRequest(
            f"{endpoints.name} have no name in common: give the one of their certificates "
            "with TLS(server_name=...)"
        )
    (host,) = endpoints.hosts
    return host


def key_headers(
    key: str | None, endpoints: Endpoints, *, encrypted: bool, plaintext_allowed: bool
) -> dict[str, str]:
    """The headers that carry a key; none without one.

    Raises:
        InvalidRequest: the key cannot be a header, or others could read it on its way.
    """
    if key is None:
        return {}
    if (
        not isinstance(key, str)
        or not key
        or not key.isascii()
        or not key.isprintable()
        or key != key.strip()
    ):
        raise InvalidRequest("api_key must be printable ASCII without space around it, and not empty")
    if not (encrypted or endpoints.local or plaintext_allowed):
        raise InvalidRequest(
            f"api_key would go to {endpoints.name} for anybody to read: encrypt with tls=TLS(...), or, where "
            "the network itself is trusted, say allow_plaintext_key=True"
        )
    return {KEY_HEADER: key}
