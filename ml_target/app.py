"""HTTP: the four endpoints, the limits, and the one table from errors to status codes."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, BinaryIO

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from ml_target import __version__
from ml_target.api.body import BoundedBody, drop_rest, too_large
from ml_target.config import Settings
from ml_target.errors import (
    EngineFault,
    MalformedRequest,
    ModelError,
    TooLarge,
    TooSlow,
    Unavailable,
    UnusableInput,
    WorkerError,
)
from ml_target.protocol import Job, encode, parse_entries
from ml_target.requestlog import log_request
from ml_target.runtime.budget import Budget, Share
from ml_target.trace import Trace
from ml_target.worker import Worker

log = logging.getLogger(__name__)

STATUS: dict[type[WorkerError], int] = {
    MalformedRequest: 422,
    UnusableInput: 400,
    TooLarge: 413,
    TooSlow: 408,
    Unavailable: 503,
    EngineFault: 500,
    ModelError: 500,
}
CLIENT_GONE = 499
"""No client reads it; the log line does."""

UPLOADS_IN_MEMORY = 512 * 2**20
"""Bytes of request bodies held at a time. Further bodies wait unread, in the sender's hands."""

BODY_ENDED = "ml_target.body_ended"
"""In the scope of a request: nothing more of its body will come."""

MISSING_ENTRIES = [{"type": "missing", "loc": ["body", "entries"], "msg": "Field required", "input": None}]


class Predict:
    """`POST /predict`: admission, form, deadline, disconnects, answer, log line."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._settings: Settings = worker.settings
        self._bodies = Budget(UPLOADS_IN_MEMORY)
        self._inside = 0

    async def __call__(self, request: Request) -> Response:
        trace = Trace()
        status, body = await self._outcome(request, trace)
        log_request(trace, status, None if status == 200 else body.get("detail"), self._worker.engine_name)
        if status == 200:
            return Response(encode(body), media_type="application/json")
        if status == STATUS[TooLarge] and not request.scope.get(BODY_ENDED):
            await drop_rest(request.receive)
        return JSONResponse(body, status)

    async def _outcome(self, request: Request, trace: Trace) -> tuple[int, dict[str, Any]]:
        self._inside += 1
        try:
            if self._inside > self._settings.max_waiting:
                raise Unavailable(
                    f"{self._settings.max_waiting} requests are waiting already. "
                    "Lower the job concurrency in Immich, or raise MAX_WAITING."
                )
            return 200, await asyncio.wait_for(self._answer(request, trace), self._settings.request_timeout_s)
        except asyncio.TimeoutError:
            words = (
                f"Not answered within {self._settings.request_timeout_s:g} s. Lower the job concurrency in Immich; "
                "REQUEST_TIMEOUT_S is the limit."
            )
            return STATUS[Unavailable], {"detail": words}
        except (_ClientGoneError, ClientDisconnect):
            return CLIENT_GONE, {"detail": "the client has gone"}
        except WorkerError as error:
            status = next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)
            return status, {"detail": MISSING_ENTRIES if isinstance(error, _NoEntriesError) else str(error)}
        except HTTPException as error:  # the form parser's own refusals
            return error.status_code, {"detail": error.detail}
        except Exception:
            log.exception("a request failed for a reason nobody foresaw")
            return 500, {"detail": "Internal error. The worker's log has the details: please report it."}
        finally:
            self._inside -= 1

    async def _answer(self, request: Request, trace: Trace) -> dict[str, Any]:
        async with AsyncExitStack() as held:
            with trace.stage("receive"), self._worker.arriving():
                form = await self._form(request, held)
                jobs, picture, text = await _fields(form)
            trace.tasks = [job.label for job in jobs]
            return await _unless_gone(request, self._run(jobs, picture, text, trace))

    async def _run(self, jobs: list[Job], picture: BinaryIO | None, text: str | None, trace: Trace) -> dict[str, Any]:
        with trace.stage("ready"):
            pipeline = await self._worker.pipeline()
        if picture is not None:
            return await pipeline.picture(jobs, picture, trace)
        assert text is not None
        return await pipeline.text(jobs, text, trace)

    async def _form(self, request: Request, held: AsyncExitStack) -> FormData:
        """The parsed form; `held` keeps it open, and the room its body takes."""
        limit = self._settings.max_upload_mb * 2**20
        header = request.headers.get("content-length", "")
        size = int(header) if header.isdecimal() else limit
        if size > limit:
            raise too_large(limit)

        async def reserve() -> Share:
            return await held.enter_async_context(self._bodies.hold(size))

        _, options = parse_options_header(request.headers.get("content-type"))
        body = BoundedBody(request.receive, limit, options.get(b"boundary"), reserve)
        try:
            form = await Request(request.scope, body.receive).form()
        except (HTTPException, MultiPartException) as error:
            raise body.problem or error from error
        finally:
            request.scope[BODY_ENDED] = body.ended
        held.push_async_callback(form.close)
        return form


async def _fields(form: FormData) -> tuple[list[Job], BinaryIO | None, str | None]:
    """The jobs, and the picture or the text they are for."""
    for name in ("entries", "image", "text"):
        if len(form.getlist(name)) > 1:
            raise MalformedRequest(f"The form has more than one field '{name}'. Send one.")
    entries = await _text(form.get("entries"))
    if entries is None:
        raise _NoEntriesError
    jobs = parse_entries(entries)
    image = form.get("image")
    if isinstance(image, UploadFile):
        return jobs, image.file, None
    if image:
        raise MalformedRequest("image is a text field. Send it as a file part with a filename.")
    text = await _text(form.get("text"))
    if not text:
        raise UnusableInput("Either image or text must be provided.")
    return jobs, None, text


async def _text(field: UploadFile | str | None) -> str | None:
    return (await field.read()).decode("utf-8", "replace") if isinstance(field, UploadFile) else field


class _NoEntriesError(MalformedRequest):
    """The form holds no `entries` field."""


class _ClientGoneError(Exception):
    """The client closed the connection before it had its answer."""


async def _unless_gone(request: Request, work: Awaitable[dict[str, Any]]) -> dict[str, Any]:
    """`work`, dropped as soon as the client hangs up."""

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    running = asyncio.ensure_future(work)
    watching = asyncio.ensure_future(gone())
    try:
        await asyncio.wait({running, watching}, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            return running.result()
        raise _ClientGoneError
    finally:
        for task in (running, watching):
            task.cancel()
        await asyncio.gather(running, watching, return_exceptions=True)


def create_app(worker: Worker, on_failure: Callable[[], None] = lambda: None) -> FastAPI:
    """The application around one worker, which it loads at start and closes at the end."""
    # Bodies stay in memory, where their budget bounds them: a container's file system may be read-only.
    MultiPartParser.spool_max_size = worker.settings.max_upload_mb * 2**20

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        loading = asyncio.create_task(worker.load(on_failure))
        yield
        await loading
        worker.close()

    app = FastAPI(
        title="Immich ML", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None
    )
    predict = Predict(worker)

    @app.get("/")
    async def root() -> dict[str, str]:
        return {"message": "Immich ML"}

    @app.get("/ping")
    async def ping() -> PlainTextResponse:
        if worker.state == "ready":
            return PlainTextResponse("pong")
        return PlainTextResponse(f"{worker.state}: see /status", 503)

    @app.get("/status")
    async def status() -> JSONResponse:
        return JSONResponse({**worker.status(), "devices": await worker.devices()})

    @app.post("/predict")
    async def post_predict(request: Request) -> Response:
        return await predict(request)

    return app
