"""Images are placed by time stamps; gaps are left out and reported."""

import struct
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.made_video import write_video
from utils.errors import UserError
from utils.media.audio import Sound
from utils.media.container import ReadOptions, ReadReport, probe
from utils.media.source_frames import check_span, read_source_frames, read_warnings
from utils.media.video import read_frames
from utils.structures import SAMPLE_RATE, Frame
from utils.tracking.shots import ShotOptions, mark_shots

GREY = np.full((32, 48, 3), 90, np.uint8)
HOUR_S = 3600.0


def even(start_s: float, count: int, fps: float = 25) -> list[float]:
    """Return time stamps at an even rate."""
    return [start_s + number / fps for number in range(count)]


def tone(total_s: float, rate: int = 16000) -> NDArray[np.int16]:
    return (9000 * np.sin(np.arange(round(rate * total_s)) / 5)).astype(np.int16)


def frames_of(
    path: Path, report: ReadReport, start_s: float = 0.0, duration_s: float = 0.0
) -> list[Frame]:
    return list(read_frames(probe(path), None, ReadOptions(start_s, duration_s), report))


def runs(indices: Sequence[int]) -> list[tuple[int, int]]:
    """Return the ranges that indices form."""
    breaks = [at for at in range(1, len(indices)) if indices[at] != indices[at - 1] + 1]
    edges = [0, *breaks, len(indices)]
    return [(indices[a], indices[b - 1] + 1) for a, b in pairwise(edges)]


def write_gap(path: Path) -> None:
    """Write two seconds of images and audio, a gap of an hour, and two seconds again."""
    pts_s = even(0, 50) + even(HOUR_S, 50)
    pieces = [(0.0, tone(2)), (HOUR_S, tone(2))]
    images = [GREY] * len(pts_s)
    write_video(path, images, pts_s=pts_s, sound=pieces, audio_codec="pcm_s16le")


def test_a_gap_is_not_filled_and_the_clock_goes_on(tmp_path: Path) -> None:
    path, report = tmp_path / "a.mkv", ReadReport()
    write_gap(path)
    video, options = probe(path), ReadOptions()
    frames = frames_of(path, report)
    assert runs([frame.index for frame in frames]) == [(0, 50), (90000, 90050)]
    assert report.gaps == [(2.0, HOUR_S)]
    assert read_warnings(video, options, report, ReadReport()) == [
        "the video has no images between 2.0 and 3600.0 s: nothing was analysed there"
    ]
    sound = Sound(video, options)
    for start_s in (0.5, HOUR_S + 0.5):
        first = round(start_s * SAMPLE_RATE)
        assert np.abs(sound.read(first, first + 800)).max() > 8000
    assert not sound.read(3500 * SAMPLE_RATE, 3500 * SAMPLE_RATE + 640).any()
    assert sound._held.nbytes < 4 * 180 * SAMPLE_RATE * 2  # not an hour of zeros


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize(
    ("span", "indices", "gaps"),
    [
        ((1.0, 10.0), [(0, 25)], [(1.0, 10.0)]),
        ((1000.0, 0.0), [(65000, 65050)], [(0.0, HOUR_S - 1000)]),
        ((HOUR_S + 1, 0.0), [(0, 25)], []),
    ],
    ids=["into it", "from inside", "after"],
)
def test_the_gap_of_a_span(
    tmp_path: Path,
    suffix: str,
    span: tuple[float, float],
    indices: list[tuple[int, int]],
    gaps: list[tuple[float, float]],
) -> None:
    path, report = tmp_path / f"a{suffix}", ReadReport()
    write_video(path, [GREY] * 100, pts_s=even(0, 50) + even(HOUR_S, 50))
    found = [frame.index for frame in frames_of(path, report, *span)]
    assert runs(found) == indices
    assert report.gaps == gaps


def test_many_gaps_are_told_in_one_line(tmp_path: Path) -> None:
    path, report = tmp_path / "a.mp4", ReadReport()
    write_video(path, [GREY] * 8, pts_s=even(0, 8, 0.1))  # an image every ten seconds
    frames_of(path, report, 10.0, 0.0)
    assert read_warnings(probe(path), ReadOptions(10.0), report, ReadReport()) == [
        "the video has no images between 11.0 and 20.0 s, 21.0 and 30.0 s, 31.0 and 40.0 s, "
        "41.0 and 50.0 s, 51.0 and 60.0 s, and in 1 more gaps: nothing was analysed there"
    ]


def test_a_still_image_of_a_few_seconds_is_no_gap(tmp_path: Path) -> None:
    path, report = tmp_path / "a.mp4", ReadReport()
    write_video(path, [GREY] * 50, pts_s=even(0, 25) + even(5.5, 25))
    assert [frame.index for frame in frames_of(path, report)] == list(range(163))
    assert report.gaps == []


def test_no_shot_crosses_a_gap(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write_video(path, [GREY] * 100, pts_s=even(0, 50) + even(60, 50))
    frames = list(mark_shots(iter(frames_of(path, ReadReport())), ShotOptions()))
    assert [(frame.index, frame.shot) for frame in frames] == [
        *((index, 0) for index in range(50)),
        *((index, 1) for index in range(1500, 1550)),
    ]


def shorten_headers(path: Path, to_s: float) -> None:
    """Let all headers of a file promise a shorter duration."""
    content = bytearray(path.read_bytes())
    if path.suffix == ".mp4":
        for kind, place in ((b"mvhd", 12), (b"mdhd", 12)):  # both in version 0
            at = content.find(kind)
            while at >= 0:
                (scale,) = struct.unpack_from(">I", content, at + 4 + place)
                struct.pack_into(">I", content, at + 8 + place, round(to_s * scale))
                at = content.find(kind, at + 4)
    else:
        at = content.find(b"\x44\x89\x88")  # Duration, eight bytes
        assert at > 0
        struct.pack_into(">d", content, at + 3, to_s * 1000)
    path.write_bytes(content)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
def test_time_stamps_are_believed_before_the_header(tmp_path: Path, suffix: str) -> None:
    pts_s = even(0, 20, 5) + even(4, 30, 2)
    path = tmp_path / f"a{suffix}"
    codec = "libvpx" if suffix == ".webm" else "libx264"
    write_video(
        path,
        [GREY] * len(pts_s),
        pts_s=pts_s,
        codec=codec,
        sound=tone(19, 48000),
        sample_rate=48000,
    )
    shorten_headers(path, 1.0)
    with av.open(str(path)) as container:
        assert container.duration is not None
        assert container.duration < 2_000_000
    video, report = probe(path), ReadReport()
    found = [float(frame.start_s) for frame in read_source_frames(video, ReadOptions(), report)]
    assert found == pytest.approx(pts_s, abs=0.03)
    assert video.duration_s == pytest.approx(18.7, abs=0.4)
    assert report.lost_s(video, ReadOptions()) < 0.5


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".ts", ".mov"])
@pytest.mark.parametrize(
    ("video_start_s", "sound_s"), [(8.0, 12.0), (8.0, 3.0), (0.0, 12.0)], ids=["8 s", "3 s", "on"]
)
def test_streams_of_different_length_are_whole(
    tmp_path: Path, suffix: str, video_start_s: float, sound_s: float
) -> None:
    path, report = tmp_path / f"a{suffix}", ReadReport()
    sound = tone(sound_s, 48000)
    write_video(path, [GREY] * 100, video_start_s=video_start_s, sound=sound, sample_rate=48000)
    video, options = probe(path), ReadOptions()
    frames = frames_of(path, report)
    first = round(video_start_s * 25)
    assert runs([frame.index for frame in frames])[0][0] == pytest.approx(first, abs=1)
    assert len(frames) == 100
    assert video.duration_s == pytest.approx(video_start_s + 4, abs=0.1)
    assert read_warnings(video, options, report, ReadReport()) == []


@pytest.mark.parametrize("start_s", [4.0, 4.5, 9000.0])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts", ".h264"])
def test_a_span_beyond_the_end_is_an_error(tmp_path: Path, suffix: str, start_s: float) -> None:
    path = tmp_path / f"a{suffix}"
    write_video(path, [GREY] * 100)
    video = probe(path)
    check_span(video, ReadOptions(3.9))
    with pytest.raises(UserError, match=f"a{suffix} has no image from {start_s:g} s on"):
        check_span(video, ReadOptions(start_s))


def test_a_span_before_the_first_image_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    write_video(path, [GREY] * 25, video_start_s=8, sound=tone(9))
    with pytest.raises(UserError, match=r"has no image between 1 and 3 s; it ends at 9\.0 s"):
        check_span(probe(path), ReadOptions(1.0, 2.0))


def write_stamps(path: Path, stamps: Sequence[int]) -> None:
    """Write an MKV of one image per time stamp, frames at 25/s in any order, by patching it."""
    write_video(path, [GREY] * len(stamps), codec="mjpeg", pix_fmt="yuvj420p", options={})
    content = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packets = [bytes(packet) for packet in container.demux() if packet.size]
    at = 0
    for stamp, packet in zip(stamps, packets, strict=True):
        at = content.index(packet, at)
        struct.pack_into(">h", content, at - 3, 40 * stamp)  # of the block, in ms
        at += len(packet)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("stamps", "times"),
    [
        ([0, 0, 0, 0], [0, 1, 2, 3]),
        ([0, 1, 1, 2, 3], [0, 1, 2, 3]),
        ([0, 1, 8, 2, 9], [0, 1, 8, 9]),
        ([0, 1, 200, 3, 4], [0, 1, 2, 3, 4]),
        ([0, 200, 201, 202, 1, 5], [0, 1, 2, 3, 5]),
    ],
    ids=["stuck", "twice", "behind", "leap", "leap of three"],
)
def test_no_image_is_put_off_by_the_time_stamps_of_others(
    tmp_path: Path, stamps: list[int], times: list[int]
) -> None:
    """Equal and faulty time stamps follow the rate; what lies behind is left out."""
    write_stamps(tmp_path / "a.mkv", stamps)
    images = read_source_frames(probe(tmp_path / "a.mkv"), ReadOptions(), ReadReport())
    assert [round(image.start_s * 25) for image in images] == times
