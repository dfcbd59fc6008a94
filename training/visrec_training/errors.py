"""What can go wrong in training, by cause."""

from visrec_client.errors import VisrecError


class DataError(VisrecError):
    """The data folder breaks the data contract."""


class WeightsError(VisrecError):
    """Backbone weights can't be had or don't fit."""


class CheckpointError(VisrecError):
    """A checkpoint can't be read, or doesn't fit what it is used with."""


class EvaluationError(VisrecError):
    """What was measured can't be read or compared."""
