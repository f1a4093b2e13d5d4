"""Tasks that do their work on the host for real (resize, letterbox, tiles, crops) and leave out the networks.

Run as a program it is a whole worker with them, for measuring what pictures do to it: settings from the environment.
"""

import sys
from typing import Any

import numpy as np
from serving import FakeTasks, fake_services

from ml_target.api import serve
from ml_target.catalogue.networks import OCR_CLASSES
from ml_target.config import Settings
from ml_target.log.requests import set_up
from ml_target.log.trace import Trace
from ml_target.runtime.lifecycle import Worker
from ml_target.runtime.registry import Services
from ml_target.scheduling.threads import ThreadPool
from ml_target.tasks.clip.resize import squash
from ml_target.tasks.faces.align import align
from ml_target.tasks.faces.finder import Face
from ml_target.tasks.faces.letterbox import letterbox
from ml_target.tasks.ocr.crop import cut_line
from ml_target.tasks.ocr.read import CHUNK
from ml_target.tasks.ocr.reader import Line, ReadOptions
from ml_target.tasks.ocr.tiles import plan, tiles
from ml_target.tensors import Float32, UInt8

NETWORK_S = 0.02
"""What a network takes, on a card."""


class HostTasks(FakeTasks):
    """Answers from nothing; memory and processor time are those of real requests."""

    def __init__(self, host: ThreadPool) -> None:
        super().__init__(delay=NETWORK_S)
        self._host = host

    async def embed(self, content: Any, trace: Trace) -> Float32:
        frame = content if isinstance(content, str) else await self._host.run(squash, content, 224)
        return await super().embed(frame, trace)

    async def find(self, picture: UInt8, min_score: float, trace: Trace) -> list[Face]:
        await self._host.run(letterbox, picture, 640, 640)
        await self._work()
        await self._host.run(align, picture, np.array([[[30, 40], [70, 40], [50, 60], [35, 80], [65, 80]]], np.float32))
        return []

    async def read(self, picture: UInt8, options: ReadOptions, trace: Trace) -> list[Line]:
        tiling = plan(picture.shape[0], picture.shape[1], (544, 960), options.max_resolution, 16)
        frames = await self._host.run(tiles, picture, tiling, "BGR")
        await self._work()
        del frames
        await self._host.run(self._lines, picture)
        return []

    def _lines(self, picture: UInt8) -> None:
        high, wide = picture.shape[:2]
        corners = np.array([(0, 5), (wide / 2, 0), (wide / 2, high / 9), (0, high / 9 + 5)], np.float32)
        cut_line(picture, corners, 48, 320, "BGR")
        np.zeros((CHUNK // 8, OCR_CLASSES), np.float32).fill(0.5)


def with_host_tasks(settings: Settings) -> Worker:
    def load(worker: Worker) -> Services:
        return fake_services(HostTasks(worker.pool))

    return Worker(settings, load)


def main() -> int:
    settings = Settings.from_environment()
    set_up(settings.log_level)
    setattr(serve, "Worker", with_host_tasks)  # noqa: B010 - it is no name that the module gives away
    return serve.serve(settings)


if __name__ == "__main__":
    sys.exit(main())
