"""What can go wrong when serving."""

# ruff: noqa: N818  (a name says the cause, as in visrec_client.errors)

from __future__ import annotations

from visrec_client.errors import VisrecError


class ServerFailed(VisrecError):
    """Triton can't start, did not become ready in time, or ended by itself; the text says why."""
