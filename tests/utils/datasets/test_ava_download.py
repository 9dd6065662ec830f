"""A server on this machine plays the mirrors: what comes is whole, the rest is reported."""

import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.made_ava import Movie, archive, table, write_movie
from utils.datasets.ava import AvaFolder, AvaSplit
from utils.datasets.ava_download import download, read_list
from utils.datasets.ava_labels import Sources, download_labels
from utils.datasets.ava_prepare import PrepareOptions, prepare

GOOD, BROKEN, GONE, UNLISTED, VAL, OTHER = (
    Movie(f"video_no_{number:02}", faces=((0.4, 2.4),)) for number in range(6)
)
LIST = "/movies/annotations/ava_file_names_trainval_v2.1.txt"


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves files by path, with ranges; `cut` breaks a path's next answer off in the middle."""

    files: dict[str, bytes]
    cut: set[str]
    asked: list[tuple[str, str, str | None]]

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.asked.append((self.command, self.path, self.headers["Range"]))
        body = self.files.get(self.path)
        if body is None:
            self.send_error(404)
            return
        wanted = self.headers["Range"]
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.path in self.cut:
            self.cut.discard(self.path)
            body = body[: (start + len(body)) // 2]
            self.close_connection = True
        self.wfile.write(body[start:])

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Sources]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    Handler.files, Handler.cut, Handler.asked = {}, set(), []
    for movie in (GOOD, VAL, OTHER):
        write_movie(movie, tmp_path / "made" / movie.file)
        path = f"/movies/trainval/{movie.file}"
        Handler.files[path] = (tmp_path / "made" / movie.file).read_bytes()
    Handler.files[f"/movies/trainval/{BROKEN.file}"] = b"0123456789" * 5000
    listed = [movie.file for movie in (GOOD, BROKEN, GONE, VAL, OTHER)]
    Handler.files[LIST] = "\n".join(listed).encode()
    train, val = archive([GOOD, BROKEN, GONE, UNLISTED], "train"), archive([VAL], "val")
    Handler.files["/labels/ava_activespeaker_train_v1.0.tar.bz2"] = train
    Handler.files["/labels/ava_activespeaker_val_v1.0.tar.bz2"] = val
    md5 = {"train": hashlib.md5(train).hexdigest()}
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        yield Sources(f"{address}/movies", f"{address}/labels", md5)
        server.shutdown()


def quiet(name: str, done: int, total: int | None) -> None:
    """Tell nobody."""


def fetched_paths() -> list[tuple[str, str | None]]:
    return [(path, part) for command, path, part in Handler.asked if command == "GET"]


def test_all_that_is_there_comes_and_the_rest_is_reported(tmp_path: Path, mirror: Sources) -> None:
    report = download(tmp_path, quiet, sources=mirror)
    assert sorted(report.fetched) == [GOOD.file, VAL.file] and report.already == []
    assert report.gone == {
        GONE.file: "HTTP 404",
        UNLISTED.name: "the mirror's list of movies does not have it",
    }
    assert list(report.broken) == [BROKEN.file] and report.failed == {}
    folder = AvaFolder(tmp_path)
    assert sorted(path.name for path in folder.videos("train").iterdir()) == [GOOD.file, VAL.file]
    assert folder.labels("val").read_text().splitlines()[1:] == table([VAL]).splitlines()
    saved = json.loads((tmp_path / "download_report.json").read_text())
    assert saved["gone"] == report.gone and saved["fetched"] == report.fetched
    text = (tmp_path / "download_report.txt").read_text()
    assert f"gone {GONE.file}: HTTP 404" in text and "0 failed" in text

    Handler.asked.clear()
    again = download(tmp_path, quiet, sources=mirror)
    assert sorted(again.already) == [GOOD.file, VAL.file]
    assert fetched_paths() == [(f"/movies/trainval/{BROKEN.file}", None)]

    for split in ("train", "val"):
        assert prepare(tmp_path, split, PrepareOptions(num_processes=1)).written == 1
        assert len(AvaSplit(tmp_path, split).entities) == 1
    assert len(AvaSplit(tmp_path, "train").missing) == 3


def test_a_download_that_breaks_off_goes_on(tmp_path: Path, mirror: Sources) -> None:
    path = f"/movies/trainval/{VAL.file}"
    Handler.cut.add(path)
    assert download(tmp_path, quiet, ("val",), mirror).fetched == [VAL.file]
    half = len(Handler.files[path]) // 2
    assert [part for asked, part in fetched_paths() if asked == path] == [None, f"bytes={half}-"]


def test_stopped_by_the_user_it_keeps_what_came(tmp_path: Path, mirror: Sources) -> None:
    path = f"/movies/trainval/{VAL.file}"
    Handler.files[path] = body = Handler.files[path] + bytes(3_000_000)

    def stop(name: str, done: int, _: int | None) -> None:
        if name == VAL.file and done > 1_000_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(tmp_path, stop, ("val",), mirror)
    part = AvaFolder(tmp_path).videos("val") / (VAL.file + ".part")
    there = part.stat().st_size
    assert 1_000_000 < there < len(body)
    Handler.asked.clear()
    assert download(tmp_path, quiet, ("val",), mirror).fetched == [VAL.file]
    assert (path, f"bytes={there}-") in fetched_paths()
    assert part.with_name(VAL.file).read_bytes() == body


def test_a_list_with_checksums_is_kept_to(tmp_path: Path, mirror: Sources) -> None:
    digest = hashlib.md5(Handler.files[f"/movies/trainval/{VAL.file}"]).hexdigest()
    Handler.files[LIST] = f"file_name,md5\n{VAL.file},{'0' * 32}\n".encode()
    report = download(tmp_path, quiet, ("val",), mirror)
    assert report.failed == {VAL.file: f"expected MD5 {'0' * 32}, got another"}
    table_path = tmp_path / "csv" / "trainval_file_list.txt"
    table_path.write_text(f"file_name,md5\n{VAL.file},{digest.upper()}\n")
    assert download(tmp_path, quiet, ("val",), mirror).fetched == [VAL.file]
    table_path.write_text("../../evil.mp4\n")
    with pytest.raises(ValueError, match="line 1: expected a file name"):
        read_list(table_path, "trainval")


def test_wrong_archives_are_refused(tmp_path: Path, mirror: Sources) -> None:
    folder = AvaFolder(tmp_path)
    (tmp_path / "csv").mkdir()
    Handler.files["/labels/ava_activespeaker_train_v1.0.tar.bz2"] = archive([VAL], "train")
    with pytest.raises(RuntimeError, match="expected MD5"):
        download_labels(folder, "train", mirror, quiet)
    Handler.files["/labels/ava_activespeaker_val_v1.0.tar.bz2"] = b"no archive"
    with pytest.raises(RuntimeError, match="is not the archive of tables expected"):
        download_labels(folder, "val", mirror, quiet)
    with pytest.raises(RuntimeError, match="labels of test are not public"):
        download(tmp_path, quiet, ("test",), mirror)
    assert list((tmp_path / "csv").iterdir()) == []
