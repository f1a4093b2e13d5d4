"""A second worker, of the usual design, for `scripts/bench worker`: one frame a burst, under a lock.

What worker programs for such a card mostly look like: FastAPI, a pool of threads, Pillow to decode, OpenCV's bilinear
filter to resize (quicker than what Immich computes, and not the same), and one lock round the device, on which frames
run one after the other through HailoRT's own API. It shares with this project's worker the networks' files, the rules
by which pictures are tiled and lines are cut into windows, and what turns outputs into answers, so that both do the
same work at the same accuracy; it shares nothing that schedules, decodes or resizes.

    python3 second_worker.py MODELS_DIR PORT [BACKEND]      with tests/support/hailo_sim/site on PYTHONPATH
"""

import asyncio
import io
import json
import os
import sys
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import uvicorn
from fastapi import FastAPI, File, Form
from PIL import Image

from ml_target.catalogue.binding import bind
from ml_target.catalogue.files import OCR_DICTIONARY
from ml_target.catalogue.networks import (
    ARCFACE_R50,
    CLASS_SCORES,
    CLIP_BACKENDS,
    EMBEDDING,
    OCR_DETECTION,
    OCR_RECOGNITION,
    PROBABILITY,
    SCRFD_2_5G,
)
from ml_target.catalogue.types import Network, PictureInput
from ml_target.store import load_text_weights
from ml_target.tasks.clip.tokenizer import open_tokenizer
from ml_target.tasks.faces import scrfd
from ml_target.tasks.faces.align import ARCFACE_SIZE, similarity
from ml_target.tasks.ocr.crop import PADDING
from ml_target.tasks.ocr.ctc import Alphabet, decode, read_glyphs
from ml_target.tasks.ocr.dbnet import find_boxes
from ml_target.tasks.ocr.mosaic import merge
from ml_target.tasks.ocr.stitch import Part, join
from ml_target.tasks.ocr.tiles import plan
from ml_target.tasks.ocr.windows import windows
from ml_target.tasks.wire import vector_text
from ml_target.tensors import Array, Float32, Outputs, Tensor, UInt8

THREADS = max(4, os.cpu_count() or 1)
SQUASH = 1.05
"""A line up to this many times too wide for a frame is squeezed, as in this project's worker."""
STEP = 8
"""Columns of one step of the recogniser."""
MAX_FACES, MAX_LINES, MAX_TILES = 500, 1000, 16
WAIT_MS = 30_000


class Device:
    """The card. `run` sends one frame and waits for it, whoever else waits."""

    def __init__(self, folder: Path, networks: Iterable[Network]) -> None:
        import hailo_platform as hailo

        params = hailo.VDevice.create_params()
        params.scheduling_algorithm = hailo.HailoSchedulingAlgorithm.ROUND_ROBIN
        self._lock = threading.Lock()
        self._device: Any = hailo.VDevice(params)
        self._models: dict[str, tuple[Any, Any]] = {}
        for network in networks:
            model: Any = self._device.create_infer_model(str(folder / network.hef["hailo8"].name))
            model.set_batch_size(1)
            if not isinstance(network.input, PictureInput):
                model.input().set_format_type(hailo.FormatType.FLOAT32)
            self._models[network.name] = model, model.configure()

    def run(self, network: Network, frame: Array) -> Outputs:
        """The outputs of one frame, by role."""
        model, configured = self._models[network.name]
        kinds = {1: np.uint8, 2: np.uint16}
        given = np.ascontiguousarray(frame.reshape(model.input().shape))
        answers = {s.name: np.empty(s.shape, kinds[int(s.format.type)]) for s in model.outputs}
        failed: list[object] = []
        with self._lock:
            bindings = configured.create_bindings({model.input().name: given}, answers)
            configured.wait_for_async_ready(timeout_ms=WAIT_MS)
            job = configured.run_async([bindings], lambda completion_info: failed.append(completion_info.exception))
            job.wait(WAIT_MS)
        if failed != [None]:
            raise RuntimeError(f"{network.name}: {failed}")
        outputs: dict[str, Tensor] = {}
        for role in bind(network.forms, [tuple(s.shape) for s in model.outputs], frame.shape):
            stream = model.outputs[role.index]
            (quant,) = stream.quant_infos
            values = role.canonical(answers[stream.name], frame.shape)
            outputs[role.output.role] = Tensor(values, float(quant.qp_scale), float(quant.qp_zp))
        return outputs


class UsualWorker:
    """The tasks, each blocking from the picture to its part of the answer."""

    def __init__(self, folder: Path, backend: str) -> None:
        self._clip = CLIP_BACKENDS[backend]
        fixed = (SCRFD_2_5G, ARCFACE_R50, OCR_DETECTION, OCR_RECOGNITION)
        self._device = Device(folder, (self._clip.visual, self._clip.textual, *fixed))
        self._alphabet = Alphabet.from_file(folder / OCR_DICTIONARY.name)
        self._tokenizer = open_tokenizer(self._clip.family, [folder / file.name for file in self._clip.vocabulary])
        self._tokens = load_text_weights(folder / self._clip.text_weights.name)["tokens"]

    def answer(self, entries: dict[str, Any], image: bytes | None, text: str | None) -> dict[str, Any]:
        """The whole answer, one task after the other."""
        if image is None:
            return {"clip": vector_text(self._query(text or ""))}
        picture = np.asarray(Image.open(io.BytesIO(image)).convert("RGB"))
        answer: dict[str, Any] = {"imageHeight": picture.shape[0], "imageWidth": picture.shape[1]}
        if "clip" in entries:
            answer["clip"] = vector_text(self._picture(picture))
        if "facial-recognition" in entries:
            options = entries["facial-recognition"]["detection"].get("options") or {}
            answer["facial-recognition"] = self._faces(picture, options.get("minScore", 0.7))
        if "ocr" in entries:
            options = entries["ocr"]["detection"].get("options") or {}
            answer["ocr"] = self._text(picture, options.get("maxResolution", 736))
        return answer

    def _query(self, text: str) -> Float32:
        rows = np.asarray(self._tokens[self._tokenizer.encode(text)], np.float32)
        return _unit(self._device.run(self._clip.textual, rows)[EMBEDDING].real().reshape(-1))

    def _picture(self, picture: UInt8) -> Float32:
        spec = self._clip.visual.input
        assert isinstance(spec, PictureInput)
        frame = cv2.resize(picture, (spec.width, spec.height), interpolation=cv2.INTER_LINEAR)
        return _unit(self._device.run(self._clip.visual, frame)[EMBEDDING].real().reshape(-1))

    def _faces(self, picture: UInt8, min_score: float) -> list[dict[str, Any]]:
        high, wide = picture.shape[:2]
        scale = min(640 / high, 640 / wide)
        small = cv2.resize(picture, (int(wide * scale), int(high * scale)), interpolation=cv2.INTER_LINEAR)
        frame = np.zeros((640, 640, 3), np.uint8)
        frame[: small.shape[0], : small.shape[1]] = small
        found = scrfd.decode(self._device.run(SCRFD_2_5G, frame), scale, min_score, MAX_FACES)
        answer = []
        for box, score, points in zip(found.boxes, found.scores, found.landmarks, strict=True):
            crop = cv2.warpAffine(picture, similarity(points), (ARCFACE_SIZE, ARCFACE_SIZE))
            vector = self._device.run(ARCFACE_R50, crop)[EMBEDDING].real().reshape(-1)
            corners = dict(zip(("x1", "y1", "x2", "y2"), (round(float(n)) for n in box), strict=True))
            answer.append({"boundingBox": corners, "embedding": vector_text(vector), "score": float(score)})
        return answer

    def _text(self, picture: UInt8, max_resolution: int) -> dict[str, Any]:
        spec = OCR_DETECTION.input
        assert isinstance(spec, PictureInput)
        high, wide = picture.shape[:2]
        tiling = plan(high, wide, (spec.height, spec.width), max_resolution, MAX_TILES)
        scaled = cv2.resize(picture, tiling.size[::-1], interpolation=cv2.INTER_LINEAR)[..., ::-1]
        maps = []
        for top, left in tiling.starts:
            tile = np.zeros((spec.height, spec.width, 3), np.uint8)
            part = scaled[top : top + spec.height, left : left + spec.width]
            tile[: part.shape[0], : part.shape[1]] = part
            maps.append(self._device.run(OCR_DETECTION, tile)[PROBABILITY])
        boxes = find_boxes(merge(maps, tiling.starts, tiling.size), (high, wide), 0.5, MAX_LINES)
        lines = [self._line(picture, corners) for corners in boxes.corners]
        return {
            "text": [text for text, _ in lines],
            "box": [float(n) for corners in boxes.corners for n in (corners / (wide, high)).reshape(-1)],
            "boxScore": [float(score) for score in boxes.scores],
            "textScore": [float(score) for _, score in lines],
        }

    def _line(self, picture: UInt8, corners: Float32) -> tuple[str, float]:
        spec = OCR_RECOGNITION.input
        assert isinstance(spec, PictureInput)
        sides = np.linalg.norm(corners - np.roll(corners, -1, axis=0), axis=1)
        wide, high = int(max(sides[0], sides[2])), int(max(sides[1], sides[3]))
        upright = np.array([(0, 0), (wide, 0), (wide, high), (0, high)], np.float32)
        matrix = cv2.getPerspectiveTransform(np.asarray(corners, np.float32), upright)
        crop = cv2.warpPerspective(
            picture, matrix, (wide, high), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
        )
        width = max(1, int(np.ceil(spec.height * wide / high)))
        width = min(width, spec.width) if width <= spec.width * SQUASH else width
        strip = np.asarray(cv2.resize(crop, (width, spec.height), interpolation=cv2.INTER_LINEAR), np.uint8)[..., ::-1]
        parts = []
        for window in windows(strip, spec.width, at_words=True):
            frame = np.full((spec.height, spec.width, 3), PADDING, np.uint8)
            frame[:, : window.stop - window.start] = strip[:, window.start : window.stop]
            scores = self._device.run(OCR_RECOGNITION, frame)[CLASS_SCORES]
            parts.append(Part(read_glyphs(scores, STEP).moved(window.start), *window))
        return decode(join(parts, self._alphabet), self._alphabet)


def _unit(vector: Float32) -> Float32:
    return np.asarray(vector / np.linalg.norm(vector), np.float32)


def build_app(worker: UsualWorker) -> FastAPI:
    """`POST /predict` as Immich sends it, and `GET /ping`."""
    app, pool = FastAPI(), ThreadPoolExecutor(THREADS)

    @app.get("/ping")
    async def ping() -> str:
        return "pong"

    @app.post("/predict")
    async def predict(
        entries: Annotated[str, Form()],
        image: Annotated[bytes | None, File()] = None,
        text: Annotated[str | None, Form()] = None,
    ) -> dict[str, Any]:
        wanted = json.loads(entries)
        return await asyncio.get_running_loop().run_in_executor(pool, worker.answer, wanted, image, text)

    return app


def main() -> None:
    folder, port, *backend = sys.argv[1:]
    worker = UsualWorker(Path(folder), *(backend or ["tinyclip"]))
    uvicorn.run(build_app(worker), host="127.0.0.1", port=int(port), log_level="warning")


if __name__ == "__main__":
    main()
