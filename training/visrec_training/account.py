"""The account of a data set: each row that was read is used, or counted under the reason why it is not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from visrec_training.config import ConfigError
from visrec_training.errors import DataError


@dataclass(frozen=True, kw_only=True, slots=True)
class LossLimits:
    """How much of the data may be unusable before reading it is an error."""

    items: float = 0.01
    """Share of the items, those with broken pictures included."""
    interactions: float = 0.5
    """Share of the interactions. Shops remove items, whose interactions stay: losing some is usual."""

    def __post_init__(self) -> None:
        """Check each field.

        Raises:
            ConfigError: names the value and what is allowed.
        """
        for value in (self.items, self.interactions):
            if not 0 <= value <= 1:
                raise ConfigError(f"--allow-losses is {value}; allowed: from 0 to 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class Tally:
    """What became of the rows of one table: read = used + the sum of dropped."""

    source: str
    """The files, as a person names them."""
    read: int
    used: int
    dropped: Mapping[str, int] = field(default_factory=dict)
    """Rows by reason."""
    notes: tuple[str, ...] = ()
    """What else was not taken as it stands, such as spellings of ids that were merged."""

    def drop(self, reason: str, rows: int) -> Tally:
        """The tally after `rows` that were used until now turn out to be unusable."""
        dropped = {**self.dropped, reason: self.dropped.get(reason, 0) + rows}
        return Tally(
            source=self.source, read=self.read, used=self.used - rows, dropped=dropped, notes=self.notes
        )

    def check(self, what: str, limit: float) -> None:
        """Refuse a table of which too much is unusable.

        Raises:
            DataError: more than `limit`, a share, of its rows are dropped.
        """
        lost = self.read - self.used
        if lost > limit * self.read:
            raise DataError(
                f"{lost:,} of {self.read:,} {what} in {self.source} can't be used ({_counts(self.dropped)});"
                f" at most {limit:.0%} may be lost: mend the data, or allow more with --allow-losses"
            )

    def line(self, what: str) -> str:
        """`interactions.csv: 12 rows read, 10 used; dropped: 2 unknown items`."""
        dropped = f"; dropped: {_counts(self.dropped)}" if self.dropped else ""
        return f"{what}: {self.read:,} rows read from {self.source}, {self.used:,} used{dropped}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """What a model can learn from a data set, and what of the data it can't."""

    items: Tally
    interactions: Tally | None
    """None where there is no table of them."""
    users: int
    """People with a usable interaction."""
    items_with_interactions: int
    trained_users: int
    """People whose choices are learned from."""
    evaluated_users: int
    """People with a validation, test or cold query."""
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """The summary for a person."""
        lines = [self.items.line("items")]
        if self.interactions is None:
            lines.append("interactions: none; the model learns from pictures, words and categories alone")
        else:
            lines.append(self.interactions.line("interactions"))
            without = self.items.used - self.items_with_interactions
            lines.append(
                f"{self.users:,} users, {self.trained_users:,} to train on and {self.evaluated_users:,} to"
                f" evaluate; {self.items_with_interactions:,} items with interactions, {without:,} without"
            )
        return lines + list(self.notes)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as checkpoints and reports store them."""
        values: dict[str, Any] = {
            "users": self.users,
            "users to train on": self.trained_users,
            "users to evaluate": self.evaluated_users,
            "items with interactions": self.items_with_interactions,
            "notes": list(self.notes),
        }
        for name, tally in (("items", self.items), ("interactions", self.interactions)):
            values[name] = tally and {
                "source": tally.source,
                "rows read": tally.read,
                "rows used": tally.used,
                "rows dropped": dict(tally.dropped),
                "notes": list(tally.notes),
            }
        return values


def offenders(what: str, named: Sequence[object], shown: int = 3) -> str:
    """A line that counts what is wrong and names the first few: `2 WHAT: a, b`."""
    more = f", … (+{len(named) - shown})" if len(named) > shown else ""
    return f"{len(named)} {what}: {', '.join(map(str, named[:shown]))}{more}"


def _counts(dropped: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in dropped.items() if count)
