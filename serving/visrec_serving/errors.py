"""What can go wrong when serving."""

from __future__ import annotations

from visrec_client.errors import VisrecError


class ServerFailed(VisrecError):
    """Triton can't start, did not become ready in time, or ended by itself; the text says why."""


class ReleaseRefused(VisrecError):
    """A release is broken or answers otherwise than it should; what was served before still is."""


class RepositoryBusy(VisrecError):
    """Another command is changing the same model repository."""
