"""Kill programs at random moments and go on: python -m benchmarks.kill_and_resume --kills 200.

Preparation of custom data, training and the demo are repeatedly killed with SIGKILL and restarted
on the files that are left. When one finishes, its files must equal those of an uninterrupted run,
with no others beside them; then it starts from scratch.

Programs are forked from this process, which has loaded all libraries, so that a kill interrupts
work rather than the start of Python. POSIX only.
"""

import argparse
import csv
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import demoTalkNet
import trainTalkNet
from benchmarks.command import loop_clip
from benchmarks.measure import report
from model.scoring import windows as scoring  # noqa: F401 - loaded before programs are forked
from model.training import command as train_command  # noqa: F401 - loaded before programs are forked
from utils.datasets.custom.tables import CustomOptions
from utils.datasets.splits import DataOptions, prepare_split

CLIP_S = 1.2  # of each video
CLIPS = {"train": 3, "val": 2}  # videos of each split
LATEST = 1.3  # latest kill, in durations of an uninterrupted run
TAKES_TIME = ("seconds",)  # columns that differ between runs


@dataclass(frozen=True)
class Job:
    """A program that is killed.

    Args:
        name: For the table.
        run: Works in the folder; returns the exit status.
        begin: Makes the folder as it is before the first run.
    """

    name: str
    run: Callable[[Path], int]
    begin: Callable[[Path], None]


def make_jobs(data: Path) -> list[Job]:
    """Return the three programs, with little to do each.

    Args:
        data: Videos and tables that `make_data` made.
    """

    def prepare(folder: Path) -> int:
        prepare_split(_own(folder), CustomOptions(), "train")
        return 0

    def train(folder: Path) -> int:
        given = ["--data", "own", "--dataPath", folder / "data", "--savePath", folder / "run"]
        given += ["--model", "lr_asd", "--batchSize", "24", "--maxEpoch", "2", "--device", "cpu"]
        given += ["--nDataLoaderThread", "0", "--numProcesses", "1", "--saveInterval", "1"]
        return trainTalkNet.main([str(one) for one in given])

    def demo(folder: Path) -> int:
        given = ["--tracks", data / "tracks.csv", "--model", "synchrony", "--device", "cpu"]
        given += ["--outputFolder", folder, data / "train0.mp4"]
        return demoTalkNet.main([str(one) for one in given])

    def link(folder: Path) -> None:
        folder.mkdir()
        for path in data.iterdir():
            (folder / path.name).symlink_to(path)

    def prepared(folder: Path) -> None:
        folder.mkdir()
        link(folder / "data")
        for split in CLIPS:
            prepare_split(_own(folder / "data"), CustomOptions(), split)

    return [
        Job("preparation", prepare, link),
        Job("training", train, prepared),
        Job("demo", demo, Path.mkdir),
    ]


def _own(folder: Path) -> DataOptions:
    return DataOptions(data="own", data_path=folder, num_processes=1)


def make_data(folder: Path) -> None:
    """Write short videos and tables of a face in them that speaks half of the time."""
    folder.mkdir()
    times = [number / 10 for number in range(int(CLIP_S * 10))]
    for split, num_clips in CLIPS.items():
        rows = ["video,entity,time_s,x1,y1,x2,y2,label"]
        for number in range(num_clips):
            name = f"{split}{number}.mp4"
            loop_clip(folder / name, CLIP_S)
            left = 300 + 40 * number
            rows += [f"{name},a,{t},{left},100,{left + 200},320,{int(t > 0.5)}" for t in times]
        (folder / f"{split}.csv").write_text("\n".join(rows) + "\n")
    rows = [f"a,{time_s},300,100,500,320" for time_s in times]
    (folder / "tracks.csv").write_text("\n".join(["track,time_s,x1,y1,x2,y2", *rows]) + "\n")


def start(job: Job, folder: Path) -> int:
    """Start a program in a process of its own; return its id."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        log = os.open(folder.with_name("log.txt"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        status = job.run(folder)
    finally:
        os._exit(status)


def finish(job: Job, folder: Path) -> None:
    """Run a program to its end.

    Raises:
        RuntimeError: It failed.
    """
    _check(job, folder, os.waitpid(start(job, folder), 0)[1])


def _check(job: Job, folder: Path, status: int) -> None:
    if os.waitstatus_to_exitcode(status):
        log = folder.with_name("log.txt").read_text()[-2000:]
        raise RuntimeError(f"{job.name} failed with status {status}:\n{log}")


def kill_at(job: Job, folder: Path, delay_s: float) -> bool:
    """Run a program and kill it after a while; tell whether it had not ended before.

    Raises:
        RuntimeError: It failed before it was killed.
    """
    pid = start(job, folder)
    deadline = time.monotonic() + delay_s
    while time.monotonic() < deadline:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            _check(job, folder, status)
            return False
        time.sleep(0.001)
    os.kill(pid, signal.SIGKILL)
    status = os.waitpid(pid, 0)[1]
    if not os.WIFSIGNALED(status):  # it ended at this very moment
        _check(job, folder, status)
    return os.WIFSIGNALED(status)


def contents(folder: Path) -> dict[str, Any]:
    """Return what every file below a folder holds, but for times; temporary files count too."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_file() and path.name != ".lock" and "tensorboard" not in name:
            found[name] = _content(path)
    return found


def _content(path: Path) -> Any:  # noqa: ANN401 - whatever can be compared
    if path.suffix == ".model":
        return _plain(torch.load(path, weights_only=True))
    if path.name == "log.csv":
        with path.open(encoding="utf-8", newline="") as file:
            return [_plain(row) for row in csv.DictReader(file)]
    if path.name == "prepared.jsonl":  # a piece may be done again after its line was written
        settings, *lines = path.read_text(encoding="utf-8").splitlines()
        return settings, {key: value for line in lines for key, value in json.loads(line).items()}
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _plain(value: Any) -> Any:  # noqa: ANN401 - what checkpoints are made of
    """Return a value so that == compares it, without times."""
    if isinstance(value, torch.Tensor):
        return value.dtype, tuple(value.shape), value.numpy().tobytes()
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items() if name not in TAKES_TIME}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


def compare(job: Job, whole: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    """Raise AssertionError that names the files which two runs do not have alike."""
    names = sorted({*whole, *found})
    wrong = [name for name in names if whole.get(name) != found.get(name)]
    if wrong:
        raise AssertionError(f"{job.name}, killed and resumed, differs in {', '.join(wrong)}")


def kill_and_resume(job: Job, root: Path, kills: int, rng: random.Random) -> dict[str, object]:
    """Kill a program so many times and compare; return what happened.

    Raises:
        AssertionError: A run that was killed and resumed left other files than an unbroken one.
        RuntimeError: The program failed.
    """
    folder = root / job.name / "work"
    folder.parent.mkdir()
    job.begin(folder)
    before = time.monotonic()
    finish(job, folder)
    length_s = time.monotonic() - before
    whole = contents(folder)
    _begin_again(job, folder)
    killed = compared = 0
    fresh = True
    while killed < kills:
        before = time.monotonic()
        if kill_at(job, folder, rng.uniform(0, LATEST * length_s)):
            killed += 1
            fresh = False
        else:
            if fresh:  # the machine may have been busy before
                length_s = min(length_s, time.monotonic() - before)
            fresh = True
            compare(job, whole, contents(folder))
            compared += 1
            _begin_again(job, folder)
    finish(job, folder)
    compare(job, whole, contents(folder))
    return {
        "program": job.name,
        "unbroken, s": round(length_s, 2),
        "kills": killed,
        "compared": compared + 1,
        "files": len(whole),
    }


def _begin_again(job: Job, folder: Path) -> None:
    shutil.rmtree(folder)
    job.begin(folder)


def main(arguments: Sequence[str] | None = None) -> int:
    """Kill all programs; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="of each program")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--only", nargs="*", default=[], help="programs: preparation, training ...")
    parser.add_argument("--json", type=Path, help="file to write the results to")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)  # threads would not survive the fork
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as root:
        make_data(Path(root) / "data")
        rows = [
            kill_and_resume(job, Path(root), options.kills, rng)
            for job in make_jobs(Path(root) / "data")
            if not options.only or job.name in options.only
        ]
    report(rows, options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
