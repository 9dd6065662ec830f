"""Progress bars on stderr, and how Ctrl-C stops training."""

import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, NoReturn

from tqdm import tqdm

QUIET_S = 30.0  # between two lines if stderr is not a terminal


@dataclass
class EpochSums:
    """Sums over the steps of an epoch."""

    loss: float = 0.0  # over all labelled frames
    right: int = 0  # labelled frames classified correctly
    frames: int = 0  # labelled frames
    seconds: float = 0.0  # training time, including waiting for data

    @property
    def mean_loss(self) -> float:
        """Mean loss per frame."""
        return self.loss / max(1, self.frames)

    @property
    def accuracy(self) -> float:
        """Fraction of frames classified correctly."""
        return self.right / max(1, self.frames)


@dataclass
class Position:
    """Progress of training: `step` batches of `epoch` are done."""

    epoch: int = 1
    step: int = 0
    sums: EpochSums = field(default_factory=EpochSums)
    updates: int = 0  # steps of all epochs so far


@contextmanager
def bar(name: str, total: float, unit: str) -> Iterator[Callable[[float], None]]:
    """Yield a function that sets the bar to an absolute position; `total` is in `unit`."""
    interval = 0.1 if sys.stderr.isatty() else QUIET_S
    shape = "{l_bar}{bar}| {n:.0f}/{total:.0f} {unit} [{elapsed}<{remaining}, {rate_fmt}]"
    if not 0 < total < float("inf"):
        total, shape = 0.0, "{desc}: {n:.0f} {unit} [{elapsed}, {rate_fmt}]"
    with tqdm(
        total=total or None, desc=name, unit=unit, bar_format=shape, mininterval=interval
    ) as progress_bar:

        def move(done: float) -> None:
            progress_bar.update(min(done, total or done) - progress_bar.n)

        yield move


@contextmanager
def byte_bar(name: str) -> Iterator[Callable[[int, int | None], None]]:
    """Yield a progress hook for downloads (bytes so far, total); its first call opens the bar."""
    bars: list[Any] = []

    def move(done: int, total: int | None) -> None:
        if not bars:
            bars.append(tqdm(desc=name, unit="B", unit_scale=True))
        bars[0].total = total
        bars[0].update(done - bars[0].n)

    try:
        yield move
    finally:
        for opened in bars:
            opened.close()


@contextmanager
def stopping() -> Iterator[Callable[[], bool]]:
    """Yield a function that returns whether Ctrl-C or SIGTERM was received.

    A second Ctrl-C raises KeyboardInterrupt at once, but not a second SIGTERM: `timeout` sends it
    both to the process and to its group. Under torchrun, which forwards either signal repeatedly
    and kills after 30 s, neither does.
    """
    received: list[int] = []
    under_torchrun = "TORCHELASTIC_RUN_ID" in os.environ

    def handle(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - as signal calls it
        if received and number == signal.SIGINT and not under_torchrun:
            raise KeyboardInterrupt
        received.append(number)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class StepBar:
    """A progress bar per epoch on stderr: batches, loss, accuracy, frames per second."""

    def __init__(self) -> None:
        self._bar: tqdm[NoReturn] | None = None

    def move(self, position: Position, num_steps: int) -> None:
        """Show the progress of the epoch."""
        step, sums = position.step, position.sums
        if self._bar is None:
            self._bar = tqdm(
                total=num_steps,
                initial=step - 1,
                desc=f"epoch {position.epoch}",
                unit="batch",
                mininterval=0.1 if sys.stderr.isatty() else QUIET_S,
            )
        rate = sums.frames / max(sums.seconds, 1e-9)
        self._bar.set_postfix_str(
            f"loss {sums.mean_loss:.4f}, accuracy {sums.accuracy:.2%}, {rate:.0f} frames/s",
            refresh=False,
        )
        self._bar.update(step - self._bar.n)
        if step == num_steps:
            self.close()

    def close(self) -> None:
        """Close the bar; it stays visible as it is."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


@contextmanager
def stages(units: str | Mapping[str, str]) -> Iterator[Callable[[str, float, float], None]]:
    """Yield a function that shows the progress of a job by stage: (stage name, done, total).

    Args:
        units: Unit of the counts, for all stages or by stage name.
    """
    with ExitStack() as current:
        moves: dict[str, Callable[[float], None]] = {}

        def report(name: str, done: float, total: float) -> None:
            if name not in moves:
                current.close()
                unit = units if isinstance(units, str) else units[name]
                moves[name] = current.enter_context(bar(name, total, unit))
            moves[name](done)

        yield report
