"""For schemathesis: forms with real pictures in them. SCHEMATHESIS_HOOKS names this file."""

import io

import schemathesis
from hypothesis import strategies as st
from PIL import Image


def _picture(size: tuple[int, int], form: str) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, (200, 120, 40)).save(out, form)
    return out.getvalue()


PICTURES = [_picture((40, 30), "JPEG"), _picture((30, 40), "PNG"), _picture((1, 1), "BMP"), b"no picture", b""]

schemathesis.openapi.media_type("image/*", st.sampled_from(PICTURES))
