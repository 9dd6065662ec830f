"""A result that is whole and current is not made again; any change makes it anew."""

import os
from pathlib import Path

import pytest

from utils.batch.records import RECORD, Missing, SourceVersion, find_missing, write_record

FILES = ("result.json", "speech.vtt")
IDENTITY = {"threshold": 27.0, "network": {"sha256": "ab"}, "cuts": None}


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "a.mp4"
    path.write_text("video")
    return path


@pytest.fixture
def folder(tmp_path: Path, video: Path) -> Path:
    """Make the results of the video, with a record."""
    path = tmp_path / "a"
    path.mkdir()
    for name in FILES:
        (path / name).write_text(name)
    write_record(path, SourceVersion.of(video), IDENTITY, FILES)
    return path


def missing(folder: Path, video: Path, **changes: object) -> Missing:
    return find_missing(folder, SourceVersion.of(video), {**IDENTITY, **changes}, FILES)


def test_nothing_is_missing(folder: Path, video: Path) -> None:
    assert missing(folder, video) == Missing(True, (), "")


def test_a_changed_setting(folder: Path, video: Path) -> None:
    assert missing(folder, video, threshold=30.0) == Missing(False, FILES, "changed: threshold")
    assert missing(folder, video, new=1) == Missing(False, FILES, "changed: new")


def test_changed_weights(folder: Path, video: Path) -> None:
    assert missing(folder, video, network={"sha256": "cd"}).reason == "changed: network"


def test_a_changed_file(folder: Path, video: Path) -> None:
    os.utime(video, ns=(1, 1))
    assert missing(folder, video).reason == "changed: the file"
    video.write_text("longer video")
    assert missing(folder, video).files == FILES


def test_an_output_that_is_gone_or_another(folder: Path, video: Path) -> None:
    (folder / "speech.vtt").unlink()
    assert missing(folder, video) == Missing(True, ("speech.vtt",), "wanted too: speech.vtt")
    (folder / "result.json").write_text("of another run")
    assert not missing(folder, video).finished


@pytest.mark.parametrize("text", [None, "", "{", "[]", "{}", '{"source": {}}'])
def test_no_record_or_a_damaged_one(folder: Path, video: Path, text: str | None) -> None:
    (folder / RECORD).unlink() if text is None else (folder / RECORD).write_text(text)
    assert missing(folder, video) == Missing(False, FILES, "new")


def test_a_further_output_keeps_the_others(folder: Path, video: Path) -> None:
    source = SourceVersion.of(video)
    (folder / "video_out.mp4").write_text("marked")
    write_record(folder, source, IDENTITY, ["video_out.mp4"])
    more = (*FILES, "video_out.mp4")
    assert find_missing(folder, source, IDENTITY, more) == Missing(True, (), "")


def test_an_output_that_was_not_written(folder: Path, video: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_record(folder, SourceVersion.of(video), IDENTITY, ["gone.csv"])
