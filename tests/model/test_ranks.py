"""Processes wait for long work without a limit; collectives keep their time-out."""

from pathlib import Path

import pytest

from model.ranks import Ranks
from tests.programs import ROOT, run_python

SCRIPT = """
import sys, time
from datetime import timedelta
from pathlib import Path
sys.path[:0] = [{root!r}]
import torch
from model.ranks import joined
from utils.errors import ResourceError, UserError

def work():
    time.sleep(6)
    Path(sys.argv[2]).write_text("prepared")

def fail():
    raise UserError("no such table")

try:
    with joined("cpu", timedelta(seconds=2)) as ranks:
        if sys.argv[1] == "fail":
            ranks.after_first(fail)
        if sys.argv[1] == "work":
            ranks.after_first(work)
            report = [Path(sys.argv[2]).read_text()]
            time.sleep(5 * ranks.rank)
            report += [ranks.gather(ranks.rank), ranks.add(torch.tensor(ranks.rank + 1)).item()]
            time.sleep(5 * (1 - ranks.rank))
        if sys.argv[1] == "collective":
            time.sleep(6 * ranks.rank)
            ranks.add(torch.tensor(1))
        report += [ranks.rank]
except (UserError, ResourceError) as error:
    report = [type(error).__name__, str(error)]
sys.stdout.write(f"{{report}}\\n")  # at once: two processes share the stream
"""


def run(folder: Path, how: str) -> tuple[int, list[str]]:
    """Run two processes; return the exit status and what they print."""
    script = folder / "script.py"
    script.write_text(SCRIPT.format(root=str(ROOT)))
    done = run_python(script, how, folder / "made", processes=2)
    return done.returncode, sorted(done.stdout.splitlines())


@pytest.mark.slow
def test_long_work_is_waited_for(tmp_path: Path) -> None:
    """Three times, each longer than the time-out of the group: preparing, gathering, leaving."""
    found = ["['prepared', [0, 1], 3, 0]", "['prepared', [0, 1], 3, 1]"]
    assert run(tmp_path, "work") == (0, found)


@pytest.mark.slow
def test_the_time_out_of_collectives_stays(tmp_path: Path) -> None:
    status, printed = run(tmp_path, "collective")
    assert (status, printed) == (1, [])


@pytest.mark.slow
def test_the_others_learn_that_one_failed(tmp_path: Path) -> None:
    others = "['ResourceError', 'process 0 failed; its own message says why']"
    assert run(tmp_path, "fail") == (0, [others, "['UserError', 'no such table']"])


def test_one_process_works_at_once() -> None:
    done: list[int] = []
    ranks = Ranks()
    ranks.after_first(lambda: done.append(1))
    ranks.wait_for_all()
    assert done == [1] and ranks.gather("a") == ["a"]
