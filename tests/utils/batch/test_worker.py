"""A worker does jobs; what hangs, crashes or fails costs only itself."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.made_batch import MadeWork
from tests.programs import ROOT
from utils.batch.attempts import Attempts
from utils.batch.records import RECORD
from utils.batch.work import LoadedWorker, Outcome, VideoJob
from utils.batch.worker import Setting, Worker, check_same, time_limit
from utils.errors import ResourceError


def job(tmp_path: Path, text: str, timeout_s: float = 0.0, attempt: int = 1) -> VideoJob:
    path = tmp_path / f"{text.split(maxsplit=1)[0]}.mp4"
    path.write_text(text)
    return VideoJob(path, tmp_path / path.stem, timeout_s, attempt)


def test_jobs_and_their_logs(tmp_path: Path) -> None:
    worker = Worker(MadeWork(), Setting())
    first = worker.run(job(tmp_path, "fine 12"))
    second = worker.run(job(tmp_path, "silent 3"))
    assert (first.error, first.video_s, first.warnings) == ("", 12.0, ())
    assert second.warnings == ("silent",)
    assert first.worker == second.worker  # the models were loaded once
    assert (tmp_path / "fine/result.json").read_text() == "fine 12 a no weights result.json"
    assert (tmp_path / "fine" / RECORD).exists()
    header, line = (tmp_path / "fine/analysis.log").read_text().splitlines()
    assert header.endswith(f"try 1: {tmp_path / 'fine.mp4'}") and line == "printed: fine"
    worker.stop()


@pytest.mark.parametrize(
    ("text", "error", "same"),
    [
        ("corrupt", "no video", True),
        ("fault", "unexpected ZeroDivisionError: a fault of the program", False),
        ("crash", "the process was killed by SIGSEGV", False),
        ("hang", "stopped after 1 s (--timeout)", False),
    ],
    ids=["corrupt", "fault", "crash", "hang"],
)
def test_what_fails_costs_only_itself(tmp_path: Path, text: str, error: str, same: bool) -> None:
    worker = Worker(MadeWork(), Setting())
    before = worker.run(job(tmp_path, "fine"))
    failed = worker.run(job(tmp_path, text, timeout_s=1.0))
    after = worker.run(job(tmp_path, "slow"))
    assert failed.error.endswith(error)
    assert not before.error and not after.error
    assert (before.worker == after.worker) is same
    assert "printed: " + text in (tmp_path / text / "analysis.log").read_text()
    assert not (tmp_path / text / "result.json").exists()
    worker.stop()


def test_no_such_file(tmp_path: Path) -> None:
    worker = Worker(MadeWork(), Setting())
    outcome = worker.run(VideoJob(tmp_path / "gone.mp4", tmp_path / "gone"))
    assert outcome.error == f"{tmp_path / 'gone.mp4'}: No such file or directory"
    worker.stop()


def test_threads_and_folder_are_those_of_the_setting(tmp_path: Path) -> None:
    weights = tmp_path / "code.py"
    weights.write_text("x")
    worker = Worker(MadeWork(weights=Path("code.py")), Setting(3, str(tmp_path), {"A": "b"}))
    assert worker.start().identity["weights"] == "x"
    worker.stop()


def test_weights_that_cannot_be_loaded(tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    worker = Worker(MadeWork(weights=weights), Setting())
    for text, message in (("bad", "the weights cannot be had"), ("die", "SIGKILL.*, 3 times")):
        weights.write_text(text)
        with pytest.raises(ResourceError, match=message):
            worker.start()


def test_weights_that_change_meanwhile(tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    weights.write_text("one")
    worker = Worker(MadeWork(weights=weights), Setting())
    assert not worker.run(job(tmp_path, "fine")).error
    weights.write_text("two")
    assert "SIGSEGV" in worker.run(job(tmp_path, "crash")).error
    with pytest.raises(ResourceError, match="differ in weights: one has network: one"):
        worker.run(job(tmp_path, "fine"))
    worker.stop()


def test_same_models() -> None:
    first = LoadedWorker({"model": "a", "cuts": None}, ("network: a",), {})
    check_same(first, LoadedWorker({"model": "a", "cuts": None}, ("because",), {"torch": "1"}))
    with pytest.raises(ResourceError, match=r"differ in cuts, model: .*name models with"):
        check_same(first, LoadedWorker({"model": "b", "cuts": "c"}, ("network: b",), {}))


def test_a_worker_ends_with_its_parent(tmp_path: Path) -> None:
    """SIGKILL of the parent leaves no time to tell it."""
    (tmp_path / "hang.mp4").write_text("hang")
    code = """
import sys
from pathlib import Path
from tests.made_batch import MadeWork
from utils.batch.work import VideoJob
from utils.batch.worker import Setting, Worker
Worker(MadeWork(), Setting()).run(VideoJob(*map(Path, sys.argv[1:])))
"""
    given = [str(tmp_path / "hang.mp4"), str(tmp_path / "hang")]
    parent = subprocess.Popen([sys.executable, "-c", code, *given], cwd=ROOT)
    log = tmp_path / "hang" / "analysis.log"
    wait_for(lambda: log.exists() and "printed" in log.read_text())
    child = int(log.read_text().split(", try")[0].rpartition(":")[2])
    os.kill(child, 0)
    parent.kill()
    parent.wait()
    wait_for(lambda: not runs(child))


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 300  # only against hanging
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_time_limit() -> None:
    video = VideoJob(Path("a"), Path("b"))
    assert time_limit(video, 3.0, 10**6) == 600.0
    assert time_limit(video, 3600.0, 10**9) == 72000.0
    assert time_limit(video, 1e9, 10**6) == 20000.0  # such a length does not fit its size
    assert time_limit(video, float("inf"), 10**6) == 20000.0
    assert time_limit(VideoJob(Path("a"), Path("b"), 5.0), 3600.0, 10**9) == 5.0


def test_attempts() -> None:
    jobs = [VideoJob(Path(name), Path(name)) for name in "ab"]
    attempts = Attempts(iter(jobs), 2)
    first = attempts.next()
    assert first == jobs[0]
    assert not attempts.settle(jobs[0], Outcome(error="bad"))
    assert attempts.next() == jobs[1]
    assert attempts.settle(jobs[1], Outcome())
    again = attempts.next()
    assert again is not None and (again.path, again.attempt) == (Path("a"), 2)
    assert attempts.next() is None
    assert attempts.settle(again, Outcome(error="bad"))
    assert not attempts.waits()


def test_lost_machines_are_no_tries() -> None:
    video = VideoJob(Path("a"), Path("a"))
    attempts = Attempts(iter([video]), 1)
    assert attempts.waits()
    for _ in range(4):
        assert attempts.next() == video
        assert not attempts.settle(video, Outcome(error="gone", lost=True))
    assert attempts.next() == video
    assert attempts.settle(video, Outcome(error="gone", lost=True))
    assert attempts.next() is None
