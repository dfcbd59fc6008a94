"""What Triton's log says."""

from __future__ import annotations

import re
import sys
import threading
from pathlib import Path

# Ways in which Triton tells why it did not start, the closest to the cause first.
_REASONS = (
    re.compile(r"""failed to load '(?P<model>[^']+)' version \d+: (?:[\w ]+: )?(?P<reason>.+)"$"""),
    re.compile(r"""Poll failed for model directory '(?P<model>[^']+)': (?P<reason>.+)"$"""),
    re.compile(r"""load failed for model '(?P<model>[^']+)': (?P<reason>.+)$"""),
    re.compile(r"""failed to (?P<reason>start \w+ service: .+)"$"""),
    re.compile(r"""^error: (?P<reason>.+)$"""),
)
_PROTOBUF = re.compile(r"Error parsing text-format inference\.ModelConfig: (.+)$", re.MULTILINE)


def failure_reason(log: str) -> str | None:
    """Find in Triton's log why it did not start.

    Args:
        log: the log of this start.

    Returns:
        One line: the model, if it is about one, and Triton's reason; None where it gives none.
    """
    lines = log.splitlines()
    for pattern in _REASONS:
        for line in lines:
            if found := pattern.search(line):
                # Triton writes a Python traceback into the same line
                reason = found["reason"].split(r"\n\nAt:")[0].removeprefix("TritonModelException: ").strip()
                if "text proto" in reason and (detail := _PROTOBUF.search(log)):
                    reason = f"{reason}, line {detail[1]}"
                model = found.groupdict().get("model")
                return f"model '{model}': {reason}" if model else reason
    return None


class Echo:
    """Copies what is appended to a log to stderr, until it is closed."""

    def __init__(self, path: Path, offset: int) -> None:
        self._path, self._offset = path, offset
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="triton-log", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Copy what is left, then stop."""
        self._closed.set()
        self._thread.join()

    def _follow(self) -> None:
        with self._path.open(encoding="utf-8", errors="replace") as log:
            log.seek(self._offset)
            last = False
            while not last:
                last = self._closed.wait(0.1)
                sys.stderr.write(log.read())
                sys.stderr.flush()
