"""The last ten minutes as plain data, for the page: what `GET /status/live` answers."""

from collections.abc import Callable
from typing import Any, TypeVar

from ml_target.figures.recorder import Finished, Recorder, Run
from ml_target.figures.ring import STEP_S, STEPS, NetworkStep, Step, TaskStep

LATELY = 6
"""Steps over which the present pace of an indexing run is taken."""

Steps = list[Step | None]
T = TypeVar("T")


def live(recorder: Recorder) -> dict[str, Any]:
    """Lists by step hold the oldest first, and None where there is nothing to tell; those of events the newest."""
    past, run = recorder.ring.past(), recorder.run
    return {
        "now": round(recorder.wall(), 1),
        "step_s": STEP_S,
        "steps": STEPS,
        "tasks": {name: _task(name, past) for name in list(recorder.tasks)},
        "networks": {name: _network(name, engine, past) for name, engine in list(recorder.networks.items())},
        "failures": _failures(past),
        "run": None if run is None else _run(run, past, recorder.clock()),
        "recoveries": [
            {"at": round(each.at, 1), "engine": each.engine, "kind": each.kind, "seconds": _rounded(each.seconds)}
            for each in reversed(recorder.recoveries)
        ],
        "faults": [
            {"at": round(each.at, 1), "network": each.network, "kind": each.kind} for each in reversed(recorder.faults)
        ],
        "last": [_request(each) for each in reversed(recorder.last)],
    }


def _task(name: str, past: Steps) -> dict[str, Any]:
    nothing = TaskStep()
    steps = _each(past, lambda step: step.tasks.get(name, nothing))
    stages: dict[str, float] = {}
    for step in filter(None, steps):
        for stage, ms in step.stages.items():
            stages[stage] = stages.get(stage, 0.0) + ms
    done = sum(step.done for step in filter(None, steps))
    return {
        "done": _each(steps, lambda step: step.done),
        "failed": _each(steps, lambda step: step.failed),
        "mean_ms": _each(steps, lambda step: round(step.ms / step.done, 1) if step.done else None),
        "stages_ms": {stage: round(ms / done, 2) for stage, ms in stages.items()},
    }


def _network(name: str, engine: str, past: Steps) -> dict[str, Any]:
    nothing = NetworkStep()
    steps = _each(past, lambda step: step.networks.get(name, nothing))
    return {
        "engine": engine,
        "waiting": _each(steps, lambda step: step.waiting),
        "frames": _each(steps, lambda step: step.frames),
        "bursts": _each(steps, lambda step: step.bursts),
        "busy_s": _each(steps, lambda step: round(step.busy, 3)),
    }


def _failures(past: Steps) -> dict[str, int]:
    counts: dict[str, int] = {}
    for step in filter(None, past):
        for reason, count in step.failures.items():
            counts[reason] = counts.get(reason, 0) + count
    return counts


def _run(run: Run, past: Steps, now: float) -> dict[str, Any]:
    """Its present pace is that of the last half minute, or since it began; its mean that until its last picture."""
    mean, yet = (run.photos / max(until - run.first, 0.001) for until in (run.last, now))
    whole = int((now - run.first) // STEP_S)
    lately = [step.photos for step in past[-LATELY:] if step is not None]
    return {
        "began": round(run.began, 1),
        "requests": run.requests,
        "photos": run.photos,
        "now_per_s": round(sum(lately) / (LATELY * STEP_S) if whole > LATELY else yet, 2),
        "mean_per_s": round(mean, 2),
    }


def _request(request: Finished) -> dict[str, Any]:
    return {
        "at": round(request.at, 1),
        "id": request.id,
        "tasks": request.tasks,
        "picture": request.picture,
        "bytes": request.bytes,
        "stages_ms": {stage: round(ms, 1) for stage, ms in request.stages.items()},
        "total_ms": round(request.total_ms, 1),
        "outcome": request.outcome,
        "reason": request.reason,
    }


def _each(steps: list[Any], of: Callable[[Any], T]) -> list[T | None]:
    """`of` every step; None for those before the start."""
    return [None if step is None else of(step) for step in steps]


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)
