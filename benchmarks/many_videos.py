"""Many short videos, killed and continued: python -m benchmarks.many_videos --videos 200.

Each part runs demoTalkNet.py as a user does, on clips of the demo video (320 x 180, 2 s):

serial      one process of one thread; what the other parts are compared with
kills       Ray's workers; one worker, the driver, then all processes are killed at random moments
            and the same command is started again, until it ends
bad         the same with a corrupt, a silent, an endless and a hanging file among the videos
changed     the same command with another setting: all results are made anew
throughput  one process of as many threads as there are cores against as many workers of one thread

POSIX only.
"""

import argparse
import random
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from benchmarks.batch_runs import DemoRun, bad_files, compare, kill, make_videos
from benchmarks.measure import report
from utils.processor import num_cores


def run_serial(run: DemoRun) -> dict[str, object]:
    """Run one process of one thread."""
    before, begun = _cpu_s(), time.monotonic()
    run.check(run.finish())
    states = run.states()
    memory = [line["memory_mb"] for line in states]
    return {
        "part": "serial",
        "videos": len(states),
        "wall, s": time.monotonic() - begun,
        "CPU s for each s of video": (_cpu_s() - before) / sum(one["video_s"] for one in states),
        "memory after a tenth, MB": memory[len(memory) // 10],
        "memory at the end, MB": memory[-1],
    }


def _cpu_s() -> float:
    """Return the processor time of all processes that were started and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run_killed(serial: DemoRun, run: DemoRun, rounds: int, rng: random.Random) -> dict[str, object]:
    """Kill a run at random moments, continue it, and compare it with a serial one.

    Each round kills a worker, later the driver or all processes.
    """
    names = sorted(serial.whole())
    step = max(1, len(names) // (2 * rounds + 1))
    before: dict[str, int] = {}
    for number in range(rounds):
        driver = run.start()
        for victim in ("worker", ("driver", "all")[number % 2]):
            goal = min(len(names) - 1, len(run.whole()) + rng.randint(1, step))
            while len(run.whole()) < goal:
                assert driver.poll() is None, run.log()
                time.sleep(0.1)
            kill(driver.pid, victim)
        driver.wait()
        assert before.items() <= run.whole().items(), "a result was made twice"
        before = run.whole()
    run.check(run.finish())
    assert before.items() <= run.whole().items(), "a result was made twice"
    done = Counter(line["path"] for line in run.states() if line["state"] == "done")
    assert max(done.values()) == 1, "a video was done twice"
    assert sorted(run.whole()) == names, "a result is missing"
    assert not list(run.output.rglob(".*.json")), "a temporary file is left"
    compare(serial, run, names)
    return {"part": "kills", "videos": len(names), "kills": 2 * rounds, "identical": len(names)}


def run_bad(serial: DemoRun, run: DemoRun, limit_s: float) -> dict[str, object]:
    """Run with bad files among the videos, each within a limit; the others must not notice."""
    with bad_files(run.source) as expected:
        flags = ("--list", str(expected.pop("list")), "--timeout", str(limit_s), *run.flags)
        status = replace(run, flags=flags).finish()
    assert status == 1, run.log()
    found = {Path(line["path"]).stem: line for line in run.states()}
    assert {name: found[name]["state"] for name in expected} == expected
    names = sorted(serial.whole())
    assert {name for name in run.whole() if "silent" not in name} == set(names)
    compare(serial, run, names)
    return {"part": "bad", "videos": len(names)} | {
        f"{name}, s": found[name]["seconds"] for name in expected
    }


def run_changed(run: DemoRun) -> dict[str, object]:
    """Run a finished batch again, as it is and with another setting."""
    before = run.whole()
    run.check(run.finish())
    assert run.whole() == before, "something was made that was done"
    other = replace(run, flags=(*run.flags, "--minTrack", "11"))
    run.check(other.finish())
    after = run.whole()
    assert not set(before.items()) & set(after.items()), "a result is of the earlier setting"
    return {"part": "changed", "videos": len(after), "made anew": len(after)}


def run_throughput(source: Path, folder: Path, flags: tuple[str, ...]) -> list[dict[str, object]]:
    """Time one process of all cores against one worker of one thread for each core."""
    cores = num_cores()
    workers = ("--ray", "local", "--workers", str(cores))
    runs = {
        f"1 process of {cores} threads": DemoRun(source, folder / "threads", flags, cores),
        f"{cores} workers of 1 thread": DemoRun(source, folder / "workers", (*flags, *workers)),
    }
    rows: list[dict[str, object]] = []
    for name, run in runs.items():
        run.check(run.finish())
        states = run.states()
        times = [datetime.fromisoformat(line["time"]) for line in states]
        wall_s = (times[-1] - times[0]).total_seconds()  # without loading the models
        video_s = sum(line["video_s"] for line in states[1:])
        row = {"part": "throughput", "how": name, "videos": len(states)}
        rows.append(row | {"s of video for each s": video_s / wall_s})
    return rows


def make_rows(options: argparse.Namespace, folder: Path) -> Iterator[dict[str, object]]:
    """Yield a row for each part."""
    source = folder / "videos"
    make_videos(source, options.videos)
    flags = tuple(options.flags.split())
    workers = ("--ray", "local", "--workers", str(options.workers))
    serial = DemoRun(source, folder / "serial", flags)
    killed = DemoRun(source, folder / "killed", (*flags, *workers))
    bad = DemoRun(source, folder / "bad", flags)
    yield run_serial(serial)
    parts: dict[str, Callable[[], list[dict[str, object]]]] = {
        "kills": lambda: [run_killed(serial, killed, options.rounds, random.Random(options.seed))],
        "bad": lambda: [run_bad(serial, bad, options.limit)],
        "changed": lambda: [run_changed(serial)],
        "throughput": lambda: run_throughput(source, folder, flags),
    }
    for name, part in parts.items():
        if not options.only or name in options.only:
            yield from part()


def default_flags() -> str:
    """Return the fast models with released weights if they are here, else the bundled ones."""
    from model.checkpoints.registry import default_checkpoint, find_weights

    here = all(find_weights(default_checkpoint(name).name) for name in ("lr_asd", "yunet"))
    return "--model lr_asd --detector yunet" if here else "--model synchrony --detector tiny_fcos"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all parts; return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--videos", type=int, default=200)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3, help="two kills each")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--limit", type=float, default=60, help="s, of a video where some are bad")
    parser.add_argument("--only", nargs="*", default=[], help="parts besides serial")
    parser.add_argument("--flags", default=default_flags(), help="of the demo (%(default)s)")
    parser.add_argument("--json", type=Path, help="file to write the results to")
    options = parser.parse_args(arguments)
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as folder:
        for row in make_rows(options, Path(folder)):
            rows.append(row)
            report([row], None)
    report(rows, options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
