"""Progress bars on stderr for the command lines."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

QUIET_S = 30.0  # between two lines where stderr is no terminal


@contextmanager
def bar(name: str, total: float, unit: str) -> Iterator[Callable[[float], None]]:
    """Give a function that moves the bar to where the work has got to; `total` in `unit`."""
    interval = 0.1 if sys.stderr.isatty() else QUIET_S
    shape = "{l_bar}{bar}| {n:.0f}/{total:.0f} {unit} [{elapsed}<{remaining}, {rate_fmt}]"
    if not 0 < total < float("inf"):
        total, shape = 0.0, "{desc}: {n:.0f} {unit} [{elapsed}, {rate_fmt}]"
    with tqdm(
        total=total or None, desc=name, unit=unit, bar_format=shape, mininterval=interval
    ) as shown:

        def move(done: float) -> None:
            shown.update(min(done, total or done) - shown.n)

        yield move


@contextmanager
def byte_bar(name: str) -> Iterator[Callable[[int, int | None], None]]:
    """Give a hook for downloads, told the bytes so far and in all; no bar before its first call."""
    shown: list[Any] = []

    def move(done: int, total: int | None) -> None:
        if not shown:
            shown.append(tqdm(desc=name, unit="B", unit_scale=True))
        shown[0].total = total
        shown[0].update(done - shown[0].n)

    try:
        yield move
    finally:
        for one in shown:
            one.close()
