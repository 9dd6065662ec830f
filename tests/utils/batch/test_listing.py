"""Arguments and lists name videos; results of earlier runs are no videos."""

import io
import os
from pathlib import Path

import pytest

from utils.batch.listing import Listing, list_videos, names_many
from utils.errors import UserError


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a tree of files; it is the working folder."""
    folder = tmp_path / "archive"
    for name in ("b.mp4", "a.MKV", "notes.txt", ".hidden.mp4", "2020/c.ts", "2020/x/d.webm"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    monkeypatch.chdir(folder)
    return folder


def names(listing: Listing, folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in listing.paths]


def test_a_folder_is_searched_by_extension(archive: Path) -> None:
    listing = list_videos([archive], None, None)
    assert names(listing, archive) == ["a.MKV", "b.mp4", "2020/c.ts", "2020/x/d.webm"]
    assert listing.root == archive


def test_results_are_no_videos(archive: Path) -> None:
    for name in ("b/video_out.mp4", "b/pyavi/video.avi", "b/e.mp4", "out/b/e.mp4"):
        (archive / name).parent.mkdir(parents=True, exist_ok=True)
        (archive / name).write_text(name)
    (archive / "b/result.json").write_text("{}")
    listing = list_videos([archive], None, archive / "out")
    assert names(listing, archive) == [
        *("a.MKV", "b.mp4", "2020/c.ts", "2020/x/d.webm"),
        "b/e.mp4",  # a source in a folder of the same name
    ]


@pytest.mark.parametrize(
    ("arguments", "found", "root"),
    [
        (["b.mp4"], ["b.mp4"], "."),
        (["notes.txt"], ["notes.txt"], "."),
        (["2020/x", "b.mp4"], ["2020/x/d.webm", "b.mp4"], "."),
        (["b.mp4", "./b.mp4"], ["b.mp4"], "."),
        (["2020/**/*.webm"], ["2020/x/d.webm"], "2020"),
        (["*.mp4"], ["b.mp4"], "."),
        (["2020/x"], ["2020/x/d.webm"], "2020/x"),
        (["gone.mp4"], ["gone.mp4"], "."),
    ],
    ids=" ".join,
)
def test_arguments(archive: Path, arguments: list[str], found: list[str], root: str) -> None:
    listing = list_videos([Path(one) for one in arguments], None, None)
    assert names(listing, archive) == found
    assert listing.root == archive / root


def test_a_name_with_wildcards_is_a_name(archive: Path) -> None:
    (archive / "what[1].mp4").write_text("x")
    assert names(list_videos([Path("what[1].mp4")], None, None), archive) == ["what[1].mp4"]


@pytest.mark.parametrize("source", ["file", "stdin"])
def test_a_list(archive: Path, source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = os.fsdecode(b"\xff odd.mp4")
    content = b"\xef\xbb\xbfb.mp4\r\n\n" + os.fsencode(odd) + b"\n2020\n# c.mp4"
    path = Path("-")
    if source == "file":
        path = archive / "list.txt"
        path.write_bytes(content)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
    listing = list_videos([], path, None)
    assert names(listing, archive) == ["b.mp4", odd, "2020/c.ts", "2020/x/d.webm", "# c.mp4"]


@pytest.mark.parametrize("name", ["empty", "*.gone"])
def test_nothing_found(archive: Path, name: str) -> None:
    (archive / "empty").mkdir()
    with pytest.raises(UserError, match="found no"):
        list_videos([Path(name)], None, None)
    (archive / "list.txt").write_text("\n")
    with pytest.raises(UserError, match=r"expected videos in list\.txt, found none"):
        list_videos([], Path("list.txt"), None)


@pytest.mark.parametrize(
    ("arguments", "results", "many"),
    [
        (["b.mp4"], "out", False),
        (["b.mp4", "a.MKV"], "out", False),
        (["2020"], None, True),
        (["*.mp4"], None, True),
        (["b.mp4", "2020/b.ts"], "out", True),
        (["b.mp4", "2020/b.ts"], None, False),
        (["b.mp4", "b.mp4"], "out", False),
        ([], None, False),
    ],
    ids=str,
)
def test_names_many(archive: Path, arguments: list[str], results: str | None, many: bool) -> None:
    assert archive.is_dir()
    folder = None if results is None else Path(results)
    assert names_many([Path(one) for one in arguments], folder) is many
