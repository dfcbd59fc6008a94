"""What can go wrong, by cause. Every error of visrec is a `VisrecError` and reads as one clear line."""

from __future__ import annotations


class VisrecError(Exception):
    """Base of every error that visrec raises on purpose: its text says what is wrong and what to do."""


class InvalidImage(VisrecError):
    """The picture cannot be used: missing, truncated, too large, or in a form that has no one meaning."""


class InvalidRequest(VisrecError):
    """What the caller asks for cannot be done, whatever the server: a wrong argument, a missing one."""


class UnknownItem(VisrecError):
    """The catalogue has no item of this id. Ids of a history never raise this: they are reported."""


class ServerUnavailable(VisrecError):
    """No server answers at this address, or it is going down: nothing was computed."""


class Overloaded(VisrecError):
    """The server turned the request away because too many are waiting: nothing was computed, try later."""

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message, retry_after)
        self.retry_after = retry_after
        """Seconds to wait before asking again."""

    def __str__(self) -> str:
        return str(self.args[0])


class DeadlineExceeded(VisrecError):
    """No answer came within the time that the caller allows."""


class Unauthenticated(VisrecError):
    """The server asks for a key, and none was given."""


class AccessDenied(VisrecError):
    """The server refuses the key that was given."""


class IncompatibleServer(VisrecError):
    """The server lacks a model or a tensor that this client needs, or they do not fit together."""


class ServerError(VisrecError):
    """The server failed in another way; the text is the server's own."""
