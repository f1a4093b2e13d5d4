"""`/` and `/status` for browsers and programs, `/status/page` with what only the page shows, and `/try`."""

from collections.abc import Awaitable, Callable

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse

from ml_target.api import openapi
from ml_target.api.page.asked import prefers_html
from ml_target.api.page.document import build
from ml_target.api.timing import server_timing
from ml_target.log.trace import Trace
from ml_target.runtime.lifecycle import Worker

SHOWN = "ml_target.shown"
"""Key in the scope of a request: its answer is drawn for people, with what Immich's format has no place for."""

BY_ACCEPT = {"Vary": "Accept"}
OFF = "Trying photos on the page is off. TRY_IT=on turns it on."


def add_page(app: FastAPI, worker: Worker, answer: Callable[[Request], Awaitable[Response]]) -> None:
    """`answer`: to a form like that of `/predict`; with what is drawn besides where `SHOWN` is in the scope."""
    document = build()

    @app.head("/", include_in_schema=False)
    @app.get("/", responses=openapi.BANNER)
    async def root(request: Request) -> Response:
        if prefers_html(request.headers.get("accept", "")):
            # Relative, so that it is right behind a proxy that serves the worker below a path.
            return RedirectResponse("status", 302, BY_ACCEPT)
        return JSONResponse({"message": "Immich ML"}, headers=BY_ACCEPT)

    @app.head("/status", include_in_schema=False)
    @app.get("/status", responses=openapi.STATUS)
    async def status(request: Request) -> Response:
        if not prefers_html(request.headers.get("accept", "")):
            return JSONResponse({**worker.status(), "devices": await worker.devices()}, headers=BY_ACCEPT)
        headers = {**document.headers, **BY_ACCEPT}
        if request.headers.get("if-none-match") == document.headers["ETag"]:
            return Response(status_code=304, headers=headers)
        return Response(document.html, media_type="text/html", headers=headers)

    @app.get("/status/page", responses=openapi.PAGE)
    async def page() -> JSONResponse:
        return JSONResponse(await worker.overview())

    @app.post("/try", responses=openapi.TRY)
    async def try_it(request: Request) -> Response:
        if worker.settings.try_it == "off":
            return JSONResponse({"detail": OFF}, 403, server_timing(Trace()))
        request.scope[SHOWN] = True
        return await answer(request)
