"""Download from a local server: complete files, resuming, and reports of failures."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.made_ava import Movie, archive, table, write_movie
from tests.made_mirror import Mirror, serving
from utils.datasets.ava.dataset import AvaFolder, AvaSplit
from utils.datasets.ava.download import download, read_list
from utils.datasets.ava.labels import AvaMirrors, download_labels
from utils.datasets.ava.prepare import AvaPrepareOptions, prepare
from utils.errors import ResourceError, UserError

GOOD, BROKEN, GONE, UNLISTED, VAL, OTHER = (
    Movie(f"video_no_{number:02}", faces=((0.4, 2.4),)) for number in range(6)
)
TABLES = ("train", "val")
LIST = "/movies/annotations/ava_file_names_trainval_v2.1.txt"


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[AvaMirrors]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving() as address:
        for movie in (GOOD, VAL, OTHER):
            write_movie(movie, tmp_path / "made" / movie.file)
            path = f"/movies/trainval/{movie.file}"
            Mirror.files[path] = (tmp_path / "made" / movie.file).read_bytes()
        Mirror.files[f"/movies/trainval/{BROKEN.file}"] = b"0123456789" * 5000
        listed = [movie.file for movie in (GOOD, BROKEN, GONE, VAL, OTHER)]
        Mirror.files[LIST] = "\n".join(listed).encode()
        train, val = archive([GOOD, BROKEN, GONE, UNLISTED], "train"), archive([VAL], "val")
        Mirror.files["/labels/ava_activespeaker_train_v1.0.tar.bz2"] = train
        Mirror.files["/labels/ava_activespeaker_val_v1.0.tar.bz2"] = val
        md5 = {"train": hashlib.md5(train).hexdigest()}
        yield AvaMirrors(f"{address}/movies", f"{address}/labels", md5)


def quiet(name: str, done: int, total: int | None) -> None:
    """Report nothing."""


def fetched_paths() -> list[tuple[str, str | None]]:
    return [(path, part) for command, path, part in Mirror.asked if command == "GET"]


def test_available_movies_are_downloaded_and_others_reported(
    tmp_path: Path, mirror: AvaMirrors
) -> None:
    report = download(tmp_path, quiet, sources=mirror)
    assert sorted(report.fetched) == [GOOD.file, VAL.file] and report.already == []
    assert report.gone == {
        GONE.file: "HTTP 404",
        UNLISTED.name: "it is not on the mirror's list of movies",
    }
    assert list(report.broken) == [BROKEN.file] and report.failed == {}
    folder = AvaFolder(tmp_path)
    assert sorted(path.name for path in folder.videos("train").iterdir()) == [GOOD.file, VAL.file]
    assert folder.labels("val").read_text().splitlines()[1:] == table([VAL]).splitlines()
    saved = json.loads((tmp_path / "download_report.json").read_text())
    assert saved["gone"] == report.gone and saved["fetched"] == report.fetched
    text = (tmp_path / "download_report.txt").read_text()
    assert f"gone {GONE.file}: HTTP 404" in text and "0 failed" in text

    Mirror.asked.clear()
    again = download(tmp_path, quiet, sources=mirror)
    assert sorted(again.already) == [GOOD.file, VAL.file]
    assert fetched_paths() == [(f"/movies/trainval/{BROKEN.file}", None)]

    for split in ("train", "val"):
        assert prepare(tmp_path, split, AvaPrepareOptions(num_processes=1)).written == 1
        assert len(AvaSplit(tmp_path, split).entities) == 1
    assert len(AvaSplit(tmp_path, "train").missing) == 3


def test_http_errors(tmp_path: Path, mirror: AvaMirrors) -> None:
    codes = {GOOD: 403, BROKEN: 410, GONE: 404, VAL: 500}
    Mirror.errors = {f"/movies/trainval/{movie.file}": code for movie, code in codes.items()}
    report = download(tmp_path, quiet, sources=mirror)
    assert report.failed == {GOOD.file: "HTTP 403, access denied", VAL.file: "HTTP 500"}
    assert report.gone == {
        BROKEN.file: "HTTP 410",
        GONE.file: "HTTP 404",
        UNLISTED.name: "it is not on the mirror's list of movies",
    }
    assert (report.fetched, report.already) == ([], [])


def test_existing_movie_is_kept_without_the_mirror(tmp_path: Path, mirror: AvaMirrors) -> None:
    download(tmp_path, quiet, ("val",), mirror)
    for code in (403, 404):
        Mirror.errors = {f"/movies/trainval/{VAL.file}": code}
        report = download(tmp_path, quiet, ("val",), mirror)
        assert (report.already, report.failed, report.gone) == ([VAL.file], {}, {})


def test_progress_counts_movies(tmp_path: Path, mirror: AvaMirrors) -> None:
    counted: list[int] = []
    reports: dict[str, tuple[int, int | None]] = {}

    def grow(name: str, done: int, total: int | None) -> None:
        if counted:  # labels and lists come before
            reports[name] = (done, total)

    download(tmp_path, grow, sources=mirror, count=counted.append)
    assert counted == [4]
    assert reports == dict.fromkeys((GOOD.file, BROKEN.file, GONE.file, VAL.file), (1, 1))


def test_interrupted_download_is_resumed(tmp_path: Path, mirror: AvaMirrors) -> None:
    path = f"/movies/trainval/{VAL.file}"
    Mirror.cut.add(path)
    assert download(tmp_path, quiet, ("val",), mirror).fetched == [VAL.file]
    half = len(Mirror.files[path]) // 2
    assert [part for asked, part in fetched_paths() if asked == path] == [None, f"bytes={half}-"]


def test_ctrl_c_keeps_partial_files(tmp_path: Path, mirror: AvaMirrors) -> None:
    path = f"/movies/trainval/{VAL.file}"
    Mirror.files[path] = body = Mirror.files[path] + bytes(3_000_000)

    def stop(name: str, done: int, _: int | None) -> None:
        if name == VAL.file and done > 1_000_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(tmp_path, stop, ("val",), mirror)
    part = AvaFolder(tmp_path).videos("val") / (VAL.file + ".part")
    size = part.stat().st_size
    assert 1_000_000 < size < len(body)
    Mirror.asked.clear()
    assert download(tmp_path, quiet, ("val",), mirror).fetched == [VAL.file]
    assert (path, f"bytes={size}-") in fetched_paths()
    assert part.with_name(VAL.file).read_bytes() == body


def test_list_with_checksums(tmp_path: Path, mirror: AvaMirrors) -> None:
    digest = hashlib.md5(Mirror.files[f"/movies/trainval/{VAL.file}"]).hexdigest()
    Mirror.files[LIST] = f"file_name,md5\n{VAL.file},{'0' * 32}\n".encode()
    report = download(tmp_path, quiet, ("val",), mirror)
    assert report.failed == {VAL.file: f"expected MD5 {'0' * 32}, got another"}
    table_path = tmp_path / "csv" / "trainval_file_list.txt"
    table_path.write_text(f"file_name,md5\n{VAL.file},{digest.upper()}\n")
    assert download(tmp_path, quiet, ("val",), mirror).fetched == [VAL.file]
    table_path.write_text("../../evil.mp4\n")
    with pytest.raises(ValueError, match="line 1: expected a file name"):
        read_list(table_path, "trainval")


def test_existing_archives_are_kept(tmp_path: Path, mirror: AvaMirrors) -> None:
    """Neither an invalid archive nor a table that cannot be written removes the user's files."""
    folder = AvaFolder(tmp_path)
    (tmp_path / "csv").mkdir()
    archives = {
        split: tmp_path / "csv" / f"ava_activespeaker_{split}_v1.0.tar.bz2" for split in TABLES
    }
    archives["train"].write_bytes(archive([VAL], "train"))
    archives["val"].write_bytes(b"no archive")
    with pytest.raises(ResourceError, match=r"train.*which existed .*: expected MD5"):
        download_labels(folder, "train", mirror, quiet)
    with pytest.raises(ResourceError, match=r"val.*which existed .*: expected an archive"):
        download_labels(folder, "val", mirror, quiet)
    assert sorted((tmp_path / "csv").iterdir()) == sorted(archives.values())
    archives["val"].unlink()
    folder.labels("val").mkdir()  # so that no table can be written there
    with pytest.raises(IsADirectoryError):
        download_labels(folder, "val", mirror, quiet)
    assert archives["val"].is_file()


def test_invalid_archives(tmp_path: Path, mirror: AvaMirrors) -> None:
    folder = AvaFolder(tmp_path)
    (tmp_path / "csv").mkdir()
    Mirror.files["/labels/ava_activespeaker_train_v1.0.tar.bz2"] = archive([VAL], "train")
    with pytest.raises(ResourceError, match="expected MD5"):
        download_labels(folder, "train", mirror, quiet)
    Mirror.files["/labels/ava_activespeaker_val_v1.0.tar.bz2"] = b"no archive"
    with pytest.raises(ResourceError, match="expected an archive of tables"):
        download_labels(folder, "val", mirror, quiet)
    with pytest.raises(UserError, match="labels of test are not public"):
        download(tmp_path, quiet, ("test",), mirror)
    assert list((tmp_path / "csv").iterdir()) == []
