"""Do the pieces of a long job in several processes, for all that prepares data."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import TypeVar

AHEAD = 2  # jobs taken for each process, so that none waits for the next

Job = TypeVar("Job")
Outcome = TypeVar("Outcome")


def num_cores() -> int:
    """Return how many cores this process may use, which on a cluster are not all."""
    if hasattr(os, "sched_getaffinity"):  # not every system has it
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


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
        RuntimeError: A process was killed.
    """
    num_processes = num_processes or num_cores()
    if num_processes == 1:
        for job in jobs:
            yield job, work(job)
        return
    pool = ProcessPoolExecutor(num_processes, multiprocessing.get_context("spawn"), _begin)
    coming = iter(jobs)
    pending: dict[Future[Outcome], Job] = {}
    try:
        while True:
            for job in islice(coming, AHEAD * num_processes - len(pending)):
                pending[pool.submit(work, job)] = job
            if not pending:
                return
            for future in wait(pending, return_when=FIRST_COMPLETED).done:
                yield pending.pop(future), future.result()
    except BrokenProcessPool as error:
        raise RuntimeError(
            "a process that prepared data was killed, perhaps for want of memory; what was done is "
            "kept: start again, with a smaller --numProcesses if need be"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _begin() -> None:
    """Set up a process: it uses one core, and ends at once on Ctrl-C or with its parent.

    Nothing is lost by that, because files get their names only when they are whole.
    """
    import cv2

    cv2.setNumThreads(1)
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # for torch, which reads it when it is loaded
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)  # a killed parent leaves nobody who would ask for what is done here
