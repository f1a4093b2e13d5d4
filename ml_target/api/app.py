"""HTTP: the endpoints, and the shortest way to the one that Immich asks."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, Response
from fastapi.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from ml_target import __version__
from ml_target.api import openapi
from ml_target.api.figures import add_figures
from ml_target.api.guard import answer_fault
from ml_target.api.page.routes import add_page
from ml_target.api.predict import Predict
from ml_target.runtime.lifecycle import Worker


class Application(FastAPI):
    """FastAPI with a short cut: `POST /predict` goes straight to its answer.

    The framework's layers, routes and dependencies would take a fifth of the processor time of a search query, and
    do nothing for it: `Predict` reads the form itself, and `Guard` answers what fails unexpectedly.
    """

    predict: Predict

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST" and scope["path"] == "/predict":
            response = await self.predict(Request(scope, receive))
            await response(scope, receive, send)
            return
        await super().__call__(scope, receive, send)


def create_app(worker: Worker, on_failure: Callable[[], None] = lambda: None) -> Application:
    """The application around one worker, which it loads at start and closes at the end.

    `app.state.in_flight` holds the requests being served.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        loading = asyncio.create_task(worker.load(on_failure))
        yield
        await loading
        worker.close()

    # FastAPI's own pages about the description load their scripts from elsewhere.
    app = Application(
        title="Immich ML", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None
    )
    openapi.add_description(app)
    app.add_exception_handler(Exception, answer_fault)
    app.predict = Predict(worker)
    app.state.in_flight = app.predict.in_flight

    @app.get("/ping", response_class=PlainTextResponse, responses=openapi.PING)
    async def ping() -> PlainTextResponse:
        if worker.state == "ready":
            return PlainTextResponse("pong")
        return PlainTextResponse(f"{worker.state}: see /status", 503)

    add_figures(app, worker)

    @app.post("/predict", responses=openapi.PREDICT)
    async def post_predict(request: Request) -> Response:
        return await app.predict(request)

    add_page(app, worker, app.predict)
    return app
