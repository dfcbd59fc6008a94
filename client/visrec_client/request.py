"""What is asked and what is answered, apart from how it travels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from visrec_client.errors import InvalidRequest
from visrec_client.picture import PictureSource
from visrec_client.ranking import RankedItem, check_count

MAX_TEXT = 16_384
"""Characters of a text: the model reads no more."""


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """What to rank items for. Whatever is unknown is left out; without anything, what is popular comes.

    Raises:
        InvalidRequest: a field has a value that no server can take; the text names both.
    """

    image: PictureSource | None = None
    """The picture that the person looks at, in any form that `load_picture` takes."""
    history: Iterable[str] = ()
    """Ids of items that the person chose before, oldest first. The newest that the model takes are sent."""
    text: str = ""
    """What the person typed, in any language; at most 16,384 characters."""
    k: int = 10
    """How many items to return at most; no more than the server ranks."""
    exclude: Iterable[str] = ()
    """Ids of items not to return."""
    exclude_history: bool = True
    """Leave out the items of the history as well."""
    request_id: str = ""
    """Goes with the request: Triton's log and its errors name it."""

    def __post_init__(self) -> None:
        """Check what the types can't say, and keep copies of plain types that nobody changes later."""
        if isinstance(self.history, Set | Mapping):
            raise InvalidRequest(f"history is {self.history!r}, without order: give item ids, oldest first")
        for name in ("history", "exclude"):
            object.__setattr__(self, name, _ids(name, getattr(self, name)))
        for name in ("text", "request_id"):
            object.__setattr__(self, name, _text(getattr(self, name), name))
        if len(self.text) > MAX_TEXT:
            raise InvalidRequest(
                f"text has {len(self.text):,} characters, of which the model reads {MAX_TEXT:,}: send no more"
            )
        object.__setattr__(self, "k", check_count(self.k))


def _ids(name: str, values: object) -> tuple[str, ...]:
    """Item ids out of any iterable of them: a list, a generator, a NumPy array, a column of pandas."""
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise InvalidRequest(f"{name} is {values!r}: give a list of item ids")
    try:
        ids = tuple(values)
    except TypeError as error:  # a NumPy array without dimensions
        raise InvalidRequest(f"{name} is {values!r}: give a list of item ids") from error
    return tuple(_text(item_id, f"an item id in {name}") for item_id in ids)


def _text(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise InvalidRequest(f"{name} is {value!r} ({type(value).__name__}): give a str")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequest(f"{name} is {value!r}, which is no text: {error.reason}") from error
    return str.__str__(value)  # of a subclass, such as NumPy's, the plain text


@dataclass(frozen=True, slots=True, eq=False)
class Recommendation:
    """An answer."""

    items: tuple[RankedItem, ...]
    """Best first."""
    attention: npt.NDArray[np.float32] | None
    """float32 [7, 7]: how much each part of the picture decided, summing to 1; None without a picture."""
    unknown_history: tuple[str, ...]
    """Those ids of the history that the catalogue lacks, each once. They had no part in the answer."""
    understood: float | None
    """The share of the text that the model understood, 0 to 1; None where no text was sent."""
    is_popular: bool
    """Whether the items are merely what is popular, because nothing of the request could be used: it had no
    picture, no id of the history is in the catalogue, and nothing of the text was understood."""
    release: int
    """Number of the release that answered."""


@dataclass(frozen=True, slots=True)
class CallInfo:
    """How a call went, for metrics and logs."""

    method: str
    """`recommend` or `embed`; each request of `recommend_many` is a `recommend`."""
    endpoint: str
    """The url that the recommender was given."""
    error: type[BaseException] | None
    """What it ended with: None for an answer, usually a `VisrecError` otherwise."""
    seconds: float
    """From the call to its end, with the picture's decoding and all retries."""
    request_id: str
