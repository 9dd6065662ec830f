"""A finished result gives every output again without a network, from its video wherever it lies."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import av
import pytest

from demoTalkNet import main
from tests.made_report import tracked_video
from utils.output.results import ModelRecord, Result
from utils.report.edits import Draw, Edits, Rename, fingerprint
from utils.structures import Person

TABLES = {"scores.csv", "speech.csv", "speech.rttm", "speech.vtt", "people.csv", "timeline.png"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Write a result.json beside whose folder its video lies."""
    result = tracked_video(tmp_path / "a.mp4")
    result.write_json(tmp_path / "a" / "result.json")
    return tmp_path / "a" / "result.json"


def written(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {"result.json"}


def error(caplog: pytest.LogCaptureFixture) -> str:
    (message,) = [one.getMessage() for one in caplog.records if one.levelname == "ERROR"]
    return message


def test_all_outputs(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = path.read_bytes()
    assert main([str(path)]) == 0
    assert capsys.readouterr().out == f"{path}\n"
    assert written(path.parent) == {*TABLES, "report.html", "video_out.mp4"}
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("flags", "outputs"),
    [
        (["--noVideo"], {*TABLES, "report.html"}),
        (["--noVideo", "--noReport"], TABLES),
        (["--noReport"], {*TABLES, "video_out.mp4"}),
        (["--proxy", "--noVideo"], {*TABLES, "report.html"}),  # browsers play the source
    ],
    ids=["no video", "tables only", "no report", "proxy"],
)
def test_outputs_that_are_asked_for(path: Path, flags: list[str], outputs: set[str]) -> None:
    assert main([str(path), *flags]) == 0
    assert written(path.parent) == outputs


def test_tracks_instead_of_people(path: Path, tmp_path: Path) -> None:
    """Tables name tracks; people.csv and the report, whose edits belong to people, do not."""
    people = [Person(0, "Ann Lee", (0,))]
    formed = replace(Result.read_json(path), embedder=ModelRecord("face_reid"))
    formed.with_people(people).write_json(path)
    mark = fingerprint(Result.read_json(path))
    Edits((Draw(0, 100, 110), Draw("offscreen", 80, 90)), 0.0, mark).write_json(tmp_path / "e.json")
    flags = ["--perTrack", "--noVideo", "--edits", str(tmp_path / "e.json")]
    assert main([str(path), *flags]) == 0
    assert (path.parent / "speech.rttm").read_text() == (
        "SPEAKER a 1 1.000 2.000 <NA> <NA> face_0 <NA> <NA>\n"
        "SPEAKER a 1 4.000 0.400 <NA> <NA> face_0 <NA> <NA>\n"
    )
    assert "\n0,Ann Lee," in (path.parent / "people.csv").read_text()
    report = (path.parent / "report.html").read_text()
    assert '"name":"Ann Lee"' in report and f'"result":"{mark}"' in report
    assert main([str(path), "--noVideo"]) == 0
    assert "Ann_Lee" in (path.parent / "speech.rttm").read_text()


def test_another_folder_is_complete(path: Path, tmp_path: Path) -> None:
    assert main([str(path), "--noVideo", "--outputFolder", str(tmp_path / "out")]) == 0
    assert written(path.parent) == set()
    assert written(tmp_path / "out" / "a") == {*TABLES, "report.html"}
    assert (tmp_path / "out" / "a" / "result.json").read_bytes() == path.read_bytes()


def test_edits_reach_the_outputs(path: Path, tmp_path: Path) -> None:
    mark = fingerprint(Result.read_json(path))
    Edits((Rename(0, "Ann Lee"), Draw(0, 100, 110)), 0.0, mark).write_json(tmp_path / "edits.json")
    assert main([str(path), "--noVideo", "--edits", str(tmp_path / "edits.json")]) == 0
    assert (path.parent / "speech.rttm").read_text() == (
        "SPEAKER a 1 1.000 2.000 <NA> <NA> Ann_Lee <NA> <NA>\n"
        "SPEAKER a 1 4.000 0.400 <NA> <NA> Ann_Lee <NA> <NA>\n"
    )
    assert "<v Ann Lee>Ann Lee\n" in (path.parent / "speech.vtt").read_text()
    assert "Ann Lee,4.000,4.400,0.400,0,0,-2.5000\n" in (path.parent / "speech.csv").read_text()
    assert '"name":"Ann Lee"' in (path.parent / "report.html").read_text()
    assert main([str(path), "--noVideo"]) == 0  # the result itself has not changed
    assert "face_0" in (path.parent / "speech.rttm").read_text()


def test_edited_names_reach_the_timeline_and_the_marked_video(path: Path, tmp_path: Path) -> None:
    edits = {"plain": (), "named": (Rename(0, "Ann Lee"),)}
    images = {}
    for name, made in edits.items():
        Edits(made).write_json(tmp_path / "edits.json")
        given = ["--edits", str(tmp_path / "edits.json"), "--outputFolder", str(tmp_path / name)]
        assert main([str(path), *given, "--noReport"]) == 0
        with av.open(str(tmp_path / name / "a" / "video_out.mp4")) as container:
            frame = next(container.decode(video=0)).to_ndarray(format="gray")
        images[name] = ((tmp_path / name / "a" / "timeline.png").read_bytes(), frame.tobytes())
    assert images["plain"][0] != images["named"][0]
    assert images["plain"][1] != images["named"][1]


def moved_together(path: Path, folder: Path) -> Path:
    shutil.move(path.parent.parent / "a.mp4", folder / "a.mp4")
    return Path(shutil.move(path.parent, folder / "a")) / "result.json"


def moved_into_the_folder(path: Path, folder: Path) -> Path:
    shutil.move(path.parent.parent / "a.mp4", path.parent / "a.mp4")
    return Path(shutil.move(path.parent, folder / "b")) / "result.json"


@pytest.mark.parametrize("move", [moved_together, moved_into_the_folder])
def test_a_video_that_moved_with_its_result(path: Path, tmp_path: Path, move: object) -> None:
    (tmp_path / "else").mkdir()
    moved = move(path, tmp_path / "else")  # type: ignore[operator]
    assert main([str(moved), "--noVideo"]) == 0


def test_a_result_in_a_tree_that_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The recorded path is relative to the folder that the command ran in."""
    before = tmp_path / "before"
    (before / "films").mkdir(parents=True)
    monkeypatch.chdir(before)
    result = tracked_video(Path("films/a.mp4"))
    result = replace(result, settings={"outputFolder": "results/all"})
    result.write_json(before / "results" / "all" / "a" / "result.json")
    shutil.move(before, tmp_path / "after")
    monkeypatch.chdir(tmp_path)
    assert main([str(tmp_path / "after/results/all/a/result.json"), "--noVideo"]) == 0


def test_a_video_that_is_gone(path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    video = Path(shutil.move(tmp_path / "a.mp4", tmp_path / "b.mp4"))
    assert main([str(path)]) == 1
    assert "found no file there" in error(caplog) and "--video FILE" in error(caplog)
    assert written(path.parent) == set()
    assert main([str(path), "--noVideo", "--noReport"]) == 0
    assert main([str(path), "--noVideo", "--video", str(video)]) == 0
    assert '"address":"../b.mp4"' in (path.parent / "report.html").read_text()


def test_another_video_is_refused(
    path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tracked_video(tmp_path / "late.mp4", late_s=3)
    assert main([str(path), "--noVideo", "--video", str(tmp_path / "late.mp4")]) == 1
    assert "expected the video of the result, 640 x 360 and 5.0 s long" in error(caplog)


def test_the_published_tree_needs_the_analysis(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert main([str(path), "--officialTree"]) == 1
    assert "--officialTree needs every detection" in error(caplog)


def test_people_or_tracks(path: Path) -> None:
    result = Result.read_json(path).with_people([Person(7, "Ann", (0,))])
    replace(result, embedder=ModelRecord("made")).write_json(path)
    for flags, word in (([], "Ann"), (["--perTrack"], "face_0")):
        assert main([str(path), "--noVideo", "--noReport", *flags]) == 0
        assert f" {word} " in (path.parent / "speech.rttm").read_text()


@pytest.mark.parametrize("flag", ["--edits", "--video"])
def test_edits_need_a_result(tmp_path: Path, flag: str, caplog: pytest.LogCaptureFixture) -> None:
    assert main([str(tmp_path / "a.mp4"), flag, "x"]) == 1
    assert "belong to a finished result" in error(caplog)


def test_edits_of_another_result(
    path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Edits(result="0" * 16).write_json(tmp_path / "edits.json")
    assert main([str(path), "--edits", str(tmp_path / "edits.json")]) == 1
    assert "corrects another result" in error(caplog)
    assert written(path.parent) == set()


def test_a_source_that_browsers_do_not_play(tmp_path: Path) -> None:
    """The report plays the marked video, or with --proxy one without marks."""
    result = tracked_video(tmp_path / "a.mkv")
    path = tmp_path / "a" / "result.json"
    replace(result, settings={"start": 1.0, "duration": 2.0}).write_json(path)

    def facts() -> list[object]:
        text = (path.parent / "report.html").read_text().split('id="result">\n')[1]
        video = json.loads(text.split("</script>")[0])["video"]
        return [video[name] for name in ("kind", "address", "start_s", "playable")]

    assert main([str(path), "--noVideo"]) == 0
    assert facts() == ["source", "../a.mkv", 0.0, False]
    assert main([str(path)]) == 0
    assert facts() == ["marked", "video_out.mp4", 1.0, True]
    assert main([str(path), "--noVideo", "--proxy"]) == 0
    assert facts() == ["proxy", "proxy.mp4", 1.0, True]
    with av.open(str(path.parent / "proxy.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.width, stream.frames) == ("h264", 640, 50)
