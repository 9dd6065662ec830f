"""Files that are no videos give an error of one line; every file name is accepted."""

import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tests.made_video import write_video
from utils.errors import ResourceError
from utils.media.audio import Sound
from utils.media.container import ReadOptions, probe
from utils.media.orientation import Orientation
from utils.media.video import read_frames
from utils.structures import SAMPLE_RATE

GREY = np.full((32, 48, 3), 90, np.uint8)


def write_sound_only(path: Path, cover: bool = False) -> None:
    """Write an MP3, with or without cover art."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libmp3lame", rate=44100)
        cover_stream = None
        if cover:
            cover_stream = container.add_stream("mjpeg", rate=1)
            cover_stream.width, cover_stream.height, cover_stream.pix_fmt = 48, 32, "yuvj420p"
            cover_stream.disposition = av.stream.Disposition.attached_pic
            image = av.VideoFrame.from_ndarray(GREY, "rgb24").reformat(format="yuvj420p")
            container.mux(cover_stream.encode(image))
            container.mux(cover_stream.encode(None))
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 44100), np.int16), "s16", "mono")
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def write_no_images(path: Path) -> None:
    """Write an MP4 with a video stream that holds nothing."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height = 48, 32
        container.start_encoding()


def write_cut_off(path: Path) -> None:
    """Write an MP4 that ends before its index."""
    whole = path.with_name("whole.mp4")
    write_video(whole, [GREY] * 20)
    path.write_bytes(whole.read_bytes()[:200])


@pytest.mark.parametrize(
    ("name", "write", "error", "words"),
    [
        ("none.mp4", None, FileNotFoundError, "no such video file"),
        ("folder.mp4", Path.mkdir, ValueError, "found a folder"),
        ("empty.mp4", Path.touch, ValueError, "empty file"),
        ("text.mp4", lambda path: path.write_text("hello\n" * 99), ValueError, "cannot be opened"),
        ("cut.mp4", write_cut_off, ValueError, "is incomplete"),
        ("sound.mp3", write_sound_only, ValueError, "audio only"),
        ("cover.mp3", lambda path: write_sound_only(path, True), ValueError, "audio only"),
        ("nothing.mp4", write_no_images, ValueError, "expected a video"),
        ("pipe.mp4", os.mkfifo, ValueError, "a special file"),
    ],
    ids=["missing", "folder", "empty", "text", "cut", "mp3", "cover", "no images", "pipe"],
)
def test_what_is_no_video(
    tmp_path: Path,
    name: str,
    write: Callable[[Path], Any] | None,
    error: type[Exception],
    words: str,
) -> None:
    path = tmp_path / name
    if write is not None:
        write(path)
    with pytest.raises(error, match=words) as caught:
        probe(path)
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)
    assert not isinstance(caught.value, av.error.FFmpegError)


def test_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write_video(path, [GREY])
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    with pytest.raises(ResourceError, match="check its permissions"):
        probe(path)


@pytest.mark.parametrize(
    "name",
    [
        "with space.mp4",
        "quo'te\".mp4",
        "new\nline.mp4",
        "semi;colon$(touch x).mp4",
        "häßlich 文.mp4",
        "%03d.mp4",
        "concat:x.mp4",
        "a:b.mp4",
        "http:x.mp4",
        "-.mp4",
        "pipe:0.mp4",
        os.fsdecode(b"bad\xff.mp4"),
    ],
)
def test_any_name_is_only_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    write_video(tmp_path / "a.mp4", [GREY] * 2)
    (tmp_path / "a.mp4").rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    for path in (tmp_path / name, Path(name)):
        assert len(list(read_frames(probe(path), None, ReadOptions()))) == 2
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_playlists_open_nothing_else(tmp_path: Path) -> None:
    write_video(tmp_path / "other.ts", [GREY] * 5)
    path = tmp_path / "list.mp4"
    path.write_text("#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/other.ts\n#EXT-X-ENDLIST\n")
    with pytest.raises(ValueError, match="expected a video"):
        probe(path)


def test_probe(tmp_path: Path) -> None:
    sound = np.zeros(16000, np.int16)
    write_video(tmp_path / "a.mp4", [GREY] * 30, Fraction(30000, 1001), sound, rotation=90)
    video = probe(tmp_path / "a.mp4")
    assert (video.width, video.height, video.orientation) == (32, 48, Orientation(False, 3))
    assert video.fps == Fraction(30000, 1001)
    assert video.duration_s == pytest.approx(1.001, abs=1e-3)
    assert (video.start_s, video.video_start_s) == (Fraction(0), Fraction(0))
    assert video.has_sound


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts", ".mov", ".avi"])
def test_sound_that_starts_long_after_the_images_is_found(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    tone = (9000 * np.sin(np.arange(48000) / 5)).astype(np.int16)
    pieces = [(9.0, tone)]
    if suffix == ".avi":  # it knows no time stamps: the sound begins with silence
        pieces = [(0.0, np.concatenate([np.zeros(9 * 48000, np.int16), tone]))]
    codec = "mpeg4" if suffix == ".avi" else "libx264"
    write_video(path, [GREY] * 600, 60, pieces, 48000, codec=codec)
    video = probe(path)
    assert video.has_sound
    assert float(video.sound_start_s) == pytest.approx(0 if suffix == ".avi" else 9, abs=0.03)
    assert float(video.video_start_s) == 0
    heard = Sound(video, ReadOptions()).read(0, 11 * SAMPLE_RATE)
    loud = np.flatnonzero(np.abs(heard.astype(int)) > 4000) / SAMPLE_RATE
    assert (loud[0], loud[-1]) == pytest.approx((9, 10), abs=0.05)


def test_a_stream_without_any_sound_is_no_sound(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    write_video(path, [GREY] * 600, 60, np.zeros(0, np.int16), 48000)
    with av.open(str(path)) as container:
        assert len(container.streams.audio) == 1
    assert not probe(path).has_sound


@pytest.mark.parametrize("field", ["start_s", "duration_s", "threads"])
@pytest.mark.parametrize("value", [-1, float("nan"), float("inf")])
def test_wrong_options(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=field):
        ReadOptions(**{field: value})  # type: ignore[arg-type]
