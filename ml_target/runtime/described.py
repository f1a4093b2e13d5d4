"""The wire format as JSON Schema: what `entries` may hold, and what an answer holds. The tasks describe their parts."""

from collections.abc import Mapping
from typing import Any

from ml_target.runtime.protocol import form_of
from ml_target.tasks.register import TASKS

Schema = Mapping[str, Any]


def entries_schema(*, text: bool | None = None) -> dict[str, Any]:
    """What `entries` may hold; with `text` only what it may hold beside a text, or beside a picture.

    Stricter than the models: they take a null to say by themselves that it asks for nothing.
    """
    raw = form_of(tuple(TASKS)).model_json_schema(by_alias=True)
    plain = _plain(raw, raw.get("$defs", {}))
    asked = {}
    for task in TASKS:
        entry = plain["properties"][task.name]
        types = {name: of for name, of in entry["properties"].items() if text in (None, name in task.text_types)}
        if types:
            asked[task.name] = {**entry, "properties": types}
    return {**plain, "properties": asked, "minProperties": 1}


def answer_schema() -> dict[str, Any]:
    """The tasks that were asked for; for a picture its size, too."""
    side = {"type": "integer", "minimum": 1}
    return {
        "type": "object",
        "properties": {**{task.name: dict(task.answer) for task in TASKS}, "imageHeight": side, "imageWidth": side},
        "minProperties": 1,
        "additionalProperties": False,
    }


def _plain(schema: Any, named: Schema) -> Any:
    """The schema with its parts in place, without titles, and without null as a way to leave a task out."""
    if isinstance(schema, list):
        return [_plain(each, named) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _plain(named[schema["$ref"].rpartition("/")[2]], named)
    if {"type": "null"} in schema.get("anyOf", ()):
        (only,) = (each for each in schema["anyOf"] if each != {"type": "null"})
        return _plain(only, named)
    kept = {key: value for key, value in schema.items() if key not in ("$defs", "title", "default", "description")}
    if "properties" not in kept:
        return {key: _plain(value, named) for key, value in kept.items()}
    properties = {name: _plain(value, named) for name, value in kept["properties"].items()}
    if "options" in properties:
        properties["options"] = {**properties["options"], "type": ["object", "null"]}
    return {**kept, "properties": properties}
