"""What `/openapi.json` says of each endpoint, beside what FastAPI finds out by itself.

It is put together when it is first asked for: nobody else pays for it.
"""

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any, get_args

import orjson
from fastapi import FastAPI, Response
from fastapi.openapi.utils import get_openapi

from ml_target import __version__
from ml_target.api.form import MAX_TEXT
from ml_target.catalogue.needs import EngineName
from ml_target.errors import REASONS
from ml_target.figures.observer import FAULTS, RECOVERIES
from ml_target.figures.ring import STEP_S, STEPS
from ml_target.log.trace import STAGES
from ml_target.runtime.described import answer_schema, entries_schema

Schema = dict[str, Any]

NOTHING: Schema = {"type": "null"}
NUMBER: Schema = {"type": "number"}
COUNT: Schema = {"type": "integer", "minimum": 0}
TEXT: Schema = {"type": "string"}


def _record(**properties: Schema) -> Schema:
    """An object with exactly these."""
    return {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}


def _list(of: Schema, **bounds: int) -> Schema:
    return {"type": "array", "items": of, **bounds}


def _map(of: Schema) -> Schema:
    return {"type": "object", "additionalProperties": of}


def _maybe(of: Schema) -> Schema:
    return {"anyOf": [of, NOTHING]}


def _answer(words: str, schema: Schema, media_type: str = "application/json") -> dict[str, Any]:
    return {"description": words, "content": {media_type: {"schema": schema}}}


DETAIL = _record(detail=TEXT)
_MISSING = _record(detail=_list(_record(type=TEXT, loc=_list(TEXT), msg=TEXT, input=NOTHING), minItems=1))
_STAGES: Schema = {
    **_map(NUMBER),
    "description": "; ".join(f"{stage}: {words}" for stage, words in STAGES.items()),
    "propertyNames": {"pattern": rf"^(\w+\.)?({'|'.join(STAGES)})$"},
}
_STEPS = partial(_list, minItems=STEPS, maxItems=STEPS)

BANNER: dict[int | str, dict[str, Any]] = {
    200: _answer("What Immich's worker says there.", _record(message={"const": "Immich ML"}))
}
PING: dict[int | str, dict[str, Any]] = {
    200: _answer("The worker serves.", {"const": "pong"}, "text/plain"),
    503: _answer("It does not: it loads, recovers its card, has nothing to serve, or has failed.", TEXT, "text/plain"),
}
STATUS: dict[int | str, dict[str, Any]] = {
    200: _answer(
        "What is served, what is not, and why.",
        {
            "type": "object",
            "properties": {
                "version": TEXT,
                "state": {"enum": ["loading", "ready", "recovering", "idle", "failed"]},
                "ready": {"type": "boolean"},
                "failure": TEXT,
                "engine": {"enum": list(get_args(EngineName))},
                "networks": {"enum": ["loaded", "unloaded", "loading"]},
                "uptime_s": COUNT,
                "tasks": _map({"type": "object", "properties": {"on": {"type": "boolean"}}, "required": ["on"]}),
                "names": _list(_record(task=TEXT, asked=TEXT, served_by=TEXT)),
                "devices": _list(
                    {
                        "type": "object",
                        "properties": {
                            "engine": TEXT,
                            "ready": {"type": "boolean"},
                            "recoveries": _record(**dict.fromkeys(RECOVERIES, COUNT)),
                        },
                        "required": ["engine", "ready", "recoveries"],
                    }
                ),
            },
            "required": ["version", "state", "ready", "engine", "uptime_s", "tasks", "names", "devices"],
        },
    )
}
HTML: dict[str, Any] = {"text/html": {"schema": TEXT}}
BANNER[302] = {"description": "To the page, for a browser."}
STATUS[200]["content"] |= HTML
STATUS[304] = {"description": "The page is still the one that the browser has."}
PAGE: dict[int | str, dict[str, Any]] = {
    200: _answer(
        "What the page shows besides: status, words for people, the findings about each device.",
        {
            "type": "object",
            "properties": {
                "status": {"type": "object"},
                "try_it": {"type": "boolean"},
                "devices": _list({"type": "object"}),
                "tasks": _list(
                    _record(
                        name=TEXT,
                        label=TEXT,
                        on={"type": "boolean"},
                        fault={"type": "boolean"},
                        served_by=TEXT,
                        choose=TEXT,
                        engines=_list(TEXT),
                        why=TEXT,
                        remedy=TEXT,
                    )
                ),
                "immich": _list(_record(field=TEXT, value=TEXT, note=TEXT)),
                "names": _list(
                    _record(
                        task=TEXT,
                        asked=TEXT,
                        why=TEXT,
                        served_by=TEXT,
                        choose=_list(TEXT),
                        costs=TEXT,
                        fits={"type": "boolean"},
                    )
                ),
            },
            "required": ["status", "try_it", "devices"],
            "additionalProperties": False,
        },
    )
}
LIVE: dict[int | str, dict[str, Any]] = {
    200: _answer(
        "The last ten minutes in steps that have ended, the oldest first, null for those before the start; "
        "faults, recoveries and requests, the newest first.",
        _record(
            now=NUMBER,
            step_s={"const": STEP_S},
            steps={"const": STEPS},
            tasks=_map(
                _record(
                    done=_STEPS(_maybe(COUNT)),
                    failed=_STEPS(_maybe(COUNT)),
                    mean_ms=_STEPS(_maybe(NUMBER)),
                    stages_ms=_STAGES,
                )
            ),
            networks=_map(
                _record(
                    engine=TEXT,
                    waiting=_STEPS(_maybe(COUNT)),
                    frames=_STEPS(_maybe(COUNT)),
                    bursts=_STEPS(_maybe(COUNT)),
                    busy_s=_STEPS(_maybe(NUMBER)),
                )
            ),
            failures={"type": "object", "propertyNames": {"enum": [*REASONS]}, "additionalProperties": COUNT},
            run=_maybe(_record(began=NUMBER, requests=COUNT, photos=COUNT, now_per_s=NUMBER, mean_per_s=NUMBER)),
            recoveries=_list(
                _record(at=NUMBER, engine=TEXT, kind=_maybe({"enum": [*RECOVERIES]}), seconds=_maybe(NUMBER))
            ),
            faults=_list(_record(at=NUMBER, network=TEXT, kind={"enum": [*FAULTS]})),
            last=_list(
                _record(
                    at=NUMBER,
                    id=TEXT,
                    tasks=_list(TEXT),
                    picture=_maybe(_list(COUNT, minItems=2, maxItems=2)),
                    bytes=COUNT,
                    stages_ms=_STAGES,
                    total_ms=NUMBER,
                    outcome={"type": "integer"},
                    reason=_maybe({"enum": [*REASONS]}),
                )
            ),
            memory=_record(resident_mb=COUNT, decoded_mb=COUNT, limit_mb=COUNT),
            load=_record(cores=COUNT, threads=COUNT),
        ),
    )
}
METRICS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The figures since the start, in Prometheus' format or, if asked for, as OpenMetrics.",
        "content": {"text/plain": {"schema": TEXT}, "application/openmetrics-text": {"schema": TEXT}},
    }
}

_ERRORS = {
    400: "The form is right, what it holds is not: no picture, a model name that must not be answered for.",
    403: "A browser asks for another site's page, or for one under a name that another site may own.",
    408: "The upload stopped coming.",
    413: "The upload, the picture or the query is larger than is allowed.",
    500: "The worker is at fault; its log says more.",
    503: "The task is off, or the worker starts, stops, has lost its card, has no room, or was not done in time.",
}
PREDICT: dict[int | str, dict[str, Any]] = {
    **{status: _answer(words, DETAIL) for status, words in _ERRORS.items()},
    422: _answer("The form is not as Immich sends it.", {"anyOf": [DETAIL, _MISSING]}),
}


TRY: dict[int | str, dict[str, Any]] = {
    **PREDICT,
    403: _answer("It is off by TRY_IT, or a browser asks for a page that may be another site's.", DETAIL),
}


def predict_body() -> dict[str, Any]:
    """The form: of a picture, or of a text."""
    image = {"type": "string", "format": "binary", "description": "A picture, as a file part with a filename."}
    words = f"A search query, at most {MAX_TEXT // 1024} KiB as UTF-8; not looked at beside an image."
    forms = [
        {"properties": {"entries": entries_schema(text=False)}, "required": ["entries", "image"]},
        {
            "properties": {"entries": entries_schema(text=True), "text": {"minLength": 1}},
            "required": ["entries", "text"],
        },
    ]
    schema = {
        "type": "object",
        "properties": {
            "entries": {
                **entries_schema(),
                "description": "The tasks, each with its types and their model names.",
                "examples": [{"clip": {"visual": {"modelName": "ViT-B-32__openai"}}}],
            },
            "image": image,
            "text": {"type": "string", "description": words},
        },
        "required": ["entries"],
        "anyOf": forms,
    }
    encoding = {"image": {"contentType": "image/*"}}  # an object, such as entries, is JSON
    return {"required": True, "content": {"multipart/form-data": {"schema": schema, "encoding": encoding}}}


ITSELF: dict[int | str, dict[str, Any]] = {200: _answer("This description.", {"type": "object"})}

ID: Mapping[str, Any] = {
    "X-Request-Id": {
        "description": "The request's id, as in the log.",
        "required": True,
        "schema": {"type": "string", "pattern": "^[0-9a-f]{10}$"},
    }
}
TIMING: Mapping[str, Any] = {
    "Server-Timing": {"description": "Milliseconds by stage.", "required": True, "schema": TEXT},
}


def add_description(app: FastAPI) -> None:
    """Adds the route."""
    description = b""

    @app.get("/openapi.json", responses=ITSELF)
    async def openapi() -> Response:
        nonlocal description
        if not description:  # in a thread: it takes a tenth of a second
            description = await asyncio.to_thread(lambda: orjson.dumps(_described(app)))
        return Response(description, media_type="application/json")


def _described(app: FastAPI) -> dict[str, Any]:
    found = get_openapi(title=app.title, version=__version__, routes=app.routes)
    predict = found["paths"]["/predict"]["post"]
    predict["requestBody"] = predict_body()
    predict["responses"]["200"] = _answer("An answer for each task that was asked for.", answer_schema())
    shown = found["paths"]["/try"]["post"]
    shown["requestBody"] = predict["requestBody"]
    shown["responses"]["200"] = _answer("As that of /predict; a face has its landmarks besides.", {"type": "object"})
    for methods in found["paths"].values():
        for operation in methods.values():
            for answer in operation["responses"].values():
                answer["headers"] = {**ID, **(TIMING if operation in (predict, shown) else {})}
    return found
