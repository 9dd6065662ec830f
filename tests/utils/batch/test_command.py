"""Many videos: done once, tried twice, recorded, summarised, and gone on with after any kill."""

import json
import logging
import os
import random
import shlex
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from benchmarks.batch_runs import kill
from tests.made_batch import MadeWork
from tests.programs import ROOT
from utils.batch.command import plan, repeat_command, run_batch
from utils.batch.options import BatchOptions
from utils.batch.shards import Shard

TEXTS = {
    "fine.mp4": "fine 4",
    "silent.mp4": "silent 2",
    "corrupt.mp4": "corrupt",
    "x/fine.mp4": "fine 3",
    "x/corrupt.mkv": "corrupt",
    "x/again.mp4": "hang-once",
}
DRIVER = """
import sys
from pathlib import Path
from benchmarks.batch_runs import kill
from tests.made_batch import MadeWork
from utils.batch.command import plan, run_batch
from utils.batch.options import BatchOptions
options = BatchOptions(ray=sys.argv[3], workers=2 * bool(sys.argv[3]))
batch = plan([Path(sys.argv[1])], Path(sys.argv[2]), options)
sys.exit(run_batch(batch, options, MadeWork(), []))
"""


def write_all(folder: Path, texts: dict[str, str]) -> Path:
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def run(source: Path, out: Path, work: MadeWork | None = None, **options: Any) -> int:
    given = BatchOptions(**options)
    batch = plan([source], out, given)
    return run_batch(batch, given, work or MadeWork(), [str(source), "--model", "lr_asd"])


def states(out: Path) -> dict[str, dict[str, Any]]:
    """Return the last line of each video by its name."""
    lines = [json.loads(line) for line in (out / "status.jsonl").read_text().splitlines()]
    return {os.path.relpath(line["results"], out): line for line in lines}


def test_a_batch_and_its_repetition(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.INFO)
    source, out = write_all(tmp_path / "in", TEXTS), tmp_path / "out"
    assert run(source, out, timeout=5.0) == 1
    found = states(out)
    assert {name: (line["state"], line["tries"]) for name, line in found.items()} == {
        "fine": ("done", 1),
        "silent": ("done", 1),
        "corrupt": ("failed", 2),
        "x/fine": ("done", 1),
        "x/corrupt": ("failed", 2),
        "x/again": ("done", 2),
    }
    assert found["silent"]["warnings"] == ["silent"]
    assert found["x/corrupt"]["error"] == f"{source / 'x/corrupt.mkv'}: no video"
    assert found["fine"]["real_time_factor"] == round(found["fine"]["seconds"] / 4, 4)
    assert found["fine"]["versions"]["python"] == sys.version.split()[0]
    printed = capsys.readouterr().out.splitlines()
    assert sorted(printed) == sorted(
        str(out / name / "result.json") for name, line in found.items() if line["state"] == "done"
    )
    assert caplog.messages[-3].startswith("4 done") and "0 skipped, 2 failed" in caplog.messages[-3]
    assert caplog.messages[-2].startswith("  2 failed: FILE: no video: ")
    failed = out / "failed.txt"
    words = ["python", "demoTalkNet.py", "--list", failed, "--outputFolder", out]
    command = shlex.join([*map(str, words), "--model", "lr_asd"])
    assert caplog.messages[-1] == f"to repeat only those that failed: {command}"
    assert failed.read_text().splitlines() == [
        *(str(source / name) for name in ("corrupt.mp4", "x/corrupt.mkv"))
    ]
    # mended, they are made; nothing else is, and the states of the others stay
    for name in ("corrupt.mp4", "x/corrupt.mkv"):
        (source / name).write_text("fine 1")
    before = {path: path.stat().st_mtime_ns for path in out.rglob("result.json")}
    num_lines = len((out / "status.jsonl").read_text().splitlines())
    options = BatchOptions(list=failed)
    assert run_batch(plan([], out, options), options, MadeWork(), []) == 0
    assert run(source, out) == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert {line["state"] for line in states(out).values()} == {"done"}
    assert len((out / "status.jsonl").read_text().splitlines()) == num_lines + 2
    assert not failed.exists()


def test_changes_make_results_anew(tmp_path: Path) -> None:
    source, out = write_all(tmp_path / "in", {"a.mp4": "fine", "b.mp4": "fine"}), tmp_path / "out"
    weights = tmp_path / "weights"
    weights.write_text("one")
    made = []
    for work, redo in (
        (MadeWork("a", weights=weights), False),
        (MadeWork("a", weights=weights), False),  # as before
        (MadeWork("b", weights=weights), False),
        (MadeWork("b", weights=weights), True),
    ):
        assert run(source, out, work, redo=redo) == 0
        made.append(Counter(lines(out))[str(source / "a.mp4")])
    weights.write_text("two")
    run(source, out, MadeWork("b", weights=weights))
    (source / "a.mp4").write_text("fine 2")
    run(source, out, MadeWork("b", weights=weights))
    made += Counter(lines(out)).values()
    assert made == [1, 1, 2, 3, 5, 4]
    assert (out / "a/result.json").read_text() == "fine 2 b two result.json"


def lines(out: Path) -> list[str]:
    text = (out / "status.jsonl").read_text()
    return [json.loads(line)["path"] for line in text.splitlines()]


def test_further_outputs_alone(tmp_path: Path) -> None:
    source, out = write_all(tmp_path / "in", {"a.mp4": "fine"}), tmp_path / "out"
    run(source, out)
    before = (out / "a/result.json").stat().st_mtime_ns
    more = MadeWork(outputs=("result.json", "video_out.mp4"))
    run(source, out, more)
    assert (out / "a/video_out.mp4").read_text() == "fine a no weights video_out.mp4"
    assert (out / "a/result.json").stat().st_mtime_ns == before
    run(source, out, more)
    assert len(lines(out)) == 2


def test_shards_cover_everything_once(tmp_path: Path) -> None:
    texts = {f"{number % 3}/{number}.mp4": "fine" for number in range(12)}
    source, out = write_all(tmp_path / "in", texts), tmp_path / "out"
    for number in (1, 2):
        assert run(source, out, shard=f"{number}/2") == 0
    found = [
        json.loads(line)["path"]
        for path in sorted(out.glob("status-*of2.jsonl"))
        for line in path.read_text().splitlines()
    ]
    assert sorted(found) == sorted(str(source / name) for name in texts)
    assert run(write_all(tmp_path / "one", {"a.mp4": "fine"}), tmp_path / "o", shard="1/2") == 0
    assert Shard(2, 2).holds("a.mp4") == (not (tmp_path / "o/a").exists())


def test_a_killed_driver_goes_on(tmp_path: Path) -> None:
    kill_and_go_on(tmp_path, "", num_videos=40, rounds=2)


def kill_and_go_on(tmp_path: Path, ray: str, num_videos: int, rounds: int) -> None:
    """Kill a worker, then the driver or everything, at random moments; then let it end."""
    texts = {f"{number % 3}/{number}.mp4": f"slow {number}" for number in range(num_videos)}
    source, out = write_all(tmp_path / "in", texts), tmp_path / "out"
    rng = random.Random(1)
    before: dict[Path, int] = {}
    step = max(1, num_videos // (2 * rounds + 1))
    for number in range(rounds):
        driver = start(source, out, ray)
        for victim in ("worker", ("driver", "all")[number % 2]):
            goal = min(num_videos - 1, len(whole(out)) + rng.randint(1, step))
            while len(whole(out)) < goal:
                assert driver.poll() is None, "it ended before it was killed"
                time.sleep(0.02)
            kill(driver.pid, victim)
        driver.wait()
        assert before.items() <= whole(out).items()  # what was whole was not made again
        before = whole(out)
    assert start(source, out, ray).wait() == 0
    assert before.items() <= whole(out).items()
    for name, text in texts.items():
        result = out / Path(name).with_suffix("") / "result.json"
        assert result.read_text() == f"{text} a no weights result.json"
        assert [path.name for path in result.parent.iterdir() if path.name.startswith(".")] == []
    states = [json.loads(line) for line in (out / "status.jsonl").read_text().splitlines()]
    assert max(Counter(one["path"] for one in states if one["state"] == "done").values()) == 1
    assert {one["path"] for one in states} == {str(source / name) for name in texts}


def whole(out: Path) -> dict[Path, int]:
    """Return when each whole result was made."""
    return {
        path: path.stat().st_mtime_ns
        for path in out.rglob("result.json")
        if path.with_name("made_from.json").exists()
    }


def start(source: Path, out: Path, ray: str) -> "subprocess.Popen[bytes]":
    given = [sys.executable, "-c", DRIVER, str(source), str(out), ray]
    nothing = subprocess.DEVNULL
    return subprocess.Popen(given, cwd=ROOT, stdout=nothing, stderr=nothing)


def test_repeat_command(tmp_path: Path) -> None:
    write_all(tmp_path / "in", {"a.mp4": "fine"})
    options = BatchOptions(shard="1/1")
    source, out = tmp_path / "in", tmp_path / "my out"
    batch = plan([source], out, options)
    given = [f"{source}/", "--shard=1/1", "--outputFolder", str(out), "--redo", "--model", "x y"]
    expected = ["--list", str(out / "failed.txt"), "--outputFolder", str(out), "--model", "x y"]
    assert repeat_command(batch, given) == shlex.join(["python", "demoTalkNet.py", *expected])
