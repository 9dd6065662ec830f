"""Runs the jobs of the local page one after the other, in a worker process of their own."""

import json
import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from utils.batch.work import VideoJob
from utils.batch.worker import Setting, Worker
from utils.demo_options import DemoOptions
from utils.errors import ResourceError
from utils.files import replacing
from utils.media.container import ReadOptions, VideoInfo, probe
from utils.media.video import VideoSpan
from utils.output.results import Result
from utils.output.write_outputs import ImageOutputs, write_tables
from utils.report.corrections import apply_edits
from utils.report.edits import Edits, fingerprint
from utils.report.options import ReportOptions
from utils.report.outputs import Found, write_outputs
from utils.report.page import write_report
from utils.report.page_video import choose_page_video
from utils.server.jobs import PROGRESS, JobStore, ServedJob, read_job

logger = logging.getLogger(__name__)

EDITS, RESULT = "edits.json", "result.json"
PROGRESS_S = 0.25  # between two reports of progress
TRIES = 2  # of a job whose process was killed
REPORT = ReportOptions(proxy=True)

Watch = Callable[[float, int], None]  # time reached, s; faces so far


class Analyse(Protocol):
    """The analysis of one video."""

    def __call__(
        self,
        video: VideoInfo,
        models: Any,  # noqa: ANN401
        options: DemoOptions,
        watch: Watch,
    ) -> Found:
        """Find the speakers of a video; `watch` is told how far it is."""
        ...


@dataclass
class ProgressFile:
    """Writes how far a job is."""

    path: Path
    length_s: float
    _written_s: float = 0.0

    def tell(self, stage: str, time_s: float, num_faces: int, now: bool = True) -> None:
        """Write progress.json, which need not survive a power failure."""
        if not now and time.monotonic() < self._written_s + PROGRESS_S:
            return
        self._written_s = time.monotonic()
        parts = {"stage": stage, "time_s": round(time_s, 2), "length_s": round(self.length_s, 2)}
        temporary = self.path.with_suffix(".part")
        with suppress(OSError):  # a full disk fails the job where its results are written
            temporary.write_text(json.dumps({**parts, "num_faces": num_faces}), encoding="ascii")
            temporary.replace(self.path)


@dataclass(frozen=True)
class ServedWork:
    """What the worker process does; the functions are those of a command, pickled by name."""

    options: DemoOptions
    load_models: Callable[[DemoOptions], Any]
    analyse: Analyse

    @property
    def outputs(self) -> tuple[str, ...]:
        """Files that a finished job has."""
        return (RESULT, "report.html")

    def load(self) -> object:
        """Load the models."""
        return self.load_models(self.options)

    def describe(self, models: Any) -> tuple[dict[str, Any], tuple[str, ...]]:  # noqa: ANN401
        """Return which network was loaded, and why."""
        record = models.network_record
        return {"network": record.name, "sha256": record.sha256}, (record.reason,)

    def open(self, path: Path) -> tuple[VideoInfo, float]:
        """Return a video and its length, s."""
        video = probe(path)
        return video, video.duration_s

    def run(self, job: VideoJob, video: VideoInfo, models: object) -> tuple[str, ...]:
        """Analyse a video, unless its result is there; write tables and report; return warnings."""
        served = read_job(job.folder.parent)
        progress = ProgressFile(job.folder.parent / PROGRESS, video.duration_s)
        if (job.folder / RESULT).is_file():
            result, span = Result.read_json(job.folder / RESULT), VideoSpan(video, ReadOptions())
        else:
            progress.tell("finding speakers", 0.0, 0)

            def watch(time_s: float, num_faces: int) -> None:
                progress.tell("finding speakers", time_s, num_faces, now=False)

            found = self.analyse(video, models, self.options, watch)
            # The results name the video as the user does.
            result = replace(found.result, video=replace(found.result.video, path=served.name))
            assert found.span is not None
            span = found.span
            result.write_json(job.folder / RESULT)
        progress.tell("writing the results", video.duration_s, len(result.tracks))
        edits = read_edits(job.folder)
        if edits is None and served.threshold:
            edits = Edits(threshold=served.threshold, result=fingerprint(result))
            edits.write_json(job.folder / EDITS)
        write_outputs(Found(result, span, (), edits), job.folder, ImageOutputs(video=False), REPORT)
        return tuple(result.warnings)


def read_edits(results: Path) -> Edits | None:
    """Return the saved corrections of a job; None if there are none."""
    path = results / EDITS
    return Edits.read_json(path) if path.is_file() else None


def save_edits(results: Path, video: Path, content: bytes) -> dict[str, Any]:
    """Save corrections and write the tables and the report with them; return the new facts.

    Raises:
        UserError: They are no edits, or those of another result.
    """
    result = Result.read_json(results / RESULT)
    with replacing(results / EDITS) as temporary:
        temporary.write_bytes(content)
        edits = Edits.read_json(temporary)
        edits.check(result, results / EDITS)
    write_tables(apply_edits(result, edits), results)
    span = VideoSpan(probe(video), ReadOptions())
    write_report(result, results, choose_page_video(span, results, False, REPORT), edits)
    return facts_of(results)


def facts_of(results: Path) -> dict[str, Any]:
    """Return what the list says of a finished job."""
    result, edits = Result.read_json(results / RESULT), read_edits(results)
    result = result if edits is None else apply_edits(result, edits)
    speech = [part for part in result.segments if part.kind == "speech"]
    return {
        "duration_s": round(result.video.duration_s, 3),
        "num_people": len(result.people or result.tracks),
        "speaking_s": round(sum(part.stop_s - part.start_s for part in speech), 2),
    }


class Runner:
    """A thread that takes waiting jobs, the oldest first, and gives them to the worker."""

    def __init__(self, store: JobStore, work: ServedWork) -> None:
        """Prepare the thread; `start` starts it."""
        self._store, self._work = store, work
        self._worker: Worker | None = None
        self._model = ""  # that the worker has loaded
        self._current = ""  # id of the job in the worker; guarded by the store's lock
        self._stopped = False
        self.stopping = threading.Event()  # set when the server begins to stop
        self._thread = threading.Thread(target=self._loop, daemon=True, name="jobs")

    def start(self) -> None:
        """Begin with the oldest waiting job."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the running job, which waits again, and the worker."""
        with self._store.changed:
            self._stopped = True
            self._store.changed.notify_all()
            self._kill()
        self._thread.join(timeout=20)

    def cancel(self, job: ServedJob) -> None:
        """Cancel a waiting or running job."""
        with self._store.changed:
            now = self._store.get(job.id)
            if now is not None and not now.finished:
                self._store.change(job.id, state="cancelled", error="")
                if self._current == job.id:
                    self._kill()

    def _kill(self) -> None:
        if self._current and self._worker is not None:
            self._worker.kill()

    def _loop(self) -> None:
        while True:
            with self._store.changed:
                waiting = [job for job in self._store.jobs() if job.state == "waiting"]
                if self._stopped:
                    break
                if not waiting:
                    self._store.changed.wait()
                    continue
                job = self._store.change(
                    waiting[0].id, state="running", attempt=waiting[0].attempt + 1, error=""
                )
            if job is not None:
                self._do(job)
        if self._worker is not None:
            self._worker.stop()

    def _do(self, job: ServedJob) -> None:
        """Run a job; whatever becomes of it is its state."""
        progress = ProgressFile(self._store.folder_of(job) / PROGRESS, 0.0)
        progress.tell("loading the models", 0.0, 0)
        try:
            worker = self._worker_for(job.model)
        except ResourceError as error:
            self._end(job, state="failed", error=str(error))
            return
        with self._store.changed:
            now = self._store.get(job.id)
            if self._stopped or now is None or now.state != "running":
                self._end(job, state="waiting", attempt=job.attempt - 1)
                return
            self._current = job.id
        results = self._store.results_of(job)
        outcome = worker.run(VideoJob(self._store.video_of(job), results, attempt=job.attempt))
        with self._store.changed:
            self._current = ""
        broken = bool(outcome.error) and not outcome.worker  # the process has ended
        if broken or outcome.unexpected:
            self._worker = None
        if not outcome.error:
            self._end(job, state="done", **facts_of(results))
        elif self._stopped:
            self._end(job, state="waiting", attempt=job.attempt - 1)
        elif broken and job.attempt < TRIES:
            logger.warning("%s: %s; it is tried again", job.name, outcome.error)
            self._end(job, state="waiting")
        else:
            message = outcome.error.replace(str(self._store.video_of(job)), job.name)
            self._end(job, state="failed", error=message)

    def _end(self, job: ServedJob, **values: Any) -> None:  # noqa: ANN401
        """Change a job that was running, unless it was cancelled or deleted meanwhile."""
        with self._store.changed:
            now = self._store.get(job.id)
            if now is not None and now.state == "running":
                self._store.change(job.id, **values)

    def _worker_for(self, model: str) -> Worker:
        """Return a worker that has loaded a model."""
        if self._worker is not None and self._model == model:
            return self._worker
        if self._worker is not None:
            self._worker.stop()
        self._worker = None
        options = self._work.options
        options = replace(options, model=replace(options.model, model=model))
        worker = Worker(replace(self._work, options=options), Setting())
        worker.start()
        self._worker, self._model = worker, model
        return worker
