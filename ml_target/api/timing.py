"""`Server-Timing` of an answer: how long each stage of the request took, for a browser's tools and the page."""

from ml_target.log.trace import Trace


def server_timing(trace: Trace) -> dict[str, str]:
    """The header: milliseconds by stage, in the order in which they began, and `total` at the end."""
    parts = [f"{name};dur={ms:.1f}" for name, ms in trace.stages.items()]
    return {"Server-Timing": ", ".join([*parts, f"total;dur={trace.elapsed_ms:.1f}"])}
