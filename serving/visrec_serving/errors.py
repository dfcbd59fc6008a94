"""What can go wrong when serving."""

from __future__ import annotations

from visrec_client.errors import VisrecError


class ServerFailed(VisrecError):
    """Triton can't start, did not become ready in time, or ended by itself; the text says why."""


class TritonCrashed(ServerFailed):
    """Triton was ended by a signal, its own abort among them, and not by what it was told to serve."""


class NoAnswer(VisrecError):
    """Triton gave no answer, or none that was asked for."""


class QueueFull(NoAnswer):
    """Too many requests are waiting: Triton refused one, and so it works."""


class WrongAnswer(VisrecError):
    """A release answers otherwise than it did when it was made."""


class ReleaseRefused(VisrecError):
    """A release is broken or answers otherwise than it should; what was served before still is."""


class RepositoryBusy(VisrecError):
    """Another command is changing the same model repository."""
