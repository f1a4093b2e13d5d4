"""`Server-Timing` of an answer: how long each stage of the request took, for a browser's tools and the page."""

import re
from functools import lru_cache

from ml_target.log.trace import Trace

_NO_TOKEN = re.compile(r"[^!#$%&'*+\-.^_`|~0-9A-Za-z]+")


def server_timing(trace: Trace) -> dict[str, str]:
    """The header: milliseconds by stage, in the order in which they began, and `total` at the end."""
    parts = [f"{_token(name)};dur={ms:.1f}" for name, ms in trace.stages.items()]
    return {"Server-Timing": ", ".join([*parts, f"total;dur={trace.elapsed_ms:.1f}"])}


@lru_cache(maxsize=256)
def _token(name: str) -> str:
    """The name as HTTP takes it (RFC 9110, token)."""
    return _NO_TOKEN.sub("_", name)
