"""Jobs are done in other processes just as in this one; a process that dies is said."""

import os
import signal
from collections.abc import Iterator

import pytest

from utils.datasets.processes import AHEAD, do_all


def square(number: int) -> tuple[int, int]:
    """Return the square and who worked it out; -1 kills the process, -2 is an error."""
    if number == -1:
        os.kill(os.getpid(), signal.SIGKILL)
    if number == -2:
        raise ValueError("no square")
    return number * number, os.getpid()


def test_all_is_done_once_in_other_processes() -> None:
    here = dict(do_all(square, range(7), 1))
    there = dict(do_all(square, range(7), 2))
    assert {job: found for job, (found, _) in here.items()} == {i: i * i for i in range(7)}
    assert {job: found for job, (found, _) in there.items()} == {i: i * i for i in range(7)}
    assert {pid for _, pid in here.values()} == {os.getpid()}
    assert os.getpid() not in {pid for _, pid in there.values()}
    assert list(do_all(square, [], 2)) == []


def test_a_killed_process_and_an_error_end_it() -> None:
    with pytest.raises(RuntimeError, match=r"was killed.* smaller --numProcesses"):
        list(do_all(square, [-1, 2, 3], 2))
    with pytest.raises(ValueError, match="no square"):
        list(do_all(square, [1, -2], 2))


def test_jobs_are_taken_only_a_few_ahead() -> None:
    taken = []

    def jobs() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    done = do_all(square, jobs(), 2)
    next(done)
    assert len(taken) == 2 * AHEAD
    done.close()
