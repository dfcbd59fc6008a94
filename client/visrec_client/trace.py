"""W3C Trace Context: the headers by which a request is followed from service to service."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping

# https://www.w3.org/TR/trace-context/#traceparent-header
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-[\x21-\x7e]*)?")
_TRACESTATE = re.compile(r"[\x20-\x7e]{1,512}")
_LOG = logging.getLogger(__name__)


def trace_headers(context: Mapping[str, str] | None) -> dict[str, str]:
    """Take `traceparent` and `tracestate` out of headers, such as those of the request being answered.

    As the standard says, a context that is broken is left out, and without traceparent there is no
    tracestate: a caller's mistake must not fail the request that it comes with. What is left out is logged.

    Args:
        context: headers by name; names in upper or lower case.
    """
    found = {name.lower(): value for name, value in (context or {}).items()}
    parent, state = found.get("traceparent", ""), found.get("tracestate", "")
    if not _TRACEPARENT.fullmatch(parent):
        if parent or state:
            _LOG.warning("trace context left out: traceparent is %.100r", parent)
        return {}
    if not state:
        return {"traceparent": parent}
    if not _TRACESTATE.fullmatch(state):
        _LOG.warning("tracestate left out: it is %.100r", state)
        return {"traceparent": parent}
    return {"traceparent": parent, "tracestate": state}
