"""One worker on this machine: videos are analysed one after the other."""

from collections.abc import Iterator
from types import TracebackType
from typing import Protocol

from utils.batch.attempts import Attempts
from utils.batch.work import LoadedWorker, Outcome, VideoJob, Work
from utils.batch.worker import Setting, Worker


class Engine(Protocol):
    """Runs jobs in workers. A context; workers end with it."""

    def __enter__(self) -> "Engine":
        """Begin."""
        ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End all workers."""
        ...

    def start(self) -> LoadedWorker:
        """Start workers; return what the first of them has loaded."""
        ...

    def outcomes(self, attempts: Attempts) -> Iterator[tuple[VideoJob, Outcome]]:
        """Yield each job with its final outcome as soon as that is known."""
        ...


class SerialEngine:
    """The engine of a single machine."""

    def __init__(self, work: Work, setting: Setting) -> None:
        """Prepare a worker."""
        self._worker = Worker(work, setting)

    def __enter__(self) -> "SerialEngine":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._worker.stop()

    def start(self) -> LoadedWorker:
        """Start the worker; return what it has loaded."""
        return self._worker.start()

    def outcomes(self, attempts: Attempts) -> Iterator[tuple[VideoJob, Outcome]]:
        """Yield each job with its final outcome as soon as that is known."""
        while (job := attempts.next()) is not None:
            outcome = self._worker.run(job)
            if attempts.settle(job, outcome):
                yield job, outcome
