"""W3C Trace Context: the headers by which a request is followed from service to service."""

from __future__ import annotations

import re
from collections.abc import Mapping

# https://www.w3.org/TR/trace-context/#traceparent-header
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-[\x21-\x7e]*)?")
_TRACESTATE = re.compile(r"[\x20-\x7e]{1,512}")


def trace_headers(context: Mapping[str, str] | None) -> dict[str, str]:
    """Take `traceparent` and `tracestate` out of headers, such as those of the request being answered.

    As the standard says, a context that is broken is left out, and without traceparent there is no
    tracestate: a caller's mistake must not fail the request that it comes with.

    Args:
        context: headers by name; names in upper or lower case.
    """
    found = {name.lower(): value for name, value in (context or {}).items()}
    parent, state = found.get("traceparent", ""), found.get("tracestate", "")
    if not _TRACEPARENT.fullmatch(parent):
        return {}
    return {"traceparent": parent, **({"tracestate": state} if _TRACESTATE.fullmatch(state) else {})}
