"""A worker: a process with loaded models that does jobs one by one, and can be killed."""

import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from utils.batch.work import LoadedWorker, Outcome, VideoJob, Work
from utils.errors import ResourceError
from utils.processor import LIMIT

ROOT = Path(__file__).parents[2]
CODE = (
    f"import sys; sys.path.insert(0, {str(ROOT)!r}); "
    "from utils.batch.worker_process import main; main()"
)
LEAST_S = 600.0  # time limit of a short video
TIMES_LENGTH = 20  # time limit of a long one
# A file that claims to be longer than its size allows is not believed: fewer bytes a second than
# sound alone takes.
LEAST_RATE = 1000.0
UNKILLABLE_S = 10.0  # a process that has not ended so long after it was killed is left alone
STARTS = 3  # then a worker that dies while it loads the models is given up


@dataclass(frozen=True)
class Setting:
    """Where and how worker processes run; the same on every machine."""

    threads: int = 0  # 0 leaves it to the libraries
    folder: str = field(default_factory=os.getcwd)  # what relative paths of options refer to
    environment: Mapping[str, str] = field(default_factory=dict)  # added to that of the machine


def time_limit(job: VideoJob, length_s: float, num_bytes: int) -> float:
    """Return how long a job may take, s.

    Args:
        job: May set the limit itself.
        length_s: What the file says of its length.
        num_bytes: Size of the file.
    """
    believed_s = min(length_s, num_bytes / LEAST_RATE)
    return job.timeout_s or max(LEAST_S, TIMES_LENGTH * believed_s)


def check_same(first: LoadedWorker, other: LoadedWorker) -> None:
    """Raise ResourceError unless two workers have loaded the same models.

    Otherwise the results of one run would come from different networks, where one machine lacks
    weights or they were replaced meanwhile.
    """
    keys = sorted({*first.identity, *other.identity})
    changed = [key for key in keys if first.identity.get(key) != other.identity.get(key)]
    if changed:
        raise ResourceError(
            f"two workers differ in {', '.join(changed)}: one has {'; '.join(first.lines)}, the "
            f"other {'; '.join(other.lines)}; name models with --model and --detector, and give "
            "all machines the same weights"
        )


class Worker:
    """Starts a process when it is needed, and another one after it died or was killed."""

    def __init__(self, work: Work, setting: Setting) -> None:
        """Prepare a worker; `start` or the first job starts its process."""
        self._work, self._setting = work, setting
        self._process: subprocess.Popen[bytes] | None = None
        self._answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._loaded: LoadedWorker | None = None  # by the first process

    def start(self) -> LoadedWorker:
        """Start a process if none runs, and wait until it has loaded the models.

        Raises:
            ResourceError: They cannot be loaded; the message is that of the process.
        """
        code = 0
        for _ in range(STARTS):
            self.stop()
            self._process = self._begin()
            answer = self._answers.get()
            if isinstance(answer, LoadedWorker):
                return self._same(answer)
            code = self._end()
            if isinstance(answer, Outcome):
                raise ResourceError(answer.error)
        raise ResourceError(
            f"a process that loads the models {_say(code)}, {STARTS} times; use fewer --workers or "
            "a machine with more memory"
        )

    def run(self, job: VideoJob) -> Outcome:
        """Do a job; whatever happens to the process is its outcome.

        Raises:
            ResourceError: A new process was needed, and it cannot load the models.
        """
        if self._process is None:
            self.start()
        assert self._process is not None and self._process.stdin is not None
        begun = time.monotonic()
        with suppress(BrokenPipeError):  # it has died meanwhile
            _send(self._process.stdin, job)
        outcome = self._wait(job, begun)
        if outcome.unexpected:  # memory of it or of the graphics card may be damaged
            self.stop()
        return outcome

    def stop(self) -> None:
        """Kill the process, if one runs."""
        if self._process is not None:
            self._process.kill()
            self._end()

    def kill(self) -> None:
        """Kill the process from another thread than that of `run`, whose outcome says so."""
        process = self._process
        if process is not None:
            process.kill()

    def _same(self, loaded: LoadedWorker) -> LoadedWorker:
        """Return what a process has loaded, which must be what the first one had."""
        self._loaded = self._loaded or loaded
        check_same(self._loaded, loaded)
        return loaded

    def _begin(self) -> "subprocess.Popen[bytes]":
        """Start the process and hand it the work."""
        setting = self._setting
        environment = {**os.environ, **setting.environment}
        if setting.threads:
            environment |= {"OMP_NUM_THREADS": str(setting.threads), LIMIT: str(setting.threads)}
        folder = setting.folder if Path(setting.folder).is_dir() else None
        process = subprocess.Popen(
            [sys.executable, "-c", CODE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            cwd=folder,
            start_new_session=True,  # Ctrl-C is for the process that started it
        )
        assert process.stdin is not None and process.stdout is not None
        self._answers = queue.SimpleQueue()
        arguments = (process.stdout, self._answers)
        threading.Thread(target=_read_answers, args=arguments, daemon=True).start()
        with suppress(BrokenPipeError):  # it died at once
            _send(process.stdin, self._work)
        return process

    def _wait(self, job: VideoJob, begun: float) -> Outcome:
        """Return the outcome of the job that was sent; kill the process after the time limit."""
        limit_s = time_limit(job, 0.0, 0)
        length_s = 0.0
        while True:
            try:
                answer = self._answers.get(timeout=max(0.0, begun + limit_s - time.monotonic()))
            except queue.Empty:
                self.stop()
                return self._broken(f"stopped after {limit_s:.0f} s (--timeout)", begun, length_s)
            if isinstance(answer, Outcome):
                return answer
            if answer is None:
                died = f"the process {_say(self._end())}"
                return self._broken(died, begun, length_s)
            length_s = float(answer)
            with suppress(OSError):
                limit_s = time_limit(job, length_s, job.path.stat().st_size)

    def _broken(self, error: str, begun: float, length_s: float) -> Outcome:
        """Return the outcome of a job whose process has ended."""
        return Outcome(error=error, seconds=round(time.monotonic() - begun, 3), video_s=length_s)

    def _end(self) -> int:
        """Wait for the process to end; return its exit status, negative for a signal."""
        process, self._process = self._process, None
        assert process is not None and process.stdin is not None
        try:
            code = process.wait(UNKILLABLE_S)
        except subprocess.TimeoutExpired:  # it hangs in the system, on a file that is gone
            code = -signal.SIGKILL
        with suppress(BrokenPipeError):  # what was not sent yet
            process.stdin.close()
        return code


def _send(pipe: IO[bytes], message: object) -> None:
    pickle.dump(message, pipe)
    pipe.flush()


def _read_answers(pipe: IO[bytes], answers: "queue.SimpleQueue[Any]") -> None:
    """Pass on what a process sends; None once it has ended."""
    with pipe:
        while True:
            try:
                answers.put(pickle.load(pipe))
            except (EOFError, OSError, pickle.UnpicklingError):
                answers.put(None)
                return


def _say(code: int) -> str:
    """Return how a process ended."""
    if code >= 0:
        return f"ended with status {code}"
    with suppress(ValueError):
        name = signal.Signals(-code).name
        hint = ", perhaps for lack of memory" if name == "SIGKILL" else ""
        return f"was killed by {name}{hint}"
    return f"was killed by signal {-code}"
