"""The process that analyses videos: it loads the models once and does one job after the other.

It reads pickled jobs from its standard input and writes pickled answers to what was its standard
output; both are pipes of the process that started it. While a job is done, everything that is
printed goes to the log of its video.
"""

import contextlib
import logging
import os
import pickle
import platform
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO, Any

from utils.batch.records import RECORD, SourceVersion, write_record
from utils.batch.work import LoadedWorker, Outcome, VideoJob, Work
from utils.commands import ErrorReport
from utils.files import check_folder
from utils.processor import release_memory

LOG = "analysis.log"  # in the results folder of each video
PACKAGES = ("torch", "numpy", "av", "opencv-python", "ray")

Answer = Callable[[object], None]


@contextlib.contextmanager
def logged_to(path: Path) -> Iterator[None]:
    """Send what this process prints to the end of a file, native libraries included."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(2)
    with path.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(kept, 1)
        os.dup2(kept, 2)
        os.close(kept)


def do_job(job: VideoJob, work: Work, models: object, identity: Any, tell: Answer) -> Outcome:  # noqa: ANN401
    """Do a job and record it; errors become part of the outcome.

    Args:
        job: The video.
        work: How it is analysed.
        models: What `work` loaded.
        identity: What results depend on beside the video.
        tell: Given the length of the video, s, once it is known.
    """
    begun = time.monotonic()
    warnings: tuple[str, ...] = ()
    length_s = 0.0
    report = ErrorReport(subject=job.path.name, debug=True)
    with report:
        check_folder(job.folder)
        with logged_to(job.folder / LOG), report:
            now = time.strftime("%Y-%m-%d %H:%M:%S")
            print(f"--- {now}, {worker_name()}, try {job.attempt}: {job.path}", flush=True)
            source = SourceVersion.of(job.path)
            if not job.finished:
                (job.folder / RECORD).unlink(missing_ok=True)
            video, length_s = work.open(job.path)
            tell(length_s)
            warnings = work.run(job, video, models)
            write_record(job.folder, source, identity, work.outputs)
    release_memory()
    return Outcome(
        error=report.line,
        seconds=round(time.monotonic() - begun, 3),
        video_s=round(length_s, 3),
        warnings=warnings,
        worker=worker_name(),
        memory_mb=_memory_mb(),
        unexpected=report.unexpected,
    )


def worker_name() -> str:
    """Return host and process."""
    return f"{platform.node()}:{os.getpid()}"


def find_versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that results depend on."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _memory_mb() -> float:
    """Return the memory that this process holds; 0 if the system tells not."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return 0.0
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 1)


def _receive(pipe: IO[bytes], jobs: "queue.SimpleQueue[Any]") -> None:
    """Pass on what arrives; end this process, whatever it does, with the one that started it."""
    while True:
        try:
            jobs.put(pickle.load(pipe))
        except (EOFError, OSError, pickle.UnpicklingError):
            os._exit(0)  # files get their names only when they are complete: nothing is lost


def _limit_threads() -> None:
    """Let OpenCV use as many threads as torch, which reads the variable itself."""
    threads = os.environ.get("OMP_NUM_THREADS", "")
    if threads.isdecimal():
        import cv2

        cv2.setNumThreads(int(threads))


def main() -> None:
    """Load the models and do jobs until the standard input ends."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)

    def tell(message: object) -> None:
        pickle.dump(message, answers)
        answers.flush()

    jobs: queue.SimpleQueue[Any] = queue.SimpleQueue()
    work: Work = pickle.load(requests)
    threading.Thread(target=_receive, args=(requests, jobs), daemon=True).start()
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    _limit_threads()
    report = ErrorReport(debug=False)
    with report:
        models = work.load()
        identity, lines = work.describe(models)
        tell(LoadedWorker(identity, lines, find_versions()))
    if report.failed:
        tell(Outcome(error=report.line))
        return
    logging.getLogger().setLevel(logging.INFO)
    while True:
        tell(do_job(jobs.get(), work, models, identity, tell))
