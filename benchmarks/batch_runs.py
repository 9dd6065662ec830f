"""Runs of the demo over many short clips, compared and killed, for benchmarks.many_videos."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from benchmarks.command import CLIP, ROOT
from utils.processor import LIMIT

WIDTH, HEIGHT, CLIP_FRAMES = 320, 180, 50
TABLES = ("scores.csv", "speech.rttm", "speech.vtt")  # compared byte by byte


@dataclass(frozen=True)
class DemoRun:
    """How the command is started."""

    source: Path
    output: Path
    flags: tuple[str, ...]
    threads: int = 1

    def start(self) -> "subprocess.Popen[bytes]":
        """Start the command; what it says goes to a log beside the output folder."""
        command = [sys.executable, str(ROOT / "demoTalkNet.py"), str(self.source)]
        command += ["--outputFolder", str(self.output), "--noVideo", "--noReport", *self.flags]
        share = {"OMP_NUM_THREADS": str(self.threads), LIMIT: str(self.threads)}
        workers_set_their_own = "--ray" in self.flags
        environment = {**os.environ, **({} if workers_set_their_own else share)}
        with self.output.with_suffix(".log").open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, env=environment)

    def finish(self) -> int:
        """Run the command to its end; return its status."""
        return self.start().wait()

    def log(self) -> str:
        """Return the end of what the command said."""
        return self.output.with_suffix(".log").read_text(errors="replace")[-3000:]

    def check(self, status: int) -> None:
        """Raise AssertionError with the log unless the command succeeded."""
        assert status == 0, self.log()

    def states(self) -> list[dict[str, Any]]:
        """Return the whole lines of status.jsonl; the last may be broken off."""
        path = self.output / "status.jsonl"
        lines = path.read_text().split("\n")[:-1] if path.exists() else []
        return [json.loads(line) for line in lines]

    def whole(self) -> dict[str, int]:
        """Return when each whole result was made, by its name."""
        return {
            path.parent.relative_to(self.output).as_posix(): path.stat().st_mtime_ns
            for path in sorted(self.output.rglob("result.json"))
            if path.with_name("made_from.json").exists()
        }


def make_videos(folder: Path, num_videos: int) -> None:
    """Write clips of the demo video in folders whose files have the same names."""
    images, samples = read_demo()
    rng = random.Random(0)
    for number in range(num_videos):
        start = rng.randrange(len(images) - CLIP_FRAMES)
        path = folder / f"folder{number % 4}" / f"clip{number // 4}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        sound = samples[start * 640 : (start + CLIP_FRAMES) * 640]
        write_clip(path, images[start : start + CLIP_FRAMES], sound)


def read_demo() -> tuple[list[NDArray[np.uint8]], NDArray[np.int16]]:
    """Return the demo video's images in small and its sound, mono at 16 kHz."""
    with av.open(str(CLIP)) as container:
        images = [
            np.asarray(frame.reformat(WIDTH, HEIGHT, "rgb24").to_ndarray(), np.uint8)
            for frame in container.decode(video=0)
        ]
    resampler = av.AudioResampler("s16", "mono", 16000)
    with av.open(str(CLIP)) as container:
        parts = [
            part.to_ndarray().ravel()
            for frame in container.decode(audio=0)
            for part in resampler.resample(frame)
        ]
    return images, np.concatenate(parts).astype(np.int16)


def write_clip(
    path: Path, images: Sequence[NDArray[np.uint8]], sound: NDArray[np.int16] | None
) -> None:
    """Encode images at 25 frames/s with their sound."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        audio = None if sound is None else container.add_stream("aac", rate=16000, layout="mono")
        for image in images:
            container.mux(video.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(video.encode(None))
        if sound is not None and audio is not None:
            frame = av.AudioFrame.from_ndarray(sound[None], format="s16", layout="mono")
            frame.sample_rate = 16000
            for part in (frame, None):
                container.mux(audio.encode(part))


def compare(serial: DemoRun, other: DemoRun, names: Sequence[str]) -> None:
    """Raise AssertionError unless two runs have the same results of some videos."""
    for name in names:
        for table in TABLES:
            paths = [run.output / name / table for run in (serial, other)]
            assert paths[0].read_bytes() == paths[1].read_bytes(), f"{name}: {table} differs"
        places = [run.output / name / "result.json" for run in (serial, other)]
        results = [json.loads(place.read_text()) for place in places]
        for result in results:
            result["settings"].pop("outputFolder")
        assert results[0] == results[1], f"{name}: result.json differs"


def descendants(pid: int) -> list[int]:
    """Return all processes below one, those in sessions of their own included; Linux only."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has just ended
            continue
        children.setdefault(parent, []).append(int(path.parent.name))
    found, waiting = [], [pid]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def with_command(pids: Sequence[int], part: bytes) -> list[int]:
    """Return those processes whose command line contains a text."""
    found = []
    for pid in pids:
        try:
            found += [pid] * (part in Path(f"/proc/{pid}/cmdline").read_bytes())
        except OSError:  # it has just ended
            continue
    return found


def kill(driver: int, victim: str) -> None:
    """Kill one worker, the driver, or all processes with SIGKILL."""
    tree = [driver, *descendants(driver)]
    workers = with_command(tree, b"worker_process import main")
    for pid in {"worker": workers[:1], "driver": [driver], "all": tree}[victim]:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:  # it has just ended
            continue


@contextmanager
def bad_files(folder: Path) -> Iterator[dict[str, str]]:
    """Add four bad files to the videos; give their names and the state that each should have.

    The hanging one is a pipe that nobody writes to, so it is in a list, which is given too.
    """
    images, samples = read_demo()
    names = ("corrupt.mp4", "silent.mp4", "endless.ts", "hanging.mp4")
    corrupt, silent, endless, hanging = paths = [folder / name for name in names]
    corrupt.write_bytes((folder / "folder0" / "clip0.mp4").read_bytes()[:3000])
    write_clip(silent, images[:CLIP_FRAMES], None)
    write_clip(endless, images[:CLIP_FRAMES], samples[: CLIP_FRAMES * 640])
    os.mkfifo(hanging)
    hanging_list = folder / "list.txt"
    hanging_list.write_text(f"{hanging}\n")
    part, ended = endless.read_bytes(), threading.Event()

    def grow() -> None:
        while not ended.wait(0.02):  # 100 times as fast as real time
            with endless.open("ab") as file:
                file.write(part)

    writer = threading.Thread(target=grow, daemon=True)
    writer.start()
    states = {path.stem: "failed" for path in paths}
    try:
        yield states | {"silent": "done", "list": str(hanging_list)}
    finally:
        ended.set()
        writer.join()
        for path in (*paths, hanging_list):
            path.unlink()
