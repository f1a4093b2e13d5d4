"""Immich's wire format: `entries` to jobs, answers to JSON. Only its task knows what an entry may hold."""

from functools import cache, lru_cache
from typing import Any

import orjson
from pydantic import BaseModel, Field, ValidationError, create_model

from ml_target.errors import MalformedRequest
from ml_target.log.words import short
from ml_target.tasks.contract import Job, Task
from ml_target.tasks.register import TASKS
from ml_target.tasks.wire import Strict

MAX_ENTRIES = 64 * 1024
"""Bytes or characters; Immich's are below 300, and checking more would block the event loop."""

USUAL = 1024
"""Characters up to which `entries` may be kept with what they ask for."""

_AS_IMMICH = "Send entries as Immich does: a JSON object of tasks, each with its types and their model names."


def parse_entries(entries: str | bytes) -> list[Job]:
    """The jobs of one request.

    Raises MalformedRequest for `entries` in the wrong format, UnusableInput for recognition without detection.
    """
    if len(entries) > MAX_ENTRIES:
        raise entries_too_long()
    return list((_known if len(entries) <= USUAL else _parsed)(entries, tuple(TASKS)))


def _parsed(entries: str | bytes, tasks: tuple[Task[Any, Any], ...]) -> tuple[Job, ...]:
    try:
        content = orjson.loads(entries)
    except ValueError as error:
        raise MalformedRequest(f"Invalid request format: entries is not JSON ({error})", _AS_IMMICH) from error
    if not isinstance(content, dict):
        raise MalformedRequest("Invalid request format: entries is not a JSON object", _AS_IMMICH)
    for task, stages in content.items():
        # What is asked for must be answered or refused, so a task that is named has to ask for something.
        if stages is None or stages == {} or (isinstance(stages, dict) and None in stages.values()):
            raise MalformedRequest(
                f"Invalid request format: {short(task)} asks for nothing", "Name its types, or leave the task out."
            )
    try:
        asked = form_of(tasks).model_validate(content)
    except ValidationError as error:
        raise MalformedRequest(f"Invalid request format: {_summary(error)}", _AS_IMMICH) from error
    entries_of = [(task, getattr(asked, _field(task))) for task in tasks]
    jobs = tuple(job for task, entry in entries_of if entry is not None for job in task.jobs(entry))
    if not jobs:
        *names, last = (task.name for task in tasks)
        raise MalformedRequest("No model task requested", f"Ask for {', '.join(names)} or {last} in entries.")
    return jobs


_known = lru_cache(maxsize=64)(_parsed)
"""Immich sends the same few again and again; refusals are not kept."""


@cache
def form_of(tasks: tuple[Task[Any, Any], ...]) -> type[BaseModel]:
    """The model of `entries`: for each task its own entry."""
    fields: dict[str, Any] = {_field(task): (task.entry | None, Field(default=None, alias=task.name)) for task in tasks}
    return create_model("Entries", __base__=Strict, **fields)


def _field(task: Task[Any, Any]) -> str:
    return task.name.replace("-", "_")


def entries_too_long() -> MalformedRequest:
    """The error for `entries` beyond `MAX_ENTRIES`; also raised before all of it has arrived."""
    return MalformedRequest(f"Invalid request format: entries has more than {MAX_ENTRIES:,} characters", _AS_IMMICH)


def _summary(error: ValidationError) -> str:
    errors = error.errors(include_input=False, include_url=False, include_context=False)
    place = ".".join(map(str, errors[0]["loc"]))
    more = len(errors) - 1
    return f"{short(place)}: {errors[0]['msg']}" + (f" (and {more} more)" if more else "")


def encode(answer: dict[str, Any]) -> bytes:
    """Strict UTF-8 JSON."""
    return orjson.dumps(answer)
