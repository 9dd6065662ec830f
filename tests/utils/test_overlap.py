"""A stage in a thread of its own gives the same items and errors, and its thread always ends."""

import gc
import signal
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import closing
from itertools import count, islice

import pytest

from tests.programs import run_python
from utils.overlap import ahead


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = threading.active_count()
    yield
    assert threading.active_count() == before


class Numbers:
    """Counts upward; notes what was made, and by which thread it was closed."""

    def __init__(self, stop: int | None = None, error: BaseException | None = None) -> None:
        self.made: list[int] = []
        self.closed_by: threading.Thread | None = None
        self.made_enough = threading.Event()
        self._stop, self._error = stop, error

    def run(self, enough: int = 0) -> Generator[int, None, None]:
        try:
            for number in islice(count(), self._stop):
                self.made.append(number)
                if len(self.made) == enough:
                    self.made_enough.set()
                yield number
            if self._error is not None:
                raise self._error
        finally:
            self.closed_by = threading.current_thread()


@pytest.mark.parametrize("limit", [0, 1, 2, 1000])
@pytest.mark.parametrize("stop", [0, 1, 500])
def test_items_keep_their_order(stop: int, limit: int) -> None:
    assert list(ahead(Numbers(stop).run(), limit)) == list(range(stop))


def test_the_stage_runs_and_is_closed_in_one_thread_of_its_own() -> None:
    def threads() -> Generator[threading.Thread, None, None]:
        for _ in range(20):
            yield threading.current_thread()

    used = set(ahead(threads(), 3))
    assert len(used) == 1
    assert threading.current_thread() not in used
    numbers = Numbers(5)
    list(ahead(numbers.run(), 2))
    assert numbers.closed_by not in (None, threading.current_thread())


def test_it_runs_ahead_by_the_limit_and_no_further() -> None:
    numbers = Numbers()
    with closing(ahead(numbers.run(enough=5), 4)) as items:
        assert next(items) == 0
        assert numbers.made_enough.wait(20)  # the reader has one; four more were made meanwhile
        time.sleep(0.05)
        assert numbers.made == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    "error",
    [ValueError("no number"), KeyboardInterrupt(), SystemExit(3), MemoryError()],
    ids=lambda error: type(error).__name__,
)
def test_an_error_comes_after_the_items_before_it(error: BaseException) -> None:
    seen = []
    with pytest.raises(type(error)) as caught:
        for number in ahead(Numbers(7, error).run(), 3):
            seen.append(number)
    assert seen == list(range(7))
    assert caught.value is error
    assert "run" in [entry.name for entry in caught.traceback]  # where it was raised


@pytest.mark.parametrize("limit", [1, 5])
@pytest.mark.parametrize("taken", [1, 2, 9])
def test_closing_early_ends_and_closes_the_stage(taken: int, limit: int) -> None:
    numbers = Numbers()
    with closing(ahead(numbers.run(), limit)) as items:
        assert [next(items) for _ in range(taken)] == list(range(taken))
    assert numbers.closed_by not in (None, threading.current_thread())
    assert taken <= len(numbers.made) <= taken + limit


def test_an_error_of_the_reader_ends_the_stage() -> None:
    numbers = Numbers()
    with pytest.raises(ZeroDivisionError), closing(ahead(numbers.run(), 2)) as items:
        for number in items:
            assert 1 / (3 - number)
    assert numbers.closed_by is not None


def test_an_error_that_the_reader_never_came_to_is_dropped() -> None:
    numbers = Numbers(2, ValueError("no number"))
    with closing(ahead(numbers.run(), 5)) as items:
        assert next(items) == 0
    assert numbers.closed_by is not None


def test_dropping_it_ends_the_stage() -> None:
    numbers = Numbers()
    items = ahead(numbers.run(), 2)
    assert next(items) == 0
    del items
    gc.collect()
    assert numbers.closed_by is not None


def test_nothing_runs_before_the_first_item_is_asked_for() -> None:
    numbers = Numbers()
    before = threading.active_count()
    items = ahead(numbers.run(), 2)
    assert (threading.active_count(), numbers.made) == (before, [])
    items.close()
    assert numbers.made == []


def doubled(numbers: Numbers, limit: int) -> Generator[int, None, None]:
    with closing(ahead(numbers.run(), limit)) as items:
        for number in items:
            yield 2 * number


@pytest.mark.parametrize("error", [None, ValueError("no number")])
def test_stages_upon_stages(error: Exception | None) -> None:
    numbers = Numbers(50, error)
    seen: list[int] = []
    try:
        seen.extend(ahead(doubled(numbers, 3), 2))
    except ValueError as raised:
        assert raised is error
    assert seen == [2 * number for number in range(50 if error is None else len(seen))]
    assert numbers.closed_by is not None
    endless = Numbers()
    with closing(ahead(doubled(endless, 3), 2)) as items:
        assert list(islice(items, 5)) == [0, 2, 4, 6, 8]
    assert endless.closed_by is not None


def waits_for(event: threading.Event) -> Generator[int, None, None]:
    yield 0
    assert event.wait(20)
    yield 1


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="signals as POSIX has them")
def test_ctrl_c_while_waiting_for_an_item_ends_the_stage() -> None:
    event = threading.Event()
    main = threading.main_thread().ident
    assert main is not None

    def interrupt() -> None:
        time.sleep(0.2)
        signal.pthread_kill(main, signal.SIGINT)
        time.sleep(0.2)
        event.set()

    helper = threading.Thread(target=interrupt)
    seen = []
    with pytest.raises(KeyboardInterrupt), closing(ahead(waits_for(event), 2)) as items:
        helper.start()
        for number in items:
            seen.append(number)
    helper.join()
    assert seen == [0]  # the signal came while there was nothing to read


def test_a_limit_of_zero_runs_in_the_thread_of_the_reader() -> None:
    numbers = Numbers()
    with closing(ahead(numbers.run(), 0)) as items:
        assert [next(items) for _ in range(3)] == [0, 1, 2] == numbers.made
    assert numbers.closed_by is threading.current_thread()


ABANDONED = """
import itertools, time
from utils.overlap import ahead

def stage():
    try:
        yield from itertools.count()
    finally:
        time.sleep(0.1)
        print("closed", flush=True)

items = ahead(stage(), 3)
print(next(items), flush=True)
END
"""


@pytest.mark.parametrize("end", ["", "raise SystemExit(0)"], ids=["end", "exit"])
def test_an_abandoned_stage_is_closed_when_the_process_ends(end: str) -> None:
    done = run_python("-c", ABANDONED.replace("END", end))
    assert (done.stdout.split(), done.returncode, done.stderr) == (["0", "closed"], 0, "")
