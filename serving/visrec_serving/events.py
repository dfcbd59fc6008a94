"""What happens to a server, a line each: `time=… event=… name=value …`, in quotes where values need them."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime

_PLAIN = re.compile(r"[^\s\"=]+")


def tell(event: str, **facts: object) -> None:
    """Write an event to stdout, where nothing but visrec's own lines go."""
    words = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event, **facts}
    print(" ".join(f"{name}={_quoted(value)}" for name, value in words.items()), flush=True)


def _quoted(value: object) -> str:
    text = f"{value:.3f}" if isinstance(value, float) else str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)
