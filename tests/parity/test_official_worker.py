"""The second worker of `scripts/bench processor` answers as the official one does: else its speed says nothing."""

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnxruntime
import pytest
from light_towers import light_models
from official_worker import THREADS, create_app

from ml_target.catalogue.networks import ARCFACE_R50, SCRFD_2_5G
from ml_target.tensors import Float32

BUFFALO, PPOCR, VIT = {"modelName": "buffalo_l"}, {"modelName": "PP-OCRv5_mobile"}, {"modelName": "ViT-B-32__openai"}
ENTRIES: dict[str, dict[str, Any]] = {
    "faces": {"facial-recognition": {"detection": BUFFALO, "recognition": BUFFALO}},
    "text": {"ocr": {"detection": PPOCR, "recognition": {**PPOCR, "options": {"minScore": 0.8}}}},
    "picture": {"clip": {"visual": VIT}},
    "query": {"clip": {"textual": VIT}},
}


def numbers(text: str) -> Float32:
    return np.array(json.loads(text), np.float32)


def test_it_answers_each_task_in_the_official_form(
    tmp_path: Path, face_models: Path, wheel_models: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[int] = []
    opened = onnxruntime.InferenceSession.__init__

    def noted(session: Any, path: str, options: Any, **others: Any) -> None:
        threads.append(options.intra_op_num_threads)
        opened(session, path, options, **others)

    monkeypatch.setattr(onnxruntime.InferenceSession, "__init__", noted)
    folder = light_models(tmp_path / "models", wheel_models)
    (folder / SCRFD_2_5G.onnx[0].name).symlink_to(face_models / "scrfd_2.5g_bnkps.onnx")
    (folder / ARCFACE_R50.onnx[0].name).symlink_to(face_models / "face_embedder_112_512.onnx")
    for name in ("ppocrv5_mobile_det.onnx", "ppocrv5_mobile_rec.onnx", "ppocrv5_dict.txt"):
        (folder / name).symlink_to(wheel_models / name)
    photo = (photos / "faces_four.jpg").read_bytes()

    async def ask() -> dict[str, Any]:
        transport = httpx.ASGITransport(app=create_app(folder))
        answers: dict[str, Any] = {}
        async with httpx.AsyncClient(transport=transport, base_url="http://usual", timeout=120, verify=False) as client:
            assert (await client.get("/ping")).text == "pong"
            for label, entries in ENTRIES.items():
                form = {"entries": json.dumps(entries)} | ({"text": "a dog"} if label == "query" else {})
                files = None if label == "query" else {"image": ("blob", photo)}
                answer = await client.post("/predict", data=form, files=files)
                assert answer.status_code == 200
                answers[label] = answer.json()
            answers["served"] = (await client.get("/served")).json()
        return answers

    answers = asyncio.run(ask())
    assert threads == [THREADS] * 6, "each of its networks runs with the official worker's threads"
    assert answers["served"] == {"facial-recognition": 1, "ocr": 1, "clip": 1}, "it counts what it has run on pictures"
    faces = answers["faces"]["facial-recognition"]
    assert len(faces) == 4
    assert set(faces[0]) == {"boundingBox", "embedding", "score"}
    assert numbers(faces[0]["embedding"]).shape == (512,)
    assert numbers(answers["picture"]["clip"]).shape == numbers(answers["query"]["clip"]).shape == (512,)
    assert set(answers["text"]["ocr"]) == {"text", "box", "boxScore", "textScore"}
    assert len(answers["text"]["ocr"]["box"]) == 8 * len(answers["text"]["ocr"]["text"])
    assert "imageHeight" in answers["faces"]
    assert "imageHeight" not in answers["query"]
