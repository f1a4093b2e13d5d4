"""For schemathesis: forms with real pictures in them, and none that is only thought wrong. SCHEMATHESIS_HOOKS names
this file."""

import io
from typing import Any

import jsonschema
import schemathesis
from hypothesis import strategies as st
from PIL import Image


def _picture(size: tuple[int, int], form: str) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, (200, 120, 40)).save(out, form)
    return out.getvalue()


PICTURES = [_picture((40, 30), "JPEG"), _picture((30, 40), "PNG"), _picture((1, 1), "BMP"), b"no picture", b""]

schemathesis.openapi.media_type("image/*", st.sampled_from(PICTURES))


@schemathesis.hook
def filter_case(context: schemathesis.HookContext, case: schemathesis.Case[Any]) -> bool:
    """Drops forms that were to be wrong and came out right, which the worker answers, and may.

    To make a form wrong, schemathesis turns a rule of the description round and draws from what that allows: where an
    option is to be too small, say, no options at all. Nor does it look whether the description lets the form in.
    """
    if case.meta is None or not case.meta.generation.mode.is_negative or not isinstance(case.body, dict):
        return True
    operation: Any = case.operation.schema.raw_schema["paths"][case.operation.path][case.operation.method.lower()]
    described = operation["requestBody"]["content"]["multipart/form-data"]["schema"]
    form = {name: "" if isinstance(value, bytes) else value for name, value in case.body.items()}
    return not jsonschema.Draft202012Validator(described).is_valid(form)
