"""Run the jobs of a data preparation in several processes.

Worker processes ignore SIGINT and SIGTERM, which terminals, SLURM, systemd and Kubernetes send to
all processes at once: the main process saves and ends. Workers end whenever the main process does.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from itertools import islice
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from typing import TypeVar

from utils.errors import ResourceError
from utils.processor import num_cores

BLOCKED = (signal.SIGINT, signal.SIGTERM)
AHEAD = 2  # jobs queued for each process, so that none is idle

Job = TypeVar("Job")
Outcome = TypeVar("Outcome")


def run_parallel(
    work: Callable[[Job], Outcome], jobs: Iterable[Job], num_processes: int
) -> Generator[tuple[Job, Outcome], None, None]:
    """Yield each job with its outcome, in the order in which they finish.

    Args:
        work: Does a job; an exception ends everything. Function, jobs and outcomes must be
            picklable.
        jobs: Consumed in order, a few at a time.
        num_processes: 0 for one per core; 1 runs the jobs in this process.

    Raises:
        ResourceError: A process was killed.
    """
    num_processes = num_processes or num_cores()
    if num_processes == 1:
        for job in jobs:
            yield job, work(job)
        return
    alive, main_end = multiprocessing.Pipe(duplex=False)
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(num_processes, context, _begin, (alive,))
    remaining = iter(jobs)
    pending: dict[Future[Outcome], Job] = {}
    try:
        while True:
            for job in islice(remaining, AHEAD * num_processes - len(pending)):
                with signals_blocked():  # a process may be started here
                    pending[pool.submit(work, job)] = job
            if not pending:
                return
            for future in wait(pending, return_when=FIRST_COMPLETED).done:
                yield pending.pop(future), future.result()
    except BrokenProcessPool as error:
        main_end.close()
        raise ResourceError(
            "a process that prepares data was killed, perhaps for lack of memory; finished work is "
            "kept: start again, if necessary with a smaller --numProcesses"
        ) from error
    except (KeyboardInterrupt, GeneratorExit):
        main_end.close()  # the outcomes of running jobs are not needed
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        main_end.close()
        alive.close()


@contextmanager
def signals_blocked() -> Iterator[None]:
    """Block SIGINT and SIGTERM while processes are started; they inherit the blocked signals.

    So neither ends a process that is still loading its libraries; `start_worker` does the rest.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows, which does not send them to all processes
        yield
        return
    resource_tracker.ensure_running()  # starting it would unblock them
    before = signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def start_worker(alive: Connection) -> None:
    """Make this process ignore SIGINT and SIGTERM, and end when the main process does.

    Nothing is lost by that, because files get their names only when they are complete.

    Args:
        alive: One end of a pipe. Only the main process has the other end, which it closes to end
            the workers; the system closes it when the main process ends.
    """
    for number in BLOCKED:
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, BLOCKED)
    threading.Thread(target=_end_after, args=(alive,), daemon=True).start()


def _begin(alive: Connection) -> None:
    """Set up a process of `run_parallel` to use one core."""
    import cv2

    cv2.setNumThreads(1)
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # torch reads it on import
    start_worker(alive)


def _end_after(alive: Connection) -> None:
    with suppress(EOFError, OSError):
        alive.recv()
    os._exit(0)  # the outcome is not needed any more
