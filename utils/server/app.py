"""The local page: its addresses, and the server that answers them."""

import asyncio
import json
import logging
import re
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import (
    FileResponse,
    HTMLResponse,
    JSONResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Route

from utils.commands import is_user_error, one_line
from utils.errors import UserError
from utils.output.write_outputs import PROXY
from utils.report.page import NAME as REPORT
from utils.report.page import PAGE as REPORT_PAGE
from utils.report.page_video import MIME
from utils.server.jobs import JobStore, ServedJob, file_of
from utils.server.report_page import report_policy, served_report
from utils.server.runner import Runner, save_edits

logger = logging.getLogger(__name__)

PAGE = Path(__file__).parent / "page"
STATIC = {
    "server.css": PAGE / "server.css",
    "server.js": PAGE / "server.js",
    "report.css": REPORT_PAGE / "report.css",
}
# Files of the results folder that may be fetched; no other name is looked for.
DOWNLOADS = (
    *("result.json", "edits.json", "scores.csv", "speech.csv", "speech.rttm", "speech.vtt"),
    *("people.csv", "timeline.png", "analysis.log"),
)
MAX_EDITS = 16 * 2**20  # bytes of edits.json
MAX_THRESHOLD = 20.0
LOOK_S = 0.3  # between two looks at the jobs
ALIVE_S = 15.0  # a comment is sent so often, so that lost connections are noticed


@dataclass(frozen=True)
class LocalPage:
    """The answers of the local page."""

    store: JobStore
    runner: Runner
    models: Sequence[str]  # that may be chosen
    max_bytes: int  # of an upload
    saving: asyncio.Lock  # one edits.json at a time

    def routes(self) -> list[Route]:
        """Return all addresses."""
        answers: list[tuple[str, str, Callable[[Request], Awaitable[Response]]]] = [
            ("GET", "/", self.index),
            ("GET", "/static/{name}", self.static),
            ("GET", "/settings", self.settings),
            ("GET", "/jobs", self.jobs),
            ("GET", "/events", self.events),
            ("PUT", "/videos", self.upload),
            ("POST", "/jobs/{id}/cancel", self.cancel),
            ("POST", "/jobs/{id}/again", self.again),
            ("DELETE", "/jobs/{id}", self.delete),
            ("PUT", "/jobs/{id}/edits", self.edits),
            ("GET", "/jobs/{id}/results/{name}", self.results),
            ("GET", "/jobs/{id}/{name}", self.video),
        ]
        return [Route(path, answer, methods=[method]) for method, path, answer in answers]

    async def index(self, _request: Request) -> Response:
        """Return the page."""
        return FileResponse(PAGE / "index.html")

    async def static(self, request: Request) -> Response:
        """Return a file that the page uses."""
        path = STATIC.get(request.path_params["name"])
        if path is None:
            raise HTTPException(404)
        return FileResponse(path)

    async def settings(self, _request: Request) -> Response:
        """Return what the page offers."""
        return JSONResponse({"models": list(self.models), "max_bytes": self.max_bytes})

    async def jobs(self, _request: Request) -> Response:
        """Return all jobs."""
        return JSONResponse(await run_in_threadpool(self.store.snapshot))

    async def events(self, _request: Request) -> Response:
        """Return all jobs now and whenever they change, as server-sent events."""
        return StreamingResponse(self._changes(), media_type="text/event-stream")

    async def _changes(self) -> AsyncIterator[str]:
        shown, silent_s = "", 0.0
        while not self.runner.stopping.is_set():
            now = json.dumps(await run_in_threadpool(self.store.snapshot))
            if now != shown:
                yield f"data: {now}\n\n"
                shown, silent_s = now, 0.0
            elif silent_s > ALIVE_S:
                yield ": alive\n\n"
                silent_s = 0.0
            await asyncio.sleep(LOOK_S)
            silent_s += LOOK_S

    async def upload(self, request: Request) -> Response:
        """Write a video to disk as it arrives, then add its job."""
        query = request.query_params
        name, model = query.get("name", "video"), query.get("model", "auto")
        threshold = self._checked(model, query.get("threshold", "0"))
        if _length(request) > self.max_bytes:
            raise self._too_large()
        folder = self.store.new_folder()
        try:
            await self._receive(request, folder / file_of(name))
            job = await run_in_threadpool(self.store.add, folder, name, model, threshold)
        except (HTTPException, OSError, ClientDisconnect, asyncio.CancelledError):
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return JSONResponse({"id": job.id}, 201)

    async def _receive(self, request: Request, path: Path) -> None:
        done = 0
        with path.open("wb") as file:
            async for chunk in request.stream():
                done += len(chunk)
                if done > self.max_bytes:
                    raise self._too_large()
                await run_in_threadpool(file.write, chunk)
        if not done:
            raise HTTPException(400, "the file is empty")

    def _too_large(self) -> HTTPException:
        limit = f"{self.max_bytes / 1e9:g} GB"
        return HTTPException(413, f"the file is larger than {limit} (--maxUpload)")

    def _checked(self, model: object, threshold: object) -> float:
        """Check the settings of a job; return the threshold."""
        if model not in self.models:
            raise HTTPException(400, f"expected one of {', '.join(self.models)} as model")
        try:
            value = float(threshold) if isinstance(threshold, str | int | float) else MAX_THRESHOLD
        except ValueError:
            value = MAX_THRESHOLD
        if not abs(value) < MAX_THRESHOLD:
            raise HTTPException(400, f"expected a threshold between ±{MAX_THRESHOLD:g}")
        return value

    async def cancel(self, request: Request) -> Response:
        """Cancel a job."""
        await run_in_threadpool(self.runner.cancel, self._job(request))
        return Response(status_code=204)

    async def again(self, request: Request) -> Response:
        """Add a job on the video of another."""
        job = self._job(request)
        wanted = json.loads(await _body(request, 1000) or b"{}")
        if not isinstance(wanted, dict):
            raise HTTPException(400, "expected a model and a threshold")
        model = wanted.get("model", job.model)
        threshold = self._checked(model, wanted.get("threshold", job.threshold))
        new = await run_in_threadpool(self.store.again, job, model, threshold)
        return JSONResponse({"id": new.id}, 201)

    async def delete(self, request: Request) -> Response:
        """Delete a job and all its files."""
        job = self._job(request)
        await run_in_threadpool(self.runner.cancel, job)
        await run_in_threadpool(self.store.delete, job)
        return Response(status_code=204)

    async def edits(self, request: Request) -> Response:
        """Save the corrections of a finished job."""
        job = self._done(request)
        content = await _body(request, MAX_EDITS)
        folders = self.store.results_of(job), self.store.video_of(job)
        async with self.saving:
            facts = await run_in_threadpool(save_edits, *folders, content)
            await run_in_threadpool(lambda: self.store.change(job.id, **facts))
        return Response(status_code=204)

    async def results(self, request: Request) -> Response:
        """Return a file of the results of a job."""
        name = request.path_params["name"]
        job = self._done(request) if name in (REPORT, PROXY) else self._job(request)
        path = self.store.results_of(job) / name
        if name not in (REPORT, PROXY, *DOWNLOADS) or not path.is_file():
            raise HTTPException(404)
        if name == REPORT:
            text = await run_in_threadpool(served_report, path)
            return HTMLResponse(text, headers={"Content-Security-Policy": report_policy()})
        return FileResponse(path)

    async def video(self, request: Request) -> Response:
        """Return the video of a job, or the range of it that is asked for."""
        job = self._job(request)
        if request.path_params["name"] != job.file:
            raise HTTPException(404)
        path = self.store.video_of(job)
        return FileResponse(path, media_type=MIME.get(path.suffix, "application/octet-stream"))

    def _job(self, request: Request) -> ServedJob:
        job = self.store.get(request.path_params["id"])
        if job is None:
            raise HTTPException(404, "there is no such job; it may have been deleted")
        return job

    def _done(self, request: Request) -> ServedJob:
        job = self._job(request)
        if job.state != "done":
            raise HTTPException(409, "the job is not done")
        return job


def _length(request: Request) -> int:
    """Return the length that a request claims; 0 if it does not."""
    length = request.headers.get("content-length", "0")
    return int(length) if re.fullmatch(r"\d{1,18}", length) else 0


async def _body(request: Request, limit: int) -> bytes:
    """Return a small body."""
    parts, done = [], 0
    async for chunk in request.stream():
        done += len(chunk)
        if done > limit:
            raise HTTPException(413, "the request is too large")
        parts.append(chunk)
    return b"".join(parts)


async def _say_wrong(_request: Request, error: Exception) -> Response:
    return JSONResponse({"error": one_line(error)}, 400)


async def _say_disk(_request: Request, error: Exception) -> Response:
    if not is_user_error(error):
        raise error
    logger.error("error: %s", one_line(error))
    assert isinstance(error, OSError)
    return JSONResponse({"error": error.strerror or str(error)}, 507)


async def _say_gone(_request: Request, _error: Exception) -> Response:
    return Response(status_code=400)  # nobody reads it: the upload was cancelled


async def _say_http(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code)


def make_app(store: JobStore, runner: Runner, models: Sequence[str], max_bytes: int) -> Starlette:
    """Return the application, without its guard."""

    @asynccontextmanager
    async def running(_app: Starlette) -> AsyncIterator[None]:
        runner.start()
        yield
        await run_in_threadpool(runner.stop)

    handlers: dict[Any, Any] = {
        UserError: _say_wrong,
        json.JSONDecodeError: _say_wrong,
        OSError: _say_disk,
        HTTPException: _say_http,
        ClientDisconnect: _say_gone,
    }
    page = LocalPage(store, runner, models, max_bytes, asyncio.Lock())
    return Starlette(routes=page.routes(), lifespan=running, exception_handlers=handlers)
