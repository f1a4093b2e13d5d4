"""A second worker for the bench of the processor: put together as Immich's official worker 3.1 is.

insightface finds and describes faces, RapidOCR's classes read text, Pillow prepares pictures for search; ONNX Runtime
runs the same files with the official session options for a processor (two threads an inference, the rest as it
comes). Every stage of every request runs in one pool with a thread for each core, with no order and no lock. HTTP is
FastAPI's own form and JSON, on uvicorn.

    python3 tests/support/official_worker.py FOLDER PORT

`FOLDER` holds the files under the catalogue's names. Answers have the official form.
"""

import asyncio
import io
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

PROJECT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(PROJECT), str(PROJECT / "tests" / "support")]

import cv2  # noqa: E402
import numpy as np  # noqa: E402
import orjson  # noqa: E402
from fastapi import FastAPI, File, Form, HTTPException, Response  # noqa: E402
from fastapi.responses import PlainTextResponse  # noqa: E402
from insightface_reference import InsightFace  # noqa: E402
from PIL import Image  # noqa: E402
from rapidocr_reference import RapidOcrReader  # noqa: E402

from ml_target.catalogue.networks import ARCFACE_R50, SCRFD_2_5G, TINYCLIP  # noqa: E402
from ml_target.catalogue.types import Network, PictureInput  # noqa: E402
from ml_target.tasks.clip.tokenizer import open_tokenizer  # noqa: E402
from ml_target.tensors import Float32, UInt8  # noqa: E402

THREADS = 2
"""Threads of an inference: the official worker's default on a processor."""


class Search:
    """TinyCLIP's towers: the shorter side to size by Pillow's bicubic filter, the middle cut out, 32-bit floats."""

    def __init__(self, folder: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.inter_op_num_threads = 1
        options.intra_op_num_threads = THREADS
        options.log_severity_level = 3

        def session(network: Network) -> Any:
            return onnxruntime.InferenceSession(str(folder / network.onnx[0].name), options)

        spec = TINYCLIP.visual.input
        assert isinstance(spec, PictureInput)
        self._size, self._mean, self._std = spec.height, np.array(spec.mean, np.float32), np.array(spec.std, np.float32)
        self._visual, self._textual = session(TINYCLIP.visual), session(TINYCLIP.textual)
        self._tokenizer = open_tokenizer("clip", [folder / file.name for file in TINYCLIP.vocabulary])
        self._ids = np.int32 if "int32" in self._textual.get_inputs()[0].type else np.int64

    def picture(self, image: Image.Image) -> Float32:
        """The vector of a picture."""
        width, height = image.size
        size = self._size
        scaled = (size, int(height / width * size)) if width < height else (int(width / height * size), size)
        left, top = int(scaled[0] / 2 - size / 2), int(scaled[1] / 2 - size / 2)
        cut = image.resize(scaled, Image.Resampling.BICUBIC).crop((left, top, left + size, top + size))
        pixels = (np.asarray(cut, np.float32) - self._mean) / self._std
        return self._run(self._visual, pixels.transpose(2, 0, 1)[None])

    def text(self, text: str) -> Float32:
        """The vector of a query."""
        return self._run(self._textual, self._tokenizer.encode(text).astype(self._ids)[None])

    def _run(self, session: Any, value: Any) -> Float32:
        [vectors] = session.run(None, {session.get_inputs()[0].name: value})
        vector: Float32 = vectors[0]
        return vector


class UsualWorker:
    """The tasks, each stage a blocking call in the pool."""

    def __init__(self, folder: Path, pool: ThreadPoolExecutor) -> None:
        self._pool = pool
        self._search = Search(folder)
        self._faces = InsightFace(folder / SCRFD_2_5G.onnx[0].name, folder / ARCFACE_R50.onnx[0].name, THREADS)
        self._reader = RapidOcrReader(folder, THREADS)
        self.served: dict[str, int] = {}

    async def _run(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *arguments)

    async def picture(self, entries: dict[str, Any], data: bytes) -> dict[str, Any]:
        """The answer for a picture."""
        image: Image.Image = await self._run(_decode, data)
        parts = await asyncio.gather(*(self._part(task, entries[task], image) for task in entries))
        answer = {key: value for part in parts for key, value in part.items()}
        return {**answer, "imageHeight": image.height, "imageWidth": image.width}

    async def text(self, text: str) -> dict[str, Any]:
        """The answer for a query."""
        return {"clip": _written(await self._run(self._search.text, text))}

    async def _part(self, task: str, entry: dict[str, Any], image: Image.Image) -> dict[str, Any]:
        self.served[task] = self.served.get(task, 0) + 1
        if task == "clip":
            return {task: _written(await self._run(self._search.picture, image))}
        picture = np.asarray(image)
        options = {stage: content.get("options", {}) for stage, content in entry.items()}
        if task == "facial-recognition":
            found = await self._run(self._faces.find, picture, options["detection"].get("minScore", 0.7))
            vectors = await self._run(self._describe, picture, found.landmarks)
            return {task: [_face(*each) for each in zip(found.boxes, found.scores, vectors, strict=True)]}
        # Two stages in the official worker as well; one after the other in one thread is the same work.
        lines = await self._run(
            self._reader.read,
            picture,
            options["recognition"].get("minScore", 0.9),
            options["detection"].get("maxResolution", 736),
        )
        return {
            task: {
                "text": [line.text for line in lines],
                "box": [float(n) for line in lines for n in line.corners.ravel()],
                "boxScore": [line.box_score for line in lines],
                "textScore": [line.text_score for line in lines],
            }
        }

    def _describe(self, picture: UInt8, landmarks: Float32) -> Sequence[Float32]:
        return [self._faces.describe(self._faces.crop(picture, points)) for points in landmarks]


def _decode(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image if image.mode == "RGB" else image.convert("RGB")


def _face(box: Float32, score: float, vector: Float32) -> dict[str, Any]:
    corners = dict(zip(("x1", "y1", "x2", "y2"), (float(round(float(n))) for n in box), strict=True))
    return {"boundingBox": corners, "embedding": _written(vector), "score": float(score)}


def _written(vector: Float32) -> str:
    return orjson.dumps(vector, option=orjson.OPT_SERIALIZE_NUMPY).decode()


def create_app(folder: Path) -> FastAPI:
    """The worker over HTTP, as the official one answers it."""
    app = FastAPI()
    cv2.setNumThreads(0)  # as the official worker
    worker = UsualWorker(folder, ThreadPoolExecutor(os.cpu_count()))

    @app.get("/ping")
    def ping() -> PlainTextResponse:
        return PlainTextResponse("pong")

    @app.get("/served")
    def served() -> dict[str, int]:
        return worker.served

    @app.post("/predict")
    async def predict(
        entries: Annotated[str, Form()],
        image: Annotated[bytes | None, File()] = None,
        text: Annotated[str | None, Form()] = None,
    ) -> Response:
        asked = orjson.loads(entries)
        if image is not None:
            answer = await worker.picture(asked, image)
        elif text:
            answer = await worker.text(text)
        else:
            raise HTTPException(400, "Either image or text must be provided")
        return Response(orjson.dumps(answer), media_type="application/json")

    return app


def main() -> None:
    import uvicorn

    warnings.simplefilter("ignore", FutureWarning)  # scikit-image about what insightface calls
    folder, port = sys.argv[1:]
    uvicorn.run(create_app(Path(folder)), host="127.0.0.1", port=int(port), log_level="error")


if __name__ == "__main__":
    main()
