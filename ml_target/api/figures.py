"""`GET /status/live` and `GET /metrics`: what the worker did, for its page and for Prometheus."""

import asyncio
from typing import TYPE_CHECKING

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.responses import PlainTextResponse

from ml_target.api.openapi import LIVE, METRICS
from ml_target.runtime.lifecycle import Worker

if TYPE_CHECKING:
    from ml_target.figures.metrics import Exporter

FRESH = {"Cache-Control": "no-store"}


def add_figures(app: FastAPI, worker: Worker) -> None:
    """Adds the routes. Both read on the event loop's thread, the only one that takes figures down."""
    exporter: Exporter | None = None

    @app.get("/status/live", responses=LIVE)
    async def status_live() -> Response:
        return Response(orjson.dumps(worker.live()), media_type="application/json", headers=FRESH)

    @app.get("/metrics", response_class=PlainTextResponse, responses=METRICS)
    async def metrics(request: Request) -> Response:
        nonlocal exporter
        if exporter is None:
            exporter = await asyncio.to_thread(_exporter, worker)
        text, media_type = exporter.text(worker.present(await worker.devices()), request.headers.get("accept", ""))
        return Response(text, media_type=media_type, headers=FRESH)


def _exporter(worker: Worker) -> "Exporter":
    """Imports the library: in a thread, as it takes a moment."""
    from ml_target.figures.metrics import Exporter

    return Exporter(worker.recorder)
