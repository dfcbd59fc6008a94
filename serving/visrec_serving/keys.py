"""The two keys that a server asks for, and what each opens.

The admin key guards what changes a server: there always is one. The API key guards what callers do, where the
operator gives one. Triton compares them itself (restricted protocols).
"""

from __future__ import annotations

import os
import re
import secrets
import tempfile
from dataclasses import dataclass
from pathlib import Path

from visrec_client.errors import VisrecError
from visrec_serving.lock import locked

ADMIN_HEADER = "visrec-admin-key"
API_HEADER = "visrec-api-key"
ENVIRONMENT = "VISREC_API_KEY"
FILE = ".admin-key"
"""In the repository: the admin key of who gave none."""
_ADMIN_ONLY = ("model-repository", "shared-memory", "trace", "logging")
# model-config only tells how a model runs; perf_analyzer reads it, and sends no key over gRPC
_FOR_CALLERS = ("health", "metadata", "inference", "model-config", "statistics")
# what Triton's options and gRPC's headers take without quoting
_KEY = re.compile(r"[A-Za-z0-9._~+/=-]{16,}")


@dataclass(frozen=True, slots=True)
class Keys:
    """A server's keys."""

    admin: str
    api: str | None

    def __repr__(self) -> str:
        return "Keys(...)"  # they stay out of logs

    @classmethod
    def find(cls, repository: Path, admin_key_file: Path | None, api_key_file: Path | None) -> Keys:
        """Read a server's keys, and make the admin key that is missing.

        Args:
            repository: keeps the admin key, unless a file is named.
            admin_key_file: holds the admin key.
            api_key_file: holds the API key; None: the environment's VISREC_API_KEY, if it is set.

        Raises:
            VisrecError: a key can't be read or written, or is no good as one.
        """
        admin = read_key(admin_key_file) if admin_key_file else _kept_key(repository)
        if api_key_file:
            return cls(admin, read_key(api_key_file))
        api = os.environ.get(ENVIRONMENT)
        return cls(admin, _checked(api, f"the environment's {ENVIRONMENT}") if api else None)

    def headers(self) -> dict[str, str]:
        """What an HTTP request sends."""
        return {ADMIN_HEADER: self.admin} | ({API_HEADER: self.api} if self.api else {})

    def arguments(self, *, private_http: bool) -> list[str]:
        """Triton's options.

        Args:
            private_http: all of HTTP asks for the admin key.
        """
        guarded: list[tuple[tuple[str, ...], str, str]] = [(_ADMIN_ONLY, ADMIN_HEADER, self.admin)]
        if self.api:
            guarded.append((_FOR_CALLERS, API_HEADER, self.api))
        grpc = [_guard("--grpc-restricted-protocol", *group) for group in guarded]
        if private_http:
            guarded = [((*_ADMIN_ONLY, *_FOR_CALLERS), ADMIN_HEADER, self.admin)]
        return grpc + [_guard("--http-restricted-api", *group) for group in guarded]


def read_key(path: Path) -> str:
    """Read the key that a file holds.

    Raises:
        VisrecError: it can't be read, or is no good as a key.
    """
    try:
        return _checked(path.read_text("utf-8").strip(), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise VisrecError(f"can't read the key in {path}: {error}") from error


def _kept_key(repository: Path) -> str:
    """The repository's own admin key, made if there is none; servers of one repository share it."""
    path = repository / FILE
    if not path.exists():
        try:
            with locked(repository, "key", wait=True):
                if not path.exists():  # another server may have been faster
                    _write_key(path)
        except (OSError, VisrecError) as error:
            raise VisrecError(
                f"can't keep an admin key in {repository} ({error}): name a file with one by --admin-key-file"
            ) from error
    return read_key(path)


def _write_key(path: Path) -> None:
    """Write a new key: all of it or nothing."""
    descriptor, beside = tempfile.mkstemp(dir=path.parent, prefix=path.name)  # mode 0600
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
        Path(beside).replace(path)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise


def _checked(key: str, where: str) -> str:
    if not _KEY.fullmatch(key):
        raise VisrecError(f"the key in {where} must be at least 16 letters, digits or . _ ~ + / = -")
    return key


def _guard(option: str, what: tuple[str, ...], header: str, key: str) -> str:
    return f"{option}={','.join(what)}:{header}={key}"
