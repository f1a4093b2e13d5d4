"""Immich's requests as its server sends them, and what is taken from the answers."""

import json
from typing import Any

import httpx
import numpy as np
from pictures import picture

CLIP = {"clip": {"visual": {"modelName": "ViT-B-32__openai"}}}
QUERY = {"clip": {"textual": {"modelName": "ViT-B-32__openai", "options": {"language": "en"}}}}
FACES = {
    "facial-recognition": {
        "detection": {"modelName": "buffalo_l", "options": {"minScore": 0.7}},
        "recognition": {"modelName": "buffalo_l"},
    }
}
OCR = {
    "ocr": {
        "detection": {"modelName": "PP-OCRv5_mobile", "options": {"minScore": 0.5, "maxResolution": 736}},
        "recognition": {"modelName": "PP-OCRv5_mobile", "options": {"minScore": 0.8}},
    }
}
PHOTO = picture()


def ask(client: httpx.Client, entries: Any, image: bytes | None = PHOTO, text: str | None = None) -> httpx.Response:
    """The form as the Immich server sends it: `entries` first, then `image` or `text`."""
    parts: list[tuple[str, Any]] = [("entries", (None, entries if isinstance(entries, str) else json.dumps(entries)))]
    if text is not None:
        parts.append(("text", (None, text)))
    elif image is not None:
        parts.append(("image", ("blob", image, "application/octet-stream")))
    return client.post("/predict", files=parts)


def search(client: httpx.Client, text: str, entries: Any = QUERY) -> httpx.Response:
    return ask(client, entries, image=None, text=text)


def vector(text: Any) -> list[float]:
    assert isinstance(text, str)
    assert " " not in text
    numbers = json.loads(text)
    assert all(isinstance(n, float | int) and np.isfinite(n) for n in numbers)
    return list(numbers)


def form_body(boundary: str, parts: list[tuple[str, bytes]]) -> bytes:
    return (
        b"".join(
            f"--{boundary}\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode() + body + b"\r\n"
            for head, body in parts
        )
        + f"--{boundary}--\r\n".encode()
    )


def words_in_their_cells(result: dict[str, Any]) -> list[str]:
    """Every word that names the cell its own box lies in."""
    boxes = np.array(result["box"]).reshape(-1, 4, 2)
    centres = boxes.mean(axis=1)
    right = []
    for text, (x, y) in zip(result["text"], centres, strict=True):
        word = text.replace("O", "0")  # the network reads R0C0 as ROCO, in the official worker too
        assert word == f"R{int(y * 8)}C{int(x * 8)}"
        right.append(word)
    return right
