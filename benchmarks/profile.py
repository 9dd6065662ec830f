"""Where the time of a command goes: python -m benchmarks.profile VIDEO [flags of demoTalkNet].

Runs the command in this process, including its imports, and prints each stage's own wall and
processor time, without that of the stages that it reads from, and what each thread did. A plain
transcode of the video (decode, encode with x264) follows, as a yardstick: its ratios
compare between machines with processors of one kind.

A stage's processor time is that of its own thread; threads of libraries are in the second table.
There, "waiting" is the time a thread could have run but got no core.
"""

import builtins
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import wraps
from importlib import import_module
from pathlib import Path
from types import GeneratorType
from typing import Any

from benchmarks.measure import report
from utils.processor import use_cores

TASKS = Path("/proc/self/task")
SAMPLE_S = 0.2  # between two looks at the threads; what one does after the last is lost
NANO = 1e-9

# Module, attribute and stage: functions, and generators whose every item is timed.
STAGES = (
    ("demoTalkNet", "load_models", "loading models"),
    ("utils.media.video", "read_source_frames", "decoding"),
    ("utils.media.video", "VideoSpan.read_frames", "scaling"),
    ("talkNet", "mark_shots", "cuts"),
    ("talkNet", "detect_faces", "detection"),
    ("talkNet", "crop_faces", "tracking and crops"),
    ("talkNet", "embed_track", "embedding"),
    ("model.scoring.silence", "SilenceScorer.add", "scoring"),
    ("model.scoring.silence", "SilenceScorer.finish", "scoring"),
    ("talkNet", "ahead", "waiting for a stage before"),
    ("demoTalkNet", "write_all", "tables and report"),
    ("utils.output.write_outputs", "write_images", "other images"),
    ("utils.output.render", "read_source_frames", "rendering: decoding"),
    ("utils.output.render", "_Painter.painted", "rendering: drawing"),
    ("utils.output.render", "Rendering.write", "rendering: encoding"),
    ("utils.output.render", "ahead", "rendering: waiting for drawing"),
)
FIRST = ("imports", "loading models")


@dataclass
class Spent:
    """Time that was spent in one stage."""

    calls: int = 0
    wall_s: float = 0.0
    cpu_s: float = 0.0  # of the threads that ran it
    threads: set[str] = field(default_factory=set)


class StageClock:
    """Charges the time of each thread to the innermost stage that it is in."""

    def __init__(self) -> None:
        self.spent: dict[str, Spent] = {}
        self._lock = threading.Lock()
        self._local = threading.local()

    @contextmanager
    def inside(self, stage: str) -> Iterator[None]:
        """Charge the time until the end of the context, less that of stages inside it."""
        local = self._local
        stack = local.__dict__.setdefault("stack", [])
        self._charge(stack)
        stack.append(stage)
        try:
            yield
        finally:
            self._charge(stack)
            stack.pop()
            with self._lock:
                self.spent.setdefault(stage, Spent()).calls += 1

    def timed(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function whose calls are charged to a stage; so are the items it generates."""

        @wraps(function)
        def call(*given: Any, **named: Any) -> Any:  # noqa: ANN401
            with self.inside(stage):
                result = function(*given, **named)
            if not isinstance(result, GeneratorType):
                return result
            items: Any = self._items(stage, result)
            items.__qualname__ = result.__qualname__  # names the thread that runs it
            return items

        return call

    def _items(self, stage: str, items: Any) -> Generator[Any, None, None]:  # noqa: ANN401
        try:
            while True:
                with self.inside(stage):
                    item = next(items, self)
                if item is self:
                    return
                yield item
        finally:
            with self.inside(stage):
                items.close()

    def _charge(self, stack: Sequence[str]) -> None:
        """Charge the time since the last call in this thread to the top of its stack."""
        now, used = time.perf_counter(), time.thread_time()
        if stack:
            with self._lock:
                spent = self.spent.setdefault(stack[-1], Spent())
                spent.wall_s += now - self._local.now
                spent.cpu_s += used - self._local.used
                spent.threads.add(threading.current_thread().name)
        self._local.now, self._local.used = now, used


@dataclass
class ThreadTimes:
    """What one thread of this process did."""

    name: str
    running_s: float = 0.0
    waiting_s: float = 0.0  # for a core
    first_s: float = 0.0
    last_s: float = 0.0


class ThreadSampler(threading.Thread):
    """Looks at all threads of this process again and again; only Linux tells what they do."""

    def __init__(self) -> None:
        super().__init__(name="profiler", daemon=True)
        self.found: dict[int, ThreadTimes] = {}
        self._ended = threading.Event()

    def run(self) -> None:
        """Look until `stop` is called."""
        while not self._ended.wait(SAMPLE_S):
            self._look()

    def stop(self) -> None:
        """Look once more and end."""
        self._ended.set()
        self.join()
        self._look()

    def _look(self) -> None:
        now = time.perf_counter()
        names = {thread.native_id: thread.name for thread in threading.enumerate()}
        for folder in TASKS.iterdir() if TASKS.exists() else ():
            try:
                running, waiting, _ = (folder / "schedstat").read_text().split()
                name = names.get(int(folder.name)) or (folder / "comm").read_text().strip()
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has ended
            times = self.found.setdefault(int(folder.name), ThreadTimes(name, first_s=now))
            times.running_s, times.waiting_s = int(running) * NANO, int(waiting) * NANO
            times.last_s = now


def instrument(clock: StageClock) -> None:
    """Let all stages and all imports be timed; for the rest of the process."""
    importing = builtins.__import__
    builtins.__import__ = clock.timed("imports", importing)
    for module, path, stage in STAGES:
        *owners, name = path.split(".")
        owner = import_module(module)
        for part in owners:
            owner = getattr(owner, part)
        setattr(owner, name, clock.timed(stage, getattr(owner, name)))


def transcode(source: Path, target: Path) -> None:
    """Decode the images of a video and encode them with x264 as the marked video is, unmarked."""
    import av

    from utils.output.encoders import OPTIONS, X264

    with av.open(str(source)) as reader, av.open(str(target), "w") as writer:
        images = reader.streams.video[0]
        images.thread_type = "AUTO"
        stream = writer.add_stream(X264, rate=images.average_rate, options=dict(OPTIONS[X264]))
        stream.width, stream.height, stream.pix_fmt = images.width, images.height, "yuv420p"
        stream.codec_context.thread_count = 0
        for image in reader.decode(images):
            image.pict_type = 0  # the encoder chooses the key frames
            writer.mux(stream.encode(image))
        writer.mux(stream.encode(None))


def stage_rows(clock: StageClock, total_s: float) -> list[dict[str, object]]:
    """Return the table of the stages."""
    order = dict.fromkeys([*FIRST, *(stage for _, _, stage in STAGES), *clock.spent])
    rows: list[dict[str, object]] = []
    for stage in order:
        if stage in clock.spent:
            spent = clock.spent[stage]
            row = {"stage": stage, "wall_s": spent.wall_s, "processor_s": spent.cpu_s}
            row |= {"share of wall": spent.wall_s / total_s, "calls": spent.calls}
            rows.append(row | {"thread": ", ".join(sorted(spent.threads))})
    return rows


def thread_rows(sampler: ThreadSampler) -> list[dict[str, object]]:
    """Return the table of the threads; those of one name are added up."""
    groups: dict[str, list[ThreadTimes]] = {}
    for times in sampler.found.values():
        groups.setdefault(times.name, []).append(times)
    rows: list[dict[str, object]] = []
    for name, group in groups.items():
        running_s = sum(one.running_s for one in group)
        alive_s = sum(one.last_s - one.first_s for one in group)
        waiting_s = sum(one.waiting_s for one in group)
        row = {"thread": name, "number": len(group), "running_s": running_s}
        row |= {"waiting_s": waiting_s, "alive_s": alive_s}
        rows.append(row | {"busy": (running_s + waiting_s) / max(alive_s, SAMPLE_S)})
    return sorted(rows, key=lambda row: -float(str(row["running_s"])))


def timed_run(action: Callable[[], object]) -> tuple[float, float]:
    """Run something; return its wall time and the processor time of all threads, s."""
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    action()
    return time.perf_counter() - wall_s, time.process_time() - cpu_s


def main(arguments: Sequence[str] | None = None) -> int:
    """Profile the command with these arguments; return its exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0].startswith("-"):
        print(__doc__)
        return 2
    clock, sampler, statuses = StageClock(), ThreadSampler(), []
    with tempfile.TemporaryDirectory() as folder:
        flags = [*given, *([] if "--outputFolder" in given else ["--outputFolder", folder])]

        def command() -> None:
            with clock.inside("everything else"):
                use_cores(None)  # as the command does before it imports torch
                instrument(clock)
                statuses.append(import_module("demoTalkNet").main(flags))

        sampler.start()
        wall_s, cpu_s = timed_run(command)
        sampler.stop()
        plain_s, plain_cpu_s = timed_run(
            lambda: transcode(Path(given[0]), Path(folder) / "plain.mp4")
        )
    report(stage_rows(clock, wall_s), None)
    print()
    report(thread_rows(sampler), None)
    print(
        f"\n{wall_s:.1f} s, {cpu_s:.1f} s of processor time, {cpu_s / wall_s:.2f} of "
        f"{os.cpu_count()} cores busy; plain transcode {plain_s:.1f} s and {plain_cpu_s:.1f} s: "
        f"ratios {wall_s / plain_s:.2f} and {cpu_s / plain_cpu_s:.2f}"
    )
    return int(statuses[0])


if __name__ == "__main__":
    sys.exit(main())
