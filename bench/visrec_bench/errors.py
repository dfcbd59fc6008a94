"""What can go wrong when measuring."""

from __future__ import annotations

from visrec_client.errors import VisrecError


class BenchError(VisrecError):
    """A measurement can't be made: a tool, the data or a graph is missing; the text says what to do."""
