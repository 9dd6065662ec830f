"""The jobs of the local page on disk: a folder for each, named by a random id.

It holds job.json, the video, progress.json while the job runs, and the folder results/.
"""

import json
import logging
import os
import re
import secrets
import shutil
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from utils.files import replacing

logger = logging.getLogger(__name__)

State = Literal["waiting", "running", "done", "failed", "cancelled"]
JOB, PROGRESS, RESULTS = "job.json", "progress.json", "results"
MAX_NAME = 200  # characters of a name that is shown
SUFFIX = re.compile(r"\.[a-z0-9]{1,5}")


@dataclass(frozen=True)
class ServedJob:
    """A video and what is to be done with it, or was."""

    id: str
    name: str  # what the user calls the video; shown, never a path
    file: str  # of the video in the job's folder
    num_bytes: int
    created_s: float  # since 1970
    model: str = "auto"
    threshold: float = 0.0
    state: State = "waiting"
    attempt: int = 0
    error: str = ""
    duration_s: float | None = None  # of the video, once it is analysed
    num_people: int | None = None
    speaking_s: float | None = None

    @property
    def finished(self) -> bool:
        """Whether nothing more happens by itself."""
        return self.state not in ("waiting", "running")


def clean_name(name: str) -> str:
    """Return the last part of a file name on one line and of bounded length."""
    last = re.split(r"[/\\]", name)[-1]
    return "".join(one for one in last if one.isprintable())[-MAX_NAME:].strip() or "video"


def file_of(name: str) -> str:
    """Return the file name for a video: nothing but a harmless suffix is kept of the name."""
    suffix = Path(clean_name(name)).suffix.lower()
    return "video" + (suffix if SUFFIX.fullmatch(suffix) and suffix != ".json" else ".bin")


def read_job(folder: Path) -> ServedJob:
    """Read job.json; unknown keys are ignored.

    Raises:
        ValueError: It is damaged.
        OSError: It cannot be read.
    """
    content = json.loads((folder / JOB).read_text(encoding="utf-8"))
    known = {field.name for field in fields(ServedJob)}
    try:
        job = ServedJob(**{name: value for name, value in content.items() if name in known})
        damaged = job.id != folder.name or job.file != file_of(job.file)
    except (AttributeError, TypeError) as error:
        raise ValueError(f"{folder / JOB}: {error}") from error
    if damaged:
        raise ValueError(f"{folder / JOB} describes another job")
    return job


class JobStore:
    """All jobs, in order of their creation; every change is on disk before it is seen."""

    def __init__(self, folder: Path) -> None:
        """Read the jobs of a folder; those that ran when the server ended wait again.

        Args:
            folder: Held by one server alone; folders of incomplete uploads in it are removed.
        """
        self.folder = folder
        self.changed = threading.Condition()  # also guards the jobs
        self._jobs: dict[str, ServedJob] = {}
        for place in sorted(folder.iterdir()):
            if not (place.is_dir() and re.fullmatch("[0-9a-f]{16}", place.name)):
                continue
            if not (place / JOB).is_file():
                shutil.rmtree(place, ignore_errors=True)
                continue
            try:
                job = read_job(place)
            except (OSError, ValueError) as error:
                logger.warning("%s is left out: %s", place, error)
                continue
            state: State = "waiting" if job.state == "running" else job.state
            self._jobs[job.id] = replace(job, state=state)

    def folder_of(self, job: ServedJob) -> Path:
        """Return the folder of a job."""
        return self.folder / job.id

    def video_of(self, job: ServedJob) -> Path:
        """Return the video of a job."""
        return self.folder / job.id / job.file

    def results_of(self, job: ServedJob) -> Path:
        """Return the folder of a job's results."""
        return self.folder / job.id / RESULTS

    def jobs(self) -> list[ServedJob]:
        """Return all jobs, the oldest first."""
        with self.changed:
            return sorted(self._jobs.values(), key=lambda job: (job.created_s, job.id))

    def get(self, job_id: str) -> ServedJob | None:
        """Return a job; None if there is none with this id."""
        with self.changed:
            return self._jobs.get(job_id)

    def new_folder(self) -> Path:
        """Make the folder of a job that is to come."""
        folder = self.folder / secrets.token_hex(8)
        folder.mkdir()
        return folder

    def add(self, folder: Path, name: str, model: str, threshold: float) -> ServedJob:
        """Add a job whose video lies in its new folder."""
        file = file_of(name)
        size = (folder / file).stat().st_size
        job = ServedJob(folder.name, clean_name(name), file, size, time.time(), model, threshold)
        with self.changed:
            self._write(job)
            self._jobs[job.id] = job
            self.changed.notify_all()
        return job

    def again(self, job: ServedJob, model: str, threshold: float) -> ServedJob:
        """Add a job on the same video; with the same model, it uses the result of the other."""
        folder = self.new_folder()
        try:
            _link(self.video_of(job), folder / job.file)
            if job.state == "done" and job.model == model:
                (folder / RESULTS).mkdir()
                _link(self.results_of(job) / "result.json", folder / RESULTS / "result.json")
            return self.add(folder, job.name, model, threshold)
        except OSError:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def change(self, job_id: str, **values: Any) -> ServedJob | None:  # noqa: ANN401
        """Change a job; None if it was deleted meanwhile."""
        with self.changed:
            job = self._jobs.get(job_id)
            if job is None:
                return None
            job = self._jobs[job_id] = replace(job, **values)
            try:
                self._write(job)
            except OSError as error:  # a full disk: the page still shows what happened
                logger.warning("job %s could not be saved: %s", job_id, error)
            self.changed.notify_all()
            return job

    def delete(self, job: ServedJob) -> None:
        """Delete a job with all its files."""
        with self.changed:
            self._jobs.pop(job.id, None)
            (self.folder_of(job) / JOB).unlink(missing_ok=True)
            self.changed.notify_all()
        shutil.rmtree(self.folder_of(job), ignore_errors=True)

    def snapshot(self) -> list[Mapping[str, Any]]:
        """Return what the page knows of all jobs, the newest first."""
        shown: list[Mapping[str, Any]] = []
        for job in reversed(self.jobs()):
            progress: object = None
            if job.state == "running":
                with suppress(OSError, ValueError):  # nothing was written yet
                    progress = json.loads((self.folder_of(job) / PROGRESS).read_text("ascii"))
            shown.append({**asdict(job), "progress": progress})
        return shown

    def _write(self, job: ServedJob) -> None:
        with replacing(self.folder_of(job) / JOB) as temporary:
            temporary.write_text(json.dumps(asdict(job), indent=1) + "\n", encoding="utf-8")


def _link(source: Path, copy: Path) -> None:
    """Give a file a second name; copy it if the file system has no links."""
    try:
        os.link(source, copy)
    except OSError:
        shutil.copyfile(source, copy)
