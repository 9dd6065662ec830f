"""Frames are at 25/s by time stamps, upright, with the stored grey, for every source."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.made_video import write_video
from utils.media.container import ReadOptions, ReadReport, VideoInfo, probe
from utils.media.decoding import decode_from
from utils.media.video import read_frames
from utils.output.render import render_video
from utils.structures import Frame

STEP = 4  # grey levels between neighbouring frames


def numbered(count: int, height: int = 32, width: int = 48) -> list[NDArray[np.uint8]]:
    """Make grey images whose level tells their number."""
    return [np.full((height, width, 3), number * STEP, np.uint8) for number in range(count)]


def colours(height: int = 64, width: int = 96) -> NDArray[np.uint8]:
    """Make a smooth image with all kinds of colour and four different corners."""
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    image = np.stack([255 * x, 255 * y, 255 * (1 - x) * (1 - y)], axis=2)
    return image.astype(np.uint8)


def read(path: Path, options: ReadOptions | None = None) -> list[Frame]:
    return list(read_frames(probe(path), None, options or ReadOptions()))


def numbers(frames: Sequence[Frame]) -> dict[int, int]:
    """Return the source image shown at each index."""
    return {frame.index: round(float(frame.grey.mean()) / STEP) for frame in frames}


def nearest(pts_s: Sequence[Fraction], stop_s: Fraction) -> dict[int, int]:
    """Return the image expected at each index: the last whose nearest tick is not after it."""
    ticks = [int(time_s * 25 + Fraction(1, 2)) for time_s in (*pts_s, stop_s)]
    shown = pairwise(ticks)
    return {
        tick: number for number, (start, stop) in enumerate(shown) for tick in range(start, stop)
    }


@pytest.mark.parametrize("fps", [12, 25, 60], ids=str)
def test_every_fifth_frame_is_that_of_the_whole(tmp_path: Path, fps: int) -> None:
    write_video(tmp_path / "a.mp4", numbered(50), fps)
    whole = numbers(read(tmp_path / "a.mp4"))
    fifth = read_frames(probe(tmp_path / "a.mp4"), None, ReadOptions(), every=5)
    expected = {index: image for index, image in whole.items() if index % 5 == 0}
    assert numbers(list(fifth)) == expected


@pytest.mark.parametrize(
    "fps",
    [1, 5, 12, Fraction(24000, 1001), 24, 25, Fraction(30000, 1001), 30, 50, 60, 120, 240],
    ids=str,
)
def test_frames_follow_time_stamps(tmp_path: Path, fps: Fraction | int) -> None:
    write_video(tmp_path / "a.mp4", numbered(50), fps)
    expected = nearest([number / Fraction(fps) for number in range(50)], 50 / Fraction(fps))
    assert numbers(read(tmp_path / "a.mp4")) == expected


def test_variable_rate(tmp_path: Path) -> None:
    pts_s = [0.0, 0.04, 0.05, 0.32, 0.34, 1.0]
    write_video(tmp_path / "a.mp4", numbered(6), pts_s=pts_s)
    found = numbers(read(tmp_path / "a.mp4"))
    shown = nearest([Fraction(time_s) for time_s in pts_s], Fraction(26, 25))
    assert {index: found[index] for index in shown} == shown
    assert sorted(found) == list(range(len(found)))


def test_slow_source_shares_arrays(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", numbered(5), 5)
    frames = read(tmp_path / "a.mp4")
    assert len(frames) == 25
    assert frames[0].grey is frames[4].grey
    assert frames[0].image is frames[4].image
    assert frames[4].grey is not frames[5].grey


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi", ".mov", ".webm", ".ts", ".h264"])
def test_containers(tmp_path: Path, suffix: str) -> None:
    codec = {".webm": "libvpx", ".avi": "mpeg4"}.get(suffix, "libx264")
    options = {"b": "2000k"} if codec != "libx264" else None
    path = tmp_path / f"a{suffix}"
    write_video(path, numbered(40), codec=codec, options=options)
    assert numbers(read(path)) == {number: number for number in range(40)}


def test_video_that_starts_after_its_sound(tmp_path: Path) -> None:
    silence = np.zeros(32000, np.int16)
    write_video(tmp_path / "a.mp4", numbered(25), sound=silence, video_start_s=0.844)
    video = probe(tmp_path / "a.mp4")
    assert float(video.video_start_s) == pytest.approx(0.844, abs=1e-3)
    found = numbers(read(tmp_path / "a.mp4"))
    assert found == {21 + number: number for number in range(25)}
    found = numbers(read(tmp_path / "a.mp4", ReadOptions(start_s=0.4)))
    assert found == {11 + number: number for number in range(25)}


def test_sound_that_starts_after_its_video(tmp_path: Path) -> None:
    silence = np.zeros(16000, np.int16)
    write_video(tmp_path / "a.mp4", numbered(25), sound=silence, audio_start_s=0.5)
    assert numbers(read(tmp_path / "a.mp4")) == {number: number for number in range(25)}


@pytest.mark.parametrize("mirrored", [False, True], ids=["", "mirrored"])
@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_orientation(tmp_path: Path, rotation: int, mirrored: bool) -> None:
    image, path = colours(), tmp_path / "a.mp4"
    write_video(path, [image] * 3, pix_fmt="yuv444p", rotation=rotation, mirrored=mirrored)
    video = probe(path)
    upright = np.rot90(image, -rotation // 90)
    upright = upright[:, ::-1] if mirrored else upright
    assert (video.height, video.width) == upright.shape[:2]
    frame = next(read_frames(video, None, ReadOptions()))
    np.testing.assert_allclose(frame.image, upright.astype(int), atol=8)
    luma = upright.astype(float) @ (0.299, 0.587, 0.114)
    np.testing.assert_allclose(frame.grey, luma, atol=8)
    half = (video.width // 2, video.height // 2)
    frame = next(read_frames(video, half, ReadOptions()))
    smaller = cv2.resize(np.ascontiguousarray(upright), half, interpolation=cv2.INTER_AREA)
    np.testing.assert_allclose(frame.image, smaller.astype(int), atol=8)


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "suffix"),
    [
        ("gif", "rgb8", ".gif"),
        ("libvpx-vp9", "yuva420p", ".webm"),
        ("prores_ks", "yuva444p10le", ".mov"),
        ("qtrle", "argb", ".mov"),
        ("png", "rgba", ".mov"),
    ],
)
def test_alpha_and_palettes(tmp_path: Path, codec: str, pix_fmt: str, suffix: str) -> None:
    path, image = tmp_path / f"a{suffix}", colours()
    options = {"b": "5000k"} if codec == "libvpx-vp9" else {}
    write_video(path, [image] * 5, codec=codec, pix_fmt=pix_fmt, options=options)
    frames = read(path)
    assert [frame.index for frame in frames] == list(range(5))
    usual = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    for frame in frames:
        assert np.abs(frame.image.astype(int) - image).mean() < (20 if codec == "gif" else 4)
        assert np.abs(frame.grey.astype(int) - usual).mean() < (20 if codec == "gif" else 4)
    render_video(probe(path), [], tmp_path / "b.mp4", ReadOptions())
    marked = read(tmp_path / "b.mp4")
    assert [frame.index for frame in marked] == list(range(5))
    difference = np.abs(marked[2].image.astype(int) - frames[2].image).mean()
    assert difference < (20 if codec == "gif" else 8)


@pytest.mark.parametrize("rotation", [0, 90])
def test_anamorphic_pixels_are_read_as_stored(tmp_path: Path, rotation: int) -> None:
    """Boxes and crops are in stored pixels, turned upright; only players stretch them."""
    path, shape = tmp_path / "a.mp4", {"sample_aspect_ratio": Fraction(16, 11)}
    write_video(path, [colours()] * 2, properties=shape, rotation=rotation)
    video, upright = probe(path), np.rot90(colours(), -rotation // 90)
    assert video.pixel_aspect == (Fraction(11, 16) if rotation else Fraction(16, 11))
    assert (video.height, video.width) == upright.shape[:2]
    frame = next(read_frames(video, None, ReadOptions()))
    assert np.abs(frame.image.astype(int) - upright).mean() < 6


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "suffix"),
    [
        ("libx264", "yuv420p", ".mp4"),
        ("libx264", "yuvj420p", ".mp4"),
        ("libx264", "yuv422p", ".mp4"),
        ("libx264", "yuv444p", ".mp4"),
        ("libx264", "nv12", ".mp4"),
        ("libx264", "yuv420p10le", ".mp4"),
        ("libx264", "yuv444p10le", ".mp4"),
        ("libx264rgb", "rgb24", ".mp4"),
        ("ffv1", "bgr0", ".mkv"),
        ("mjpeg", "yuvj420p", ".avi"),
        ("mpeg4", "yuv420p", ".avi"),
    ],
)
def test_grey_is_the_usual_grey(tmp_path: Path, codec: str, pix_fmt: str, suffix: str) -> None:
    options = {"b": "20000k"} if codec == "mpeg4" else {}
    options = {"qp": "0"} if codec.startswith("libx264") else options
    path = tmp_path / f"a{suffix}"
    write_video(path, [colours()] * 3, codec=codec, pix_fmt=pix_fmt, options=options)
    frame = read(path)[1]
    usual = cv2.cvtColor(frame.image, cv2.COLOR_RGB2GRAY).astype(int)
    inside = (slice(4, -4), slice(4, -4))  # where chroma is not smeared by the image's edge
    exact = pix_fmt in ("yuv420p", "yuv444p", "nv12", "rgb24", "bgr0")  # FFmpeg rounds the others
    lossy = codec in ("mpeg4", "mjpeg")
    assert np.abs(frame.grey - usual)[inside].max() <= (2 if exact else 3) + 2 * lossy
    original = cv2.cvtColor(colours(), cv2.COLOR_RGB2GRAY).astype(int)
    assert np.abs(frame.grey - original)[inside].max() <= 3 + 6 * lossy


def test_grey_of_another_matrix_is_its_luma(tmp_path: Path) -> None:
    properties = {"colorspace": 1, "color_range": 1}  # BT.709, limited
    options = {"qp": "0"}
    path = tmp_path / "a.mp4"
    write_video(path, [colours()] * 3, pix_fmt="yuv444p", options=options, properties=properties)
    frame = read(path)[1]
    luma = colours() @ np.array([0.2126, 0.7152, 0.0722])
    assert np.abs(frame.grey - luma).max() <= 3
    assert np.abs(frame.image - colours().astype(int)).max() <= 6


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (101, 57), (2, 400)], ids=str)
def test_odd_sizes(tmp_path: Path, size: tuple[int, int]) -> None:
    width, height = size
    images = [np.full((height, width, 3), 120, np.uint8)] * 3
    write_video(tmp_path / "a.mkv", images, codec="ffv1", pix_fmt="yuv444p", options={})
    video = probe(tmp_path / "a.mkv")
    for image_size in (None, (64, 48), (1, 1)):
        frame = next(read_frames(video, image_size, ReadOptions()))
        assert frame.grey.shape == (height, width)
        assert frame.image.shape[1::-1] == (image_size or size)
        assert abs(int(frame.image.mean()) - 120) <= 2


def test_image_is_averaged_not_picked(tmp_path: Path) -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 200
    write_video(tmp_path / "a.mp4", [stripes] * 2, options={"qp": "0"})
    frame = next(read_frames(probe(tmp_path / "a.mp4"), (16, 16), ReadOptions()))
    assert np.abs(frame.image.astype(int) - 100).max() <= 3


def test_interlaced_is_deinterlaced(tmp_path: Path) -> None:
    images = []
    for number in range(20):  # a white bar that moves 8 pixels from field to field
        image = np.zeros((96, 192, 3), np.uint8)
        for field in (0, 1):
            left = 8 * (2 * number + field) % 160
            image[field::2, left : left + 24] = 220
        images.append(image)
    options = {"qp": "4", "x264-params": "tff=1"}
    write_video(tmp_path / "a.mp4", images, options=options)
    frames = read(tmp_path / "a.mp4")
    assert [frame.index for frame in frames] == list(range(20))
    for number, frame in enumerate(frames[1:-1], start=1):
        comb = np.abs(np.diff(frame.grey.astype(int), axis=0))[4:-4].mean()
        raw = np.abs(np.diff(images[number][..., 0].astype(int), axis=0))[4:-4].mean()
        assert comb < raw / 3


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi", ".ts", ".h264"])
@pytest.mark.parametrize(("start_s", "duration_s"), [(0, 0.4), (0.72, 0.6), (1.51, 0), (1.0, 9)])
def test_span(tmp_path: Path, suffix: str, start_s: float, duration_s: float) -> None:
    options = {"preset": "medium", "qp": "4", "g": "12", "bf": "2"}
    codec = "libx264"
    if suffix == ".avi":
        codec, options = "mpeg4", {"b": "3000k", "g": "12"}
    path = tmp_path / f"a{suffix}"
    write_video(path, numbered(50), codec=codec, options=options)
    found = numbers(read(path, ReadOptions(start_s=start_s, duration_s=duration_s)))
    whole = numbers(read(path))
    first = next(number for number in range(51) if number > start_s * 25 - 0.5)
    num_frames = min(round(duration_s * 25) or 50, 50 - first)
    assert found == {index: whole[first + index] for index in range(num_frames)}


def test_seek_does_not_decode_what_lies_before(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write_video(path, numbered(60), 5, options={"x264-params": "keyint=10:scenecut=0"})
    video = probe(path)
    first_s, _ = next(decode_from(video, False, Fraction(11), 1, ReadReport()))
    assert first_s == 10  # the key frame before


def lost(path: Path) -> tuple[dict[int, int], ReadReport, VideoInfo]:
    video, report = probe(path), ReadReport()
    frames = list(read_frames(video, None, ReadOptions(), report))
    return numbers(frames), report, video


@pytest.mark.parametrize("suffix", [".mkv", ".ts", ".avi"])
def test_file_that_breaks_off(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(0).integers(0, 60, (60, 32, 48, 3), np.uint8)
    images = [image + noise_image for image, noise_image in zip(numbered(60), noise, strict=True)]
    codec = "mpeg4" if suffix == ".avi" else "libx264"
    whole, path = tmp_path / f"whole{suffix}", tmp_path / f"a{suffix}"
    write_video(whole, images, codec=codec, options={"b": "3000k"} if suffix == ".avi" else None)
    content = whole.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    found, report, video = lost(path)
    assert sorted(found) == list(range(len(found)))
    assert 20 < len(found) < 40
    assert report.last_s == pytest.approx(len(found) / 25)
    if suffix == ".mkv":  # its head still tells the length
        assert report.lost_s(video, ReadOptions()) == pytest.approx(2.4 - len(found) / 25, abs=0.05)


def test_damaged_in_the_middle(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 60, (60, 64, 96, 3), np.uint8)
    path = tmp_path / "a.mp4"
    write_video(path, noise, options={"qp": "20", "g": "5"})
    content = bytearray(path.read_bytes())
    content[len(content) // 3 : len(content) // 2] = bytes(len(content) // 2 - len(content) // 3)
    path.write_bytes(content)
    found, report, _ = lost(path)
    assert sorted(found) == list(range(60))
    assert report.errors > 0
    assert report.messages


def test_size_change(tmp_path: Path) -> None:
    for name, (height, width) in {"a": (32, 48), "b": (64, 80)}.items():
        write_video(tmp_path / f"{name}.h264", numbered(10, height, width))
    path = tmp_path / "both.h264"
    path.write_bytes((tmp_path / "a.h264").read_bytes() + (tmp_path / "b.h264").read_bytes())
    frames = read(path)
    assert len(frames) == 20
    assert {frame.grey.shape for frame in frames} == {(32, 48)}
    assert {frame.image.shape for frame in frames} == {(32, 48, 3)}
    assert list(numbers(frames).values()) == [*range(10), *range(10)]


@pytest.mark.parametrize("fps", [1, 25, 60])
def test_one_image_is_at_least_one_frame(tmp_path: Path, fps: int) -> None:
    write_video(tmp_path / "a.mp4", numbered(1), fps)
    frames = read(tmp_path / "a.mp4")
    assert len(frames) == max(1, round(25 / fps))
    assert frames[0].index == 0


def test_closing_early_closes_the_file(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", numbered(50))
    opened = len(list(Path("/proc/self/fd").iterdir()))
    frames = read_frames(probe(tmp_path / "a.mp4"), (16, 16), ReadOptions(threads=2))
    next(frames)
    assert len(list(Path("/proc/self/fd").iterdir())) == opened + 1
    frames.close()  # type: ignore[attr-defined]
    assert len(list(Path("/proc/self/fd").iterdir())) == opened


def test_gif(tmp_path: Path) -> None:
    path = tmp_path / "a.gif"
    write_video(path, numbered(10), 10, codec="gif", pix_fmt="gray", options={})
    video = probe(path)
    assert (video.width, video.height, video.has_sound) == (48, 32, False)
    assert video.duration_s == pytest.approx(1, abs=0.01)
    expected = nearest([Fraction(number, 10) for number in range(10)], Fraction(1))
    assert numbers(read(path)) == expected


def fragmented(path: Path) -> Path:
    """Write an MP4 anew in fragments, whose header knows no duration."""
    target = path.with_name("fragmented.mp4")
    options = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
    with (
        av.open(str(path)) as source,
        av.open(str(target), "w", container_options=options) as container,
    ):
        streams = {
            stream.index: container.add_stream_from_template(stream) for stream in source.streams
        }
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream_index]
                container.mux(packet)
    return target


def without_duration(path: Path) -> Path:
    """Void the duration in the header of an MKV, as recorders that cannot go back leave it."""
    content = path.read_bytes()
    at = content.index(b"\x44\x89\x88")
    path.write_bytes(content[:at] + b"\xec\x89" + bytes(9) + content[at + 11 :])
    return path


@pytest.mark.parametrize(
    ("suffix", "change"), [(".mp4", fragmented), (".mkv", without_duration)], ids=["mp4", "mkv"]
)
@pytest.mark.parametrize("start_s", [0.0, 1.2])
def test_headers_without_a_duration(
    tmp_path: Path, suffix: str, change: Callable[[Path], Path], start_s: float
) -> None:
    path = tmp_path / f"a{suffix}"
    options = {"preset": "medium", "qp": "4", "g": "12", "bf": "2"}
    silence = np.zeros(32000, np.int16)
    write_video(path, numbered(50), options=options, sound=silence)
    path = change(path)
    video, report = probe(path), ReadReport()
    frames = list(read_frames(video, None, ReadOptions(start_s), report))
    first = round(start_s * 25)
    late = round(video.video_start_s * 25)
    shown = {number + late - first: number for number in range(50) if number + late >= first}
    assert numbers(frames) == shown
    assert video.duration_s == pytest.approx(2 + float(video.video_start_s), abs=0.05)
    assert report.lost_s(video, ReadOptions(start_s)) < 0.05
