"""A worker on a real port, with services that need no weights."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import httpx
import numpy as np

from ml_target.api.serve import build_server, listen
from ml_target.catalogue.networks import CLIP_BACKENDS
from ml_target.config import Settings
from ml_target.errors import Unavailable
from ml_target.log.trace import Trace
from ml_target.runtime.lifecycle import Worker
from ml_target.runtime.registry import Services
from ml_target.tasks.faces.finder import Face
from ml_target.tasks.ocr.reader import Line, ReadOptions
from ml_target.tasks.service import Service
from ml_target.tensors import Float32, UInt8


class FakeTasks:
    """Answers derived from the input alone, so that a mix-up shows. `delay`: seconds an answer takes."""

    enough = steps = None
    """Of `PictureEncoder`: it wants the whole picture."""

    def __init__(self, delay: float = 0.0, width: int = 512) -> None:
        self.delay = delay
        self.width = width
        self.running = 0
        self.most_running = 0
        self.finished = 0
        self.cancelled = 0
        self.options: list[ReadOptions] = []
        self.fail_with: Exception | None = None

    async def _work(self) -> None:
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            await asyncio.sleep(self.delay)
            if self.fail_with is not None:
                raise self.fail_with
            self.finished += 1
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1

    async def embed(self, content: Any, trace: Trace) -> Float32:
        with trace.stage("clip.infer"):
            await self._work()
        data = " ".join(content.split()).encode() if isinstance(content, str) else content.tobytes()
        vector = np.random.default_rng(list(data[:200])).normal(size=self.width)
        unit: Float32 = (vector / np.linalg.norm(vector)).astype(np.float32)
        return unit

    async def find(self, picture: UInt8, min_score: float, trace: Trace) -> list[Face]:
        await self._work()
        height, width = picture.shape[:2]
        faces = [
            Face(
                (-3.5, 2.5, width / 2, height / 3),
                score,
                np.zeros((5, 2), np.float32),
                np.full(512, score, np.float32),
            )
            for score in (0.9, 0.7, 0.4)
        ]
        found = [face for face in faces if face.score >= min_score] if picture.any() else []
        trace.count("faces", len(found))
        return found

    async def read(self, picture: UInt8, options: ReadOptions, trace: Trace) -> list[Line]:
        await self._work()
        self.options.append(options)
        corners = np.array([[0.1, 0.2], [0.5, 0.2], [0.5, 0.3], [0.1, 0.3]], np.float32)
        lines = [Line("HELLO", corners, 0.8, 0.97), Line("wörld", corners + 0.3, 0.7, 0.85)]
        kept = [
            line
            for line in lines
            if line.box_score >= options.min_box_score and line.text_score > options.min_text_score
        ]
        return kept if picture.any() else []


def fake_services(tasks: FakeTasks, *, off: tuple[str, ...] = (), backend: str = "tinyclip") -> Services:
    """Services that all answer from `tasks`; those named in `off` are off."""

    def service(name: str, variant: str = "") -> Service[Any]:
        if name in off:
            return Service(name, never=Unavailable("no such file", "Put it into the models folder."), variant=variant)
        return Service(name, cast(Any, tasks), variant=variant)

    backends = list(CLIP_BACKENDS) if backend == "auto" else [backend]
    return Services(
        {
            "clip": [service(name, each) for each in backends for name in ("clip.visual", "clip.textual")],
            "facial-recognition": [service("facial-recognition")],
            "ocr": [service("ocr")],
        }
    )


@contextmanager
def live(
    load: Callable[[Worker], Services] | None = None, settings: Settings | None = None
) -> Iterator[tuple[httpx.Client, Worker]]:
    """A worker on a free port of this machine, and a client for it."""
    listener = listen("127.0.0.1", 0)
    worker = Worker(settings or Settings(engine="cpu"), load)
    server = build_server(worker)
    thread = threading.Thread(target=lambda: server.run(sockets=[listener]), daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        with httpx.Client(base_url=url, timeout=60, verify=False) as client:
            deadline = time.monotonic() + 60
            while not server.started and thread.is_alive() and time.monotonic() < deadline:
                time.sleep(0.01)
            yield client, worker
    finally:
        server.should_exit = True
        thread.join(30)
        listener.close()
