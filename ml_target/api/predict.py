"""`POST /predict`: from a request to its answer, and the one table from errors to status codes."""

from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any, BinaryIO

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from ml_target.api.body import Body, announced_size
from ml_target.api.connections import LOST
from ml_target.api.form import Form, read_form
from ml_target.api.guard import fault
from ml_target.api.identity import id_of
from ml_target.api.inflight import ClientGoneError, InFlight
from ml_target.api.memory import forget
from ml_target.api.page.asked import refuse_other_sites
from ml_target.api.page.routes import SHOWN
from ml_target.api.timing import server_timing
from ml_target.api.uploads import Uploads
from ml_target.config import Settings
from ml_target.errors import (
    AnotherSite,
    EngineFault,
    MalformedRequest,
    ModelError,
    Reason,
    TooLarge,
    TooSlow,
    Unavailable,
    UnusableInput,
    WorkerError,
)
from ml_target.log.private import without_addresses, without_logins
from ml_target.log.requests import log_request
from ml_target.log.trace import Trace
from ml_target.runtime.lifecycle import Worker
from ml_target.runtime.protocol import encode, parse_entries
from ml_target.tasks.contract import Job

STATUS: dict[type[WorkerError], int] = {
    MalformedRequest: 422,
    UnusableInput: 400,
    AnotherSite: 403,
    TooLarge: 413,
    TooSlow: 408,
    Unavailable: 503,
    EngineFault: 500,
    ModelError: 500,
}
CLIENT_GONE = 499
"""Only the log shows it: no client is left to read it."""

MISSING_ENTRIES = [{"type": "missing", "loc": ["body", "entries"], "msg": "Field required", "input": None}]


class Predict:
    """`POST /predict`: admission, form, deadline, disconnects, answer, log line."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._settings: Settings = worker.settings
        self._uploads = Uploads(worker.memory.uploads)
        self.in_flight = InFlight(worker.settings.max_waiting, worker.settings.request_timeout_s)

    async def __call__(self, request: Request) -> Response:
        trace = Trace(id_of(request.scope))
        status, body, reason = await self._outcome(request, trace)
        self._worker.recorder.request(trace, status, reason)
        log_request(trace, status, None if status == 200 else body.get("detail"), self._worker.engine_name)
        if status == 200:
            return Response(encode(body), media_type="application/json", headers=server_timing(trace))
        # The connection drops the rest of a refused body for a while: else the sender sees a broken pipe and no answer.
        return JSONResponse(body, status, headers=server_timing(trace))

    async def _outcome(self, request: Request, trace: Trace) -> tuple[int, dict[str, Any], Reason | None]:
        """Status, body, and why it is not the answer."""
        try:
            refuse_other_sites(request.headers, self._settings.page_hosts)
            lost = request.scope.get(LOST)
            return 200, await self.in_flight.run(self._answer(request, trace), lost), None
        except (ClientGoneError, ClientDisconnect) as error:
            forget(error)
            return CLIENT_GONE, {"detail": "the client has gone"}, "client_gone"
        except WorkerError as error:
            status = next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)
            words = without_addresses(without_logins(str(error)))
            forget(error)
            return status, {"detail": MISSING_ENTRIES if isinstance(error, _NoEntriesError) else words}, error.kind
        except Exception as error:
            status, words = fault(error, trace.id)
            return status, {"detail": words}, "no_memory" if status == 503 else "internal"

    async def _answer(self, request: Request, trace: Trace) -> dict[str, Any]:
        async with AsyncExitStack() as held:
            with trace.stage("receive"), self._worker.arriving():
                form = await self._form(request, held, trace)
                jobs, picture, text = _jobs_and_input(form)
                if SHOWN in request.scope:
                    jobs = [replace(job, shown=True) for job in jobs]
            trace.tasks = {job.service: job.task.short for job in jobs}
            trace.pictured = picture is not None
            return await self._run(jobs, picture, text, trace)

    async def _run(self, jobs: list[Job], picture: BinaryIO | None, text: str | None, trace: Trace) -> dict[str, Any]:
        async with AsyncExitStack() as serving:
            with trace.stage("load"):
                pipeline = await serving.enter_async_context(self._worker.pipeline())
            if picture is not None:
                return await pipeline.picture(jobs, picture, trace)
            assert text is not None
            return await pipeline.text(jobs, text, trace)

    async def _form(self, request: Request, held: AsyncExitStack, trace: Trace) -> Form:
        """The form; `held` keeps the memory reserved for its body."""
        limit = self._settings.max_upload_mb * 2**20
        share = await held.enter_async_context(self._uploads.body(announced_size(request.headers.raw, limit)))
        body = Body(request.receive, limit, share)
        try:
            return await read_form(body.pieces(), request.headers.get("content-type", ""))
        finally:
            trace.bytes = body.seen


def _jobs_and_input(form: Form) -> tuple[list[Job], BinaryIO | None, str | None]:
    """The jobs, and the picture or the text they are for."""
    if form.entries is None:
        raise _NoEntriesError("The form has no field entries.")
    jobs = parse_entries(form.entries)
    if form.image is not None:
        return jobs, form.image, None
    if not form.text:
        raise UnusableInput("Either image or text must be provided.")
    return jobs, None, form.text


class _NoEntriesError(MalformedRequest):
    """The form holds no `entries` field."""
