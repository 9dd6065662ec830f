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

QUIET_S = 30.0  # between two lines where stderr is no terminal


@dataclass
class EpochSums:
    """What the steps of an epoch add up to."""

    loss: float = 0.0  # of all labelled frames
    right: int = 0
    frames: int = 0  # labelled
    seconds: float = 0.0  # of training, waiting for data included

    @property
    def mean_loss(self) -> float:
        """Loss of a frame."""
        return self.loss / max(1, self.frames)

    @property
    def accuracy(self) -> float:
        """Share of frames that are judged rightly."""
        return self.right / max(1, self.frames)


@dataclass
class Position:
    """How far training has got: `step` batches of `epoch` are done."""

    epoch: int = 1
    step: int = 0
    sums: EpochSums = field(default_factory=EpochSums)
    updates: int = 0  # steps of all epochs so far


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


@contextmanager
def stopping() -> Iterator[Callable[[], bool]]:
    """Give a function that tells whether Ctrl-C (or SIGTERM) came; a second Ctrl-C is at once.

    SIGTERM comes several times where it is sent to a process and to its group, as `timeout` does;
    what means "at once" is SIGKILL. So does either of them where torchrun passes it on, and that
    kills after 30 s by itself.
    """
    came: list[int] = []
    patient = "TORCHELASTIC_RUN_ID" in os.environ

    def handle(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - as signal calls it
        if came and number == signal.SIGINT and not patient:
            raise KeyboardInterrupt
        came.append(number)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class StepBar:
    """A bar for each epoch on stderr: batches, loss, accuracy, frames a second."""

    def __init__(self) -> None:
        self._bar: tqdm[NoReturn] | None = None

    def move(self, position: Position, num_steps: int) -> None:
        """Show how far the epoch is."""
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
        """Leave the bar as it stands."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


@contextmanager
def stages(units: str | Mapping[str, str]) -> Iterator[Callable[[str, float, float], None]]:
    """Give a function that shows the progress of a job, stage by stage: its name, done, in all.

    Args:
        units: What is counted, or by the name of a stage.
    """
    with ExitStack() as shown:
        moves: dict[str, Callable[[float], None]] = {}

        def tell(name: str, done: float, total: float) -> None:
            if name not in moves:
                shown.close()
                unit = units if isinstance(units, str) else units[name]
                moves[name] = shown.enter_context(bar(name, total, unit))
            moves[name](done)

        yield tell
