"""The part of Immich's wire format that tasks share: how `entries` name models and options, how vectors are written.

Source: the Immich server's requests and the official worker's request types.
"""

from typing import Annotated, Any

import numpy as np
import orjson
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictFloat,
    StrictInt,
    StringConstraints,
    WithJsonSchema,
)
from pydantic.config import JsonDict

from ml_target.errors import UnusableInput
from ml_target.tensors import Float32


def empty_if_null(value: Any) -> Any:
    return {} if value is None else value


Score = Annotated[
    StrictInt | StrictFloat,
    Field(ge=0, le=1, allow_inf_nan=False),
    WithJsonSchema({"type": "number", "minimum": 0, "maximum": 1}),
]

SHARE = {"type": "number", "minimum": 0, "maximum": 1}
VECTOR_TEXT = {"type": "string", "pattern": r"^\[[-0-9.eE,]+\]$", "description": "A vector: a JSON array as text."}
"""Parts of what an answer holds, as JSON Schema."""

BOTH: JsonDict = {"required": ["detection", "recognition"]}
"""What JSON Schema says of an entry that `both` checks."""


class Options(BaseModel):
    """Unknown options are ignored, so that this worker works with a newer server."""

    model_config = ConfigDict(extra="ignore")


class ModelEntry(BaseModel):
    """Unknown keys beside `modelName` and `options` are errors, as in the official worker."""

    model_config = ConfigDict(extra="forbid", strict=True)
    modelName: Annotated[str, StringConstraints(strip_whitespace=True)]  # noqa: N815 - the wire's spelling
    options: Annotated[Options, BeforeValidator(empty_if_null)] = Options()


class Strict(BaseModel):
    """Unknown keys are errors."""

    model_config = ConfigDict(extra="forbid")


def both(task: str, detection: ModelEntry | None, recognition: ModelEntry | None) -> bool:
    """Whether both stages are asked for, not neither. Raises UnusableInput where one is asked for alone."""
    if detection is None and recognition is None:
        return False
    if detection is None or recognition is None:
        present, missing = ("recognition", "detection") if detection is None else ("detection", "recognition")
        raise UnusableInput(f"{task}: {present} needs {missing} in the same request", "Ask for both, as Immich does.")
    return True


def vector_text(vector: Float32) -> str:
    """A JSON array as text, which Immich binds straight into SQL. Numbers have the shortest float32 digits."""
    return orjson.dumps(np.ascontiguousarray(vector, np.float32), option=orjson.OPT_SERIALIZE_NUMPY).decode()
