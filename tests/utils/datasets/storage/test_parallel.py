"""Jobs run in worker processes: results, errors, killed processes and signals."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.programs import ROOT
from utils.datasets.storage.parallel import AHEAD, run_parallel
from utils.errors import ResourceError


def square(number: int) -> tuple[int, int]:
    """Return the square and the process's id; -1 kills the process, -2 raises an error."""
    if number == -1:
        os.kill(os.getpid(), signal.SIGKILL)
    if number == -2:
        raise ValueError("no square")
    return number * number, os.getpid()


def test_each_job_is_done_once() -> None:
    here = dict(run_parallel(square, range(7), 1))
    results = dict(run_parallel(square, range(7), 2))
    assert {job: found for job, (found, _) in here.items()} == {i: i * i for i in range(7)}
    assert {job: found for job, (found, _) in results.items()} == {i: i * i for i in range(7)}
    assert {pid for _, pid in here.values()} == {os.getpid()}
    assert os.getpid() not in {pid for _, pid in results.values()}
    assert list(run_parallel(square, [], 2)) == []


def test_killed_process_and_error() -> None:
    with pytest.raises(ResourceError, match=r"was killed.* smaller --numProcesses"):
        list(run_parallel(square, [-1, 2, 3], 2))
    with pytest.raises(ValueError, match="no square"):
        list(run_parallel(square, [1, -2], 2))


def test_jobs_are_consumed_lazily() -> None:
    taken = []

    def jobs() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    done = run_parallel(square, jobs(), 2)
    next(done)
    assert len(taken) == 2 * AHEAD
    done.close()


def test_error_keeps_the_worker_traceback() -> None:
    with pytest.raises(ValueError, match="no square") as raised:
        list(run_parallel(square, [-2], 2))
    assert "in square" in str(raised.value.__cause__)


MAIN = """
import os, sys, time
from utils.datasets.storage.parallel import run_parallel
from utils.datasets.loading.workers import BatchReader
from utils.errors import ResourceError

class Maker:
    def make(self, number):
        with open(sys.argv[2], "a") as file:
            file.write(f"{os.getpid()}\\n")
        time.sleep(0 if number < 2 else 600)
        return number

if __name__ == "__main__":
    if sys.argv[1] == "pool":
        found = (number for _, number in run_parallel(Maker().make, range(4), 2))
    else:
        found = BatchReader(Maker(), 2).batches(range(4))
    print("starting", flush=True)
    for number in found:
        print(number, flush=True)
"""


@pytest.fixture(params=["pool", "reading"])
def main_process(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Start a process with two workers in a new group; yield it and the file of their ids."""
    script, told = tmp_path / "main.py", tmp_path / "ids"
    script.write_text(MAIN)
    with subprocess.Popen(
        [sys.executable, script, request.param, told],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process, told
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def wait_until(done: Callable[[], bool]) -> None:
    """Wait until a condition holds, at most one minute."""
    for _ in range(600):
        if done():
            return
        time.sleep(0.1)
    raise AssertionError("it never happened")


def runs(pid: int) -> bool:
    """Return whether a process is running; zombies are not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals to groups are POSIX")
def test_workers_ignore_signals_to_all_and_end_with_their_parent(
    main_process: tuple[subprocess.Popen[str], Path],
) -> None:
    process, told = main_process
    assert process.stdout is not None

    def ids() -> list[int]:
        return [int(line) for line in told.read_text().split()] if told.exists() else []

    assert sorted(process.stdout.readline() for _ in range(3)) == ["0\n", "1\n", "starting\n"]
    wait_until(lambda: len(ids()) == 4)  # two jobs are done, two are running
    workers = set(ids()[2:])
    for worker in workers:
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(worker, number)
    time.sleep(0.5)
    assert all(map(runs, workers)) and process.poll() is None
    process.kill()
    wait_until(lambda: not any(map(runs, workers)))


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals to groups are POSIX")
def test_ctrl_c_does_not_wait_for_jobs(main_process: tuple[subprocess.Popen[str], Path]) -> None:
    process, told = main_process
    wait_until(lambda: told.exists() and len(told.read_text().split()) == 4)
    os.killpg(process.pid, signal.SIGINT)
    wait_until(lambda: process.poll() is not None)
