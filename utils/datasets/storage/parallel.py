"""Do the pieces of a long job in several processes, for all that prepares data.

Worker processes leave SIGINT and SIGTERM to the main process, which saves and ends: a terminal, and
SLURM, systemd and Kubernetes, send them to all at once. Workers end with the main process, however
that ends.
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

HELD = (signal.SIGINT, signal.SIGTERM)
AHEAD = 2  # jobs taken for each process, so that none waits for the next

Job = TypeVar("Job")
Outcome = TypeVar("Outcome")


def do_all(
    work: Callable[[Job], Outcome], jobs: Iterable[Job], num_processes: int
) -> Generator[tuple[Job, Outcome], None, None]:
    """Yield each job with what became of it, as they end.

    Args:
        work: Does a job; what it raises ends everything. A function of a module, and jobs that
            can be pickled: both go to other processes.
        jobs: Taken a few at a time, in order.
        num_processes: 0 is one for each core; 1 works in this very process.

    Raises:
        ResourceError: A process was killed.
    """
    num_processes = num_processes or num_cores()
    if num_processes == 1:
        for job in jobs:
            yield job, work(job)
        return
    alive, line = multiprocessing.Pipe(duplex=False)
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(num_processes, context, _begin, (alive,))
    coming = iter(jobs)
    pending: dict[Future[Outcome], Job] = {}
    try:
        while True:
            for job in islice(coming, AHEAD * num_processes - len(pending)):
                with signals_held():  # a process may be started here
                    pending[pool.submit(work, job)] = job
            if not pending:
                return
            for future in wait(pending, return_when=FIRST_COMPLETED).done:
                yield pending.pop(future), future.result()
    except BrokenProcessPool as error:
        line.close()
        raise ResourceError(
            "a process that prepared data was killed, perhaps for want of memory; what was done is "
            "kept: start again, with a smaller --numProcesses if need be"
        ) from error
    except (KeyboardInterrupt, GeneratorExit):
        line.close()  # nobody waits for the jobs at hand
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        line.close()
        alive.close()


@contextmanager
def signals_held() -> Iterator[None]:
    """Hold SIGINT and SIGTERM back while processes are started, which inherit that they are.

    So neither ends a process that is still loading its libraries; `begin_worker` does the rest.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows, where nobody sends them to all processes
        yield
        return
    resource_tracker.ensure_running()  # starting it would let them through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HELD)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def begin_worker(alive: Connection) -> None:
    """Let this process ignore SIGINT and SIGTERM, and end when the main process does.

    Nothing is lost by that, because files get their names only when they are whole.

    Args:
        alive: An end of a pipe whose other end the main process alone has; it closes that to end
            the workers at once, and so does the system when the main process has ended.
    """
    for number in HELD:
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD)
    threading.Thread(target=_end_after, args=(alive,), daemon=True).start()


def _begin(alive: Connection) -> None:
    """Set up a process of `do_all`, which uses one core."""
    import cv2

    cv2.setNumThreads(1)
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # for torch, which reads it when it is loaded
    begin_worker(alive)


def _end_after(alive: Connection) -> None:
    with suppress(EOFError, OSError):
        alive.recv()
    os._exit(0)  # nobody asks any more for what is done here
