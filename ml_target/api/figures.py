"""`GET /status/live`: what the worker did lately, as data."""

import orjson
from fastapi import FastAPI, Response

from ml_target.runtime.lifecycle import Worker

FRESH = {"Cache-Control": "no-store"}


def add_figures(app: FastAPI, worker: Worker) -> None:
    """Adds the routes. What they tell is put together on the event loop's thread, which alone takes it down."""

    @app.get("/status/live")
    async def status_live() -> Response:
        return Response(orjson.dumps(worker.live()), media_type="application/json", headers=FRESH)
