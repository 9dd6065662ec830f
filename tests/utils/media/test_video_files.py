"""The videos of a folder are found by suffix, in upper or lower case."""

from pathlib import Path

import pytest

from utils.media.video_files import find_named, find_videos


def test_find_videos(tmp_path: Path) -> None:
    for name in ("b.MP4", "a.mkv", "a.txt", ".hidden.mp4", "c"):
        (tmp_path / name).touch()
    assert find_videos(tmp_path) == {"a": tmp_path / "a.mkv", "b": tmp_path / "b.MP4"}
    assert find_videos(tmp_path / "none") == {}


@pytest.mark.parametrize(
    ("name", "found"),
    [("a", "a.mkv"), ("a.txt", "a.txt"), ("d", "d.ts"), ("c.d", "c.d.mp4"), ("e", "e")],
    ids=["beside other files", "with its suffix", "any suffix", "with a dot", "without a suffix"],
)
def test_find_named(tmp_path: Path, name: str, found: str) -> None:
    for file in ("a.mkv", "a.txt", "a.json", "d.ts", "c.d.mp4", "e"):
        (tmp_path / file).touch()
    (tmp_path / "d").mkdir()
    assert find_named(tmp_path, name) == tmp_path / found


def test_find_named_is_never_a_guess(tmp_path: Path) -> None:
    for file in ("a.mkv", "a.mp4"):
        (tmp_path / file).touch()
    with pytest.raises(FileNotFoundError, match=r"one video named 'a' in .*a\.mkv, a\.mp4; give"):
        find_named(tmp_path, "a")
    with pytest.raises(FileNotFoundError, match=r"one video named 'b' in .*no such file; give"):
        find_named(tmp_path, "b")
    with pytest.raises(FileNotFoundError, match="expected the folder of --videoFolder"):
        find_named(tmp_path / "none", "a")
