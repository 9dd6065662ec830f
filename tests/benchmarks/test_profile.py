"""The profile charges time to the stage that took it, in every thread."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks import profile
from benchmarks.profile import StageClock, ThreadSampler, thread_rows
from tests.made_video import write_video
from tests.programs import run_python


class Hands:
    """A clock that moves when it is told to, by wall time; half of that is processor time."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now

    def thread_time(self) -> float:
        return self.now / 2


@pytest.fixture
def hands(monkeypatch: pytest.MonkeyPatch) -> Hands:
    hands = Hands()
    monkeypatch.setattr(profile, "time", hands)
    return hands


def test_a_stage_is_charged_its_own_time_only(hands: Hands) -> None:
    clock = StageClock()

    def numbers() -> Iterator[int]:
        for number in range(3):
            hands.now += 1
            yield number

    def squares(items: Iterator[int]) -> Iterator[int]:
        for item in items:
            hands.now += 10
            yield item * item

    def total(items: Iterator[int]) -> int:
        hands.now += 0.5
        return sum(items)

    items = clock.timed("squares", squares)(clock.timed("numbers", numbers)())
    hands.now += 1000  # outside of all stages
    assert clock.timed("total", total)(items) == 5
    found = {name: (spent.wall_s, spent.cpu_s) for name, spent in clock.spent.items()}
    assert found == {"numbers": (3, 1.5), "squares": (30, 15), "total": (0.5, 0.25)}


def test_closing_a_timed_generator_closes_what_it_times(hands: Hands) -> None:
    clock = StageClock()

    def endless() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            hands.now += 7

    items = clock.timed("endless", endless)()
    assert next(items) == 1
    items.close()
    assert clock.spent["endless"].wall_s == 7


@pytest.mark.skipif(not profile.TASKS.exists(), reason="only Linux tells what threads do")
def test_threads_are_found_with_their_times() -> None:
    sampler = ThreadSampler()
    sampler.start()
    ended = threading.Event()
    sleeper = threading.Thread(target=ended.wait, name="sleeper")
    sleeper.start()
    end_s = time.thread_time() + 0.3
    while time.thread_time() < end_s:
        pass
    ended.set()
    sleeper.join()
    sampler.stop()
    rows = {str(row["thread"]): row for row in thread_rows(sampler)}
    assert float(str(rows["MainThread"]["running_s"])) >= 0.3
    assert float(str(rows["sleeper"]["running_s"])) < 0.1


@pytest.mark.slow
def test_the_command_is_profiled(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 255, (50, 64, 96, 3), np.uint8)
    write_video(tmp_path / "a.mp4", images, sound=np.zeros(32000, np.int16))
    given = ["--model", "synchrony", "--detector", "tiny_fcos", "--embedder", "none"]
    done = run_python("-m", "benchmarks.profile", tmp_path / "a.mp4", *given)
    assert done.returncode == 0, done.stderr
    rows = [line.split("  ")[0] for line in done.stdout.splitlines()]
    for stage in ("imports", "decoding", "scaling", "cuts", "detection", "rendering: encoding"):
        assert stage in rows
    assert "plain transcode" in done.stdout
    assert not (tmp_path / "a").exists()


def test_without_a_video_it_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert profile.main([]) == 2
    assert "python -m benchmarks.profile VIDEO" in capsys.readouterr().out
