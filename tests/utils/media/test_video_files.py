"""The videos of a folder are found by suffix, in upper or lower case."""

from pathlib import Path

from utils.media.video_files import find_videos


def test_find_videos(tmp_path: Path) -> None:
    for name in ("b.MP4", "a.mkv", "a.txt", ".hidden.mp4", "c"):
        (tmp_path / name).touch()
    assert find_videos(tmp_path) == {"a": tmp_path / "a.mkv", "b": tmp_path / "b.MP4"}
    assert find_videos(tmp_path / "none") == {}
