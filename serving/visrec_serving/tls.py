"""What a server shows, and asks for, where gRPC is encrypted."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from visrec_serving.errors import ServerFailed


@dataclass(frozen=True, kw_only=True, slots=True)
class Tls:
    """Files in PEM form."""

    cert: Path
    """The server's certificate, with those between it and its authority."""
    key: Path
    """The certificate's private key, without a passphrase."""
    client_ca: Path | None = None
    """The authority whose certificates callers have to show; None: they show none."""

    def check(self) -> None:
        """Read the files as a server does; Triton would only tell that it can't start.

        Raises:
            ServerFailed: one is missing or damaged, or key and certificate are not a pair.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(self.cert, self.key, password="")
            if self.client_ca:
                context.load_verify_locations(self.client_ca)
        except OSError as error:  # ssl.SSLError is one
            files = ", ".join(str(path) for path in (self.cert, self.key, self.client_ca) if path)
            raise ServerFailed(f"TLS can't be set up with {files}: {error}") from error

    def arguments(self) -> list[str]:
        """Triton's options."""
        given = [f"--grpc-server-cert={self.cert}", f"--grpc-server-key={self.key}"]
        if self.client_ca:
            return ["--grpc-use-ssl-mutual=1", f"--grpc-root-cert={self.client_ca}", *given]
        return ["--grpc-use-ssl=1", *given]
