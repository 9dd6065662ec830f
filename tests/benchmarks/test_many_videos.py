"""Many real videos, killed and continued, end as a serial run does; bad files cost themselves."""

import json
from pathlib import Path

import pytest

from benchmarks.batch_runs import DemoRun, compare, make_videos
from tests.programs import run_python
from utils.media.container import probe


@pytest.mark.slow
@pytest.mark.parametrize("parts", [("kills", "throughput"), ("bad",), ("changed",)], ids=" ".join)
def test_parts(parts: tuple[str, ...], tmp_path: Path) -> None:
    if "kills" in parts:
        pytest.importorskip("ray")
    table = tmp_path / "table.json"
    given = ["--videos", "6", "--rounds", "1", "--limit", "20", "--only", *parts]
    given += ["--json", str(table)]
    flags = "--model synchrony --detector tiny_fcos" + " --tries 1" * ("bad" in parts)
    done = run_python("-m", "benchmarks.many_videos", *given, f"--flags={flags}")
    assert done.returncode == 0, done.stderr[-3000:]
    serial, *rows = json.loads(table.read_text())["rows"]
    assert serial["videos"] == 6 and {row["part"] for row in rows} == set(parts)


def test_videos_share_names_between_folders(tmp_path: Path) -> None:
    make_videos(tmp_path, 5)
    found = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.mp4"))
    folders = [f"folder{number}/clip0.mp4" for number in range(4)]
    assert found == [folders[0], "folder0/clip1.mp4", *folders[1:]]
    video = probe(tmp_path / found[0])
    assert (video.width, video.height, video.has_sound) == (320, 180, True)
    assert video.duration_s == pytest.approx(2.0, abs=0.1)


def test_a_difference_is_named(tmp_path: Path) -> None:
    one, other = (DemoRun(tmp_path, tmp_path / name, ()) for name in ("one", "other"))
    for run in (one, other):
        (run.output / "a").mkdir(parents=True)
        for name in ("scores.csv", "speech.rttm", "speech.vtt"):
            (run.output / "a" / name).write_text(name)
        settings = {"outputFolder": str(run.output), "minTrack": 10}
        (run.output / "a" / "result.json").write_text(json.dumps({"settings": settings}))
    compare(one, other, ["a"])
    for name in ("scores.csv", "result.json"):
        path = tmp_path / "other" / "a" / name
        before = path.read_text()
        path.write_text('{"settings": {"outputFolder": "", "minTrack": 11}}')
        with pytest.raises(AssertionError, match=f"a: {name} differs"):
            compare(one, other, ["a"])
        path.write_text(before)
