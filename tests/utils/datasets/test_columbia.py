"""Columbia: download from local servers, resuming and joining, and reading of the labels."""

import functools
import http.server
import importlib.util
import io
import sys
import tarfile
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from utils.datasets.columbia import (
    check_video,
    download,
    download_labels,
    find_video,
    labels_path,
    read_labels,
)
from utils.errors import ResourceError
from utils.metrics.columbia import SPEAKERS

needs_yt_dlp = pytest.mark.skipif(
    importlib.util.find_spec("yt_dlp") is None, reason="yt-dlp is not installed"
)
LINES = "0\t10\t20\t60\t1\n1\t11\t20\t60\t0\n"
MANIFEST = """<?xml version="1.0"?>
<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT1S"
     profiles="urn:mpeg:dash:profile:isoff-on-demand:2011">
  <Period>
    <AdaptationSet mimeType="video/mp4">
      <Representation id="video" codecs="avc1.64001f" bandwidth="9" width="96" height="64">
        <BaseURL>video.mp4</BaseURL></Representation>
    </AdaptationSet>
    <AdaptationSet mimeType="audio/mp4">
      <Representation id="audio" codecs="mp4a.40.2" bandwidth="1">
        <BaseURL>audio.m4a</BaseURL></Representation>
    </AdaptationSet>
  </Period>
</MPD>
"""


class FolderHandler(http.server.SimpleHTTPRequestHandler):
    """Serves files and byte ranges; a whole `stall.mp4` is sent only half."""

    extensions_map = {".mpd": "application/dash+xml", ".mp4": "video/mp4", ".m4a": "audio/mp4"}  # noqa: RUF012

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        byte_range = self.headers.get("Range", "")
        self.server.requests.append((path.name, byte_range))  # type: ignore[attr-defined]
        if path.suffix != ".mp4":
            super().do_GET()
            return
        content = path.read_bytes()
        start = int(byte_range.removeprefix("bytes=").split("-")[0]) if byte_range else 0
        self.send_response(206 if byte_range else 200)
        self.send_header("Content-Type", "video/mp4")
        self.send_header("Content-Length", str(len(content) - start))
        if byte_range:
            whole = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self.send_header("Content-Range", whole)
        self.end_headers()
        if path.name == "stall.mp4" and start == 0:
            self.wfile.write(content[: len(content) // 2])
            self.server.released.wait(20)  # type: ignore[attr-defined]
        else:
            self.wfile.write(content[start:])

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


class Server(http.server.ThreadingHTTPServer):
    """A server on the loopback interface that records its requests."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), functools.partial(FolderHandler, directory=str(folder)))
        self.folder = folder
        self.requests: list[tuple[str, str]] = []
        self.released = threading.Event()

    def address(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{name}"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    folder = tmp_path / "served"
    folder.mkdir()
    running = Server(folder)
    thread = threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield running
    running.released.set()
    running.shutdown()
    running.server_close()
    thread.join()


def write_video(path: Path, video: bool = True, audio: bool = True, seconds: int = 1) -> Path:
    """Write noise of 96 x 64 pixels at 25 frames/s and a tone."""
    rng = np.random.default_rng(0)
    with av.open(str(path), "w", format="mp4") as container:
        streams: list[av.VideoStream | av.AudioStream] = []
        frames: list[av.VideoFrame | av.AudioFrame] = []
        if video:
            images = container.add_stream("libx264", 25, width=96, height=64, pix_fmt="yuv420p")
            for index in range(25 * seconds):
                image = av.VideoFrame.from_ndarray(rng.integers(256, size=(64, 96, 3), dtype="u1"))
                image.pts, image.time_base = index, Fraction(1, 25)
                streams.append(images)
                frames.append(image)
        if audio:
            tones = container.add_stream("aac", 16000, layout="mono")
            wave = np.sin(np.arange(16000 * seconds) * 0.2)[None].astype(np.float32)
            tone = av.AudioFrame.from_ndarray(wave, "fltp", "mono")
            tone.sample_rate, tone.pts = 16000, 0
            streams.append(tones)
            frames.append(tone)
        for stream, frame in zip(streams, frames, strict=True):
            container.mux(stream.encode(frame))
        for stream in dict.fromkeys(streams):
            container.mux(stream.encode(None))
    return path


def num_packets(path: Path) -> dict[str, int]:
    """Return the number of packets by stream type."""
    counts: dict[str, int] = {}
    with av.open(str(path)) as container:
        for packet in container.demux():
            counts[packet.stream.type] = counts.get(packet.stream.type, 0) + bool(packet.size)
    return counts


def write_archive(path: Path, names: tuple[str, ...] = SPEAKERS) -> Path:
    """Write an archive of labels with members that point outside its folder."""
    with tarfile.open(path, "w:gz") as archive:
        members = [f"col_labels/fusion/{name}.txt" for name in names]
        for name in [*members, "../escaped.txt", "/tmp/../escaped.txt", "col_labels/readme.txt"]:
            member = tarfile.TarInfo(name)
            member.size = len(LINES)
            archive.addfile(member, io.BytesIO(LINES.encode()))
        link = tarfile.TarInfo("col_labels/other/fusion/bell.txt")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    return path


def write_labels(folder: Path) -> Path:
    for name in SPEAKERS:
        labels_path(folder, name).parent.mkdir(parents=True, exist_ok=True)
        labels_path(folder, name).write_text(LINES)
    return folder


def no_progress(what: str, done: int, total: int | None) -> None:
    """Report nothing."""


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


LABEL_FILES = sorted(f"col_labels/fusion/{name}.txt" for name in SPEAKERS)


@needs_yt_dlp
def test_download_fetches_once(server: Server, tmp_path: Path) -> None:
    write_video(server.folder / "talk.mp4")
    write_archive(server.folder / "labels.tar.gz")
    folder = tmp_path / "col 100%(id)s $HOME"
    reports: list[tuple[str, int, int | None]] = []
    addresses = server.address("talk.mp4"), server.address("labels.tar.gz")
    download(folder, lambda *report: reports.append(report), *addresses)
    assert files_in(folder) == ["col.mp4", "col_labels.tar.gz", *LABEL_FILES]
    assert find_video(folder).read_bytes() == (server.folder / "talk.mp4").read_bytes()
    for what, name in (("video", "talk.mp4"), ("labels", "labels.tar.gz")):
        size = (server.folder / name).stat().st_size
        assert [report for report in reports if report[0] == what][-1] == (what, size, size)
    assert files_in(tmp_path) == [
        *(f"{folder.name}/{name}" for name in files_in(folder)),
        "served/labels.tar.gz",
        "served/talk.mp4",
    ]
    server.requests.clear()
    download(folder, no_progress, *addresses)
    assert server.requests == []


@needs_yt_dlp
def test_separate_video_and_audio_are_joined(server: Server, tmp_path: Path) -> None:
    write_video(server.folder / "video.mp4", audio=False)
    write_video(server.folder / "audio.m4a", video=False)
    (server.folder / "talk.mpd").write_text(MANIFEST)
    folder = write_labels(tmp_path / "col")
    download(folder, no_progress, server.address("talk.mpd"))
    assert files_in(folder) == ["col.mp4", *LABEL_FILES]
    expected = num_packets(server.folder / "video.mp4") | num_packets(server.folder / "audio.m4a")
    assert num_packets(folder / "col.mp4") == expected
    with av.open(str(folder / "col.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 25
    assert not (folder / "col.parts").exists()


@needs_yt_dlp
def test_interrupted_download_is_resumed(server: Server, tmp_path: Path) -> None:
    served = write_video(server.folder / "stall.mp4", seconds=4)
    folder = write_labels(tmp_path / "col")

    def give_up(*report: str | int | None) -> None:
        if isinstance(report[1], int) and report[1] > 20_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(folder, give_up, server.address("stall.mp4"))
    assert not (folder / "col.mp4").exists()
    (part,) = (folder / "col.parts").iterdir()
    num_bytes = part.stat().st_size
    assert num_bytes > 0
    server.requests.clear()
    download(folder, no_progress, server.address("stall.mp4"))
    assert ("stall.mp4", f"bytes={num_bytes}-") in server.requests
    assert (folder / "col.mp4").read_bytes() == served.read_bytes()


@needs_yt_dlp
def test_unreachable_video(server: Server, tmp_path: Path) -> None:
    folder = write_labels(tmp_path / "col")
    with pytest.raises(
        ResourceError, match=r"yt-dlp could not download http.*404.*col as col\.mp4$"
    ):
        download(folder, no_progress, server.address("none.mpd"))
    with pytest.raises(ResourceError, match=r"Failed to establish a new connection") as caught:
        download(folder, no_progress, "http://127.0.0.1:9/talk.mp4")
    assert "\n" not in str(caught.value)


def test_without_yt_dlp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_labels(tmp_path)
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(ResourceError, match=r"requires yt-dlp: pip install .*save the video of"):
        download(folder, no_progress)


def test_existing_files_are_used(tmp_path: Path) -> None:
    folder = write_labels(tmp_path)
    write_video(folder / "col.avi")
    before = {name: (folder / name).stat().st_mtime_ns for name in files_in(folder)}
    download(folder, no_progress, "http://127.0.0.1:9/video", "http://127.0.0.1:9/labels")
    assert {name: (folder / name).stat().st_mtime_ns for name in files_in(folder)} == before
    assert find_video(folder) == folder / "col.avi"
    write_video(folder / "col.mp4")
    with pytest.raises(FileNotFoundError, match=r"exactly one video .*: col\.avi, col\.mp4"):
        find_video(folder)


def test_broken_video_is_named(tmp_path: Path) -> None:
    path = tmp_path / "col.mp4"
    path.write_text("hello")
    with pytest.raises(
        ValueError, match=r"col\.mp4 is not a readable video .*remove it and try again"
    ):
        check_video(path)
    with pytest.raises(ValueError, match=r"col\.mp4: .* found no audio"):
        check_video(write_video(path, audio=False))
    with pytest.raises(ValueError, match=r"col\.mp4: .* found no video"):
        check_video(write_video(path, video=False))


def test_existing_archive_is_extracted(tmp_path: Path) -> None:
    write_archive(tmp_path / "col_labels.tar.gz")
    download_labels(tmp_path, "http://127.0.0.1:9/labels", no_progress)
    assert files_in(tmp_path) == ["col_labels.tar.gz", *LABEL_FILES]
    assert labels_path(tmp_path, "bell").read_text() == LINES


def test_bad_archives_are_named(server: Server, tmp_path: Path) -> None:
    path = write_archive(server.folder / "labels.tar.gz", names=SPEAKERS[:5])
    with pytest.raises(ValueError, match=r"col_labels\.tar\.gz lacks fusion/abbas\.txt; remove"):
        download_labels(tmp_path / "one", server.address("labels.tar.gz"), no_progress)
    content = write_archive(path).read_bytes()
    for number, bad in enumerate((content[:-40], b"hello", content[:60] + b"x" * 99)):
        path.write_bytes(bad)
        with pytest.raises(ValueError, match=r"is not a complete \.tar\.gz archive") as caught:
            download_labels(tmp_path / str(number), server.address(path.name), no_progress)
        assert "\n" not in str(caught.value)
        assert not (tmp_path / str(number) / "col_labels").exists()
    with pytest.raises(ResourceError, match=r"404.*; or save col_labels\.tar\.gz in "):
        download_labels(tmp_path / "two", server.address("none"), no_progress)


def test_labels_are_read(tmp_path: Path) -> None:
    labels = read_labels(write_labels(tmp_path))
    assert list(labels) == list(SPEAKERS)
    assert labels["sick"].frames.tolist() == [0, 1]
    assert labels["sick"].squares.tolist() == [[10, 20, 60], [11, 20, 60]]
    assert labels["sick"].speaking.tolist() == [True, False]


@pytest.mark.parametrize(
    "line",
    [
        "2\t1\t1\t60",
        "2\t1\t1\t60\t2",
        "2\t1\t1\t0\t1",
        "x\t1\t1\t60\t1",
        "-1\t1\t1\t60\t1",
        "2.5\t1\t1\t60\t1",
        "2\tnan\t1\t60\t1",
        "2\t1\t1\t60\t1\t7",
        "\xff\t1\t1\t60\t1",
    ],
    ids=["short", "label", "side", "word", "negative", "half frame", "NaN", "long", "bytes"],
)
def test_bad_label_names_file_and_line(tmp_path: Path, line: str) -> None:
    path = labels_path(write_labels(tmp_path), "boll")
    path.write_bytes(f"{LINES}{line}\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"boll\.txt, line 3: expected frame, x, y, side and"):
        read_labels(tmp_path)


def test_missing_and_empty_labels(tmp_path: Path) -> None:
    path = labels_path(write_labels(tmp_path), "long")
    path.write_text("\n")
    with pytest.raises(ValueError, match=r"long\.txt: expected labels, found none"):
        read_labels(tmp_path)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"no such file: .*long\.txt"):
        read_labels(tmp_path)
