"""report.html is one file that holds the whole result and asks for nothing else."""

import base64
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.made_report import RED, made_result, tracked_video
from tests.made_video import write_video
from utils.output.results import Result
from utils.output.thumbnails import from_text
from utils.report.edits import Edits, Rename
from utils.report.page import PAGE, SCRIPTS, write_report
from utils.report.page_video import PageVideo, is_playable


def report(folder: Path, result: Result, **settings: Any) -> str:
    """Return the text of a report."""
    video = settings.pop("video", PageVideo("source", folder / "a.mp4"))
    write_report(result, folder, video, settings.pop("edits", Edits()), **settings)
    return (folder / "report.html").read_text(encoding="utf-8")


def data_of(text: str) -> Any:
    return json.loads(text.split('id="result">\n')[1].split("</script>", maxsplit=1)[0])


def test_boxes_and_scores_come_back(tmp_path: Path) -> None:
    result = made_result()
    data = data_of(report(tmp_path, result))
    for part, track in zip(data["tracks"], result.tracks, strict=True):
        boxes = np.cumsum(part["boxes"], axis=1).T / data["box_units"]
        np.testing.assert_allclose(boxes, track.boxes, atol=0.126)
        scores = np.cumsum(part["scores"]) / data["score_units"]
        np.testing.assert_allclose(scores, track.scores, atol=1e-6)
        assert (part["id"], part["start"], part["length"]) == (track.id, track.start, len(scores))
        assert base64.b64decode(part["thumbnail"]).startswith(b"\xff\xd8")


def test_what_the_page_knows(tmp_path: Path) -> None:
    edits = Edits((Rename(1, "Eve"),), 0.25)
    data = data_of(report(tmp_path, made_result(), edits=edits))
    assert (data["start_s"], data["stop_s"], data["formed"]) == (0.0, 62.0, True)
    assert data["shots"] == [[0, 490], [490, 900], [900, 1550]]
    person = {"id": 2, "name": None, "tracks": [3], "uncertain": True, "thumbnail": None}
    assert data["people"][2] == person
    face = from_text(data["people"][3]["thumbnail"], "person 3", colour=True)
    assert face.shape == (96, 96, 3)
    assert np.abs(face.astype(int) - RED).max() < 8
    assert data["offscreen"][0] == {"start_s": 19.6, "stop_s": 20.0, "score": 0.5}
    assert data["edits"] == [{"edit": "rename", "person": 1, "name": "Eve"}]
    assert data["threshold"] == 0.25
    assert data["video"]["address"] == "a.mp4"


def test_nothing_is_fetched(tmp_path: Path) -> None:
    text = report(tmp_path, made_result())
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe-eval" not in policy and "http" not in policy
    outside = set(re.findall(r"\w+://[^\s\"']+", text)) - {"http://www.w3.org/2000/svg"}
    assert outside == set()
    assert not re.search(r"<(link|script|img|iframe)[^>]*(src|href)=", text)


def test_every_script_is_in_the_page() -> None:
    assert sorted(f"{name}.js" for name in SCRIPTS) == sorted(
        path.name for path in PAGE.glob("*.js")
    )


@pytest.mark.parametrize(
    "name", ["</script><script>alert(1)</script>", "<!--", 'it\'s "é" 日本 #?%', "bad \udcff"]
)
def test_names_are_only_names(tmp_path: Path, name: str) -> None:
    result = made_result(path=f"videos/{name}.mp4")
    text = report(tmp_path, result, video=PageVideo("source", tmp_path / f"{name}.mp4"))
    data = data_of(text)
    assert data["video"]["name"] == Path(f"{name}.mp4").name
    assert text.count("<script>") == len(SCRIPTS)
    assert re.fullmatch(r"[\w./%~-]+", data["video"]["address"])


def test_the_video_can_be_inside(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(bytes(range(256)) * 20_000)
    text = report(tmp_path, made_result(), embed=True)
    parts = re.findall(r'<script type="text/plain" class="video-part">(.*?)</script>', text)
    assert len(parts) == 2
    assert b"".join(map(base64.b64decode, parts)) == (tmp_path / "a.mp4").read_bytes()


def test_a_result_without_faces(tmp_path: Path) -> None:
    data = data_of(report(tmp_path, replace(made_result(), tracks=[], people=[], shots=[])))
    assert (data["tracks"], data["start_s"], data["stop_s"]) == ([], 0.0, 62.0)


@pytest.mark.parametrize(
    ("name", "settings", "playable"),
    [
        ("a.mp4", {}, True),
        ("a.MP4", {}, True),
        ("a.webm", {"codec": "libvpx-vp9"}, True),
        ("a.mkv", {}, False),
        ("a.mov", {}, False),
        ("a.mp4", {"codec": "mpeg4"}, False),
        ("a.mp4", {"pix_fmt": "yuv444p"}, False),
        ("a.mp4", {"audio_codec": "mp2"}, False),
    ],
    ids=str,
)
def test_what_browsers_play(
    tmp_path: Path, name: str, settings: dict[str, Any], playable: bool
) -> None:
    path = tmp_path / name
    made = path.with_suffix(path.suffix.lower())
    frames = (np.full((64, 96, 3), 20 * index, np.uint8) for index in range(5))
    write_video(made, frames, sound=np.zeros(16000, np.int16), **settings)
    made.rename(path)
    assert is_playable(path) is playable


def test_a_video_elsewhere_has_a_relative_address(tmp_path: Path) -> None:
    folder = tmp_path / "out" / "a b"
    folder.mkdir(parents=True)
    result = tracked_video(tmp_path / "a.mp4")
    data = data_of(report(folder, result, video=PageVideo("source", tmp_path / "a.mp4")))
    assert data["video"]["address"] == "../../a.mp4"
