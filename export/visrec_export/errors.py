"""What can go wrong in an export."""

from visrec_client.errors import VisrecError


class ExportRefused(VisrecError):
    """The exported models don't answer as PyTorch does, or can't be made; nothing was published."""


class RepositoryError(VisrecError):
    """The model repository is not what an export can publish to."""
