"""A worker that answers from a table, rightly or wrongly: what tests/test.sh is tried on."""

import json
import math
import random
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

Answer = tuple[int, Any]
WIDTH, HEIGHT = 1920, 1440
FACE_SCORES = (0.88, 0.83, 0.79, 0.75)
LINES = ("HARBOUR MARKET", "Bruno Daphne", "14 September", "honey and cheese", "Call 555-0142")
LINE_SCORES = (0.99, 0.97, 0.95, 0.91, 0.86)


@cache
def vector(seed: str, width: int, length: float = 1.0) -> tuple[float, ...]:
    """Numbers that depend on the seed alone."""
    numbers = [random.Random(f"{seed} {n}").gauss(0, 1) for n in range(width)]
    norm = math.sqrt(sum(n * n for n in numbers))
    return tuple(n / norm * length for n in numbers)


def text_of(numbers: Sequence[float]) -> str:
    """As long as a worker's 32-bit numbers are: test.sh reads them digit by digit."""
    return json.dumps([round(n, 8) for n in numbers], separators=(",", ":"))


@dataclass
class Asked:
    """A request as the table sees it."""

    method: str
    path: str
    entries: Any = None
    image: bytes | None = None
    text: str | None = None

    def model(self, task: str, kind: str) -> dict[str, Any]:
        found: dict[str, Any] = (self.entries.get(task) or {}).get(kind) or {}
        return found


@dataclass
class FakeWorker:
    """Answers as a right worker does. `twist` may then change any answer.

    `off` names the tasks that are off; `width` is the one of the search vectors.
    """

    twist: Callable[[Asked, Answer], Answer] = lambda asked, answer: answer
    off: frozenset[str] = frozenset()
    width: int = 512
    asked: list[Asked] = field(default_factory=list)

    def answer(self, asked: Asked) -> Answer:
        self.asked.append(asked)
        if asked.path != "/predict":
            return self._page(asked)
        if asked.method != "POST":
            return 405, {"detail": "Method Not Allowed"}
        try:
            return self._predict(asked)
        except Refused as refused:
            return refused.status, {"detail": str(refused)}

    def _page(self, asked: Asked) -> Answer:
        labels = ("clip.visual", "clip.textual", "facial-recognition", "ocr")
        tasks = {label: {"on": False, "why": "no file"} if label in self.off else {"on": True} for label in labels}
        pages: dict[str, Any] = {
            "/": {"message": "Immich ML"},
            "/ping": "pong",
            "/status": {"version": "1", "ready": True, "tasks": tasks},
        }
        return (200, pages[asked.path]) if asked.path in pages else (404, {"detail": "Not Found"})

    def _predict(self, asked: Asked) -> Answer:
        entries = check_form(asked.entries)
        if not asked.image and not asked.text and asked.image != b"":
            raise Refused(400, "Either image or text must be provided")
        name = asked.model("clip", "visual").get("modelName") or asked.model("clip", "textual").get("modelName")
        if name and self._width_of(name) != self.width:
            raise Refused(400, "another width")
        for label in wanted(entries):
            if label in self.off:
                raise Refused(503, f"{label} is off")
        if asked.text:
            if wanted(entries) != ["clip.textual"]:
                raise Refused(400, "needs a picture")
            return 200, {"clip": text_of(vector(" ".join(asked.text.split()), self.width))}
        return 200, self._picture(asked, *picture_size(asked.image or b""))

    def _width_of(self, name: str) -> int:
        return {"ViT-B-32__openai": 512, "ViT-B-16-SigLIP__webli": 768}.get(name.rsplit("/", 1)[-1], 1024)

    def _picture(self, asked: Asked, width: int, height: int) -> dict[str, Any]:
        blank = width == 16
        answer: dict[str, Any] = {"imageWidth": width, "imageHeight": height}
        if "clip" in asked.entries:
            answer["clip"] = text_of(vector(f"{width}", self.width))
        if "facial-recognition" in asked.entries:
            least = asked.model("facial-recognition", "detection").get("options", {}).get("minScore", 0.7)
            scores = [] if blank else [score for score in FACE_SCORES if score >= least]
            answer["facial-recognition"] = [face(n, score) for n, score in enumerate(scores)]
        if "ocr" in asked.entries:
            least = asked.model("ocr", "recognition").get("options", {}).get("minScore", 0.9)
            answer["ocr"] = lines(0 if blank else sum(score > least for score in LINE_SCORES))
        return answer


class Refused(Exception):
    """An error answer."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


def check_form(entries: Any) -> dict[str, Any]:
    """Refuses what a worker refuses with 422, and recognition without detection."""
    known = {"clip": {"visual", "textual"}, "facial-recognition": {"detection", "recognition"}}
    known["ocr"] = known["facial-recognition"]
    if not isinstance(entries, dict):
        raise Refused(422, "not an object")
    for task, kinds in entries.items():
        if task not in known or not set(kinds) <= known[task]:
            raise Refused(422, "unknown task or type")
        for model in kinds.values():
            if not isinstance(model, dict) or "modelName" not in model:
                raise Refused(422, "no model")
            if not isinstance(model.get("options", {}).get("minScore", 0), float | int):
                raise Refused(422, "minScore is not a number")
        if task != "clip" and set(kinds) != known[task]:
            raise Refused(400, "recognition without detection")
    return entries


def wanted(entries: dict[str, Any]) -> list[str]:
    """The labels of the tasks asked for."""
    return [f"clip.{kind}" for kind in entries.get("clip", {})] + [task for task in entries if task != "clip"]


def picture_size(data: bytes) -> tuple[int, int]:
    """As far as the pictures go that test.sh sends."""
    if data.startswith(b"\xff\xd8"):
        return WIDTH, HEIGHT
    if not data.startswith(b"\x89PNG"):
        raise Refused(400, "not a picture")
    width, height = struct.unpack(">II", data[16:24])
    if width * height > 1_000_000:
        raise Refused(413, "too many pixels")
    if not data.endswith(b"IEND\xae\x42\x60\x82"):
        raise Refused(400, "cut short")
    return width, height


def face(n: int, score: float) -> dict[str, Any]:
    box = {"x1": 100 + 400 * n, "y1": 300, "x2": 300.0 + 400 * n, "y2": 500}
    return {"boundingBox": box, "embedding": text_of(vector(f"face {n}", 512, 23.0)), "score": score}


def lines(count: int) -> dict[str, Any]:
    tops = [0.1 + 0.15 * n for n in range(count)]
    box = [c for top in tops for c in (0.1, top, 0.9, top, 0.9, top + 0.05, 0.1, top + 0.05)]
    return {"text": list(LINES[:count]), "box": box, "boxScore": [0.8] * count, "textScore": list(LINE_SCORES[:count])}


@contextmanager
def serving(worker: FakeWorker) -> Iterator[str]:
    """Its address, as long as the block runs."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._reply(Asked("GET", self.path))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            parts = dict(form_parts(body, self.headers["Content-Type"].partition("boundary=")[2].encode()))
            try:
                entries = json.loads(parts.get("entries", b""))
            except ValueError:
                entries = None
            text = parts["text"].decode() if "text" in parts else None
            self._reply(Asked("POST", self.path, entries, parts.get("image"), text))

        def _reply(self, asked: Asked) -> None:
            status, content = worker.twist(asked, worker.answer(asked))
            if isinstance(content, float):  # an answer that takes its time
                time.sleep(content)
                content = "pong"
            plain = isinstance(content, str)
            body = content.encode() if plain else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/plain; charset=utf-8" if plain else "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def form_parts(body: bytes, boundary: bytes) -> Iterator[tuple[str, bytes]]:
    """Name and content of each part."""
    for part in body.split(b"--" + boundary)[1:-1]:
        head, _, content = part.partition(b"\r\n\r\n")
        yield head.decode().partition(' name="')[2].partition('"')[0], content.removesuffix(b"\r\n")
