"""The marked video keeps size, time stamps and audio; the marks are at their positions."""

import errno
import resource
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.error import err_check
from numpy.typing import NDArray

from tests.made_sound import MadeTrack, music, speech, write_tracks
from tests.made_video import write_video
from utils.errors import ResourceError, UserError
from utils.media.audio import Sound
from utils.media.container import ReadOptions, ReadReport, probe
from utils.media.orientation import Orientation
from utils.media.video import read_frames
from utils.output.overlay import GREEN, RED
from utils.output.render import render_video, writing_mp4
from utils.structures import ScoredTrack

GREY = 120


def images(count: int, height: int = 240, width: int = 320) -> list[NDArray[np.uint8]]:
    return [np.full((height, width, 3), GREY, np.uint8)] * count


def track(start: int, scores: Sequence[float], box: Sequence[float]) -> ScoredTrack:
    """Make a face that keeps still."""
    return ScoredTrack(
        id=7,
        shot=0,
        start=start,
        boxes=np.tile(np.array(box, np.float32), (len(scores), 1)),
        scores=np.array(scores, np.float32),
        probabilities=np.zeros(len(scores), np.float32),
        thumbnail=np.zeros((112, 112), np.uint8),
    )


def rendered(path: Path) -> list[tuple[float, NDArray[np.uint8]]]:
    """Read (time in s, RGB image) of a written video."""
    with av.open(str(path)) as container:
        return [
            (float(frame.pts * frame.time_base), np.asarray(frame.to_ndarray(format="rgb24")))
            for frame in container.decode(video=0)
        ]


def colour_at(image: NDArray[np.uint8], x: int, y: int) -> str:
    pixel = image[y, x].astype(int)
    for name, colour in {"green": GREEN, "red": RED, "grey": (GREY, GREY, GREY)}.items():
        if np.abs(pixel - np.array(colour)).max() < 40:
            return name
    return str(pixel)


BOX = (100, 80, 200, 200)
SIDE = (200, 140)  # a point on the box's right side


def test_marks_follow_tracks_and_scores(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", images(50))
    tracks = [track(10, [3] * 15 + [-3] * 15, BOX)]
    render_video(probe(tmp_path / "a.mp4"), tracks, tmp_path / "b.mp4", ReadOptions())
    colours = [colour_at(image, *SIDE) for _, image in rendered(tmp_path / "b.mp4")]
    # At frame 25 the mean of five scores is below 0 for the first time.
    assert colours == ["grey"] * 10 + ["green"] * 15 + ["red"] * 15 + ["grey"] * 10
    assert [path.name for path in tmp_path.glob(".*")] == []


@pytest.mark.parametrize("fps", [12, Fraction(30000, 1001), 50, 60], ids=str)
def test_time_stamps_are_kept(tmp_path: Path, fps: Fraction | int) -> None:
    write_video(tmp_path / "a.mp4", images(40), fps)
    tracks = [track(5, [1] * 10, BOX)]
    render_video(probe(tmp_path / "a.mp4"), tracks, tmp_path / "b.mp4", ReadOptions())
    found = rendered(tmp_path / "b.mp4")
    expected = [number / fps for number in range(40)]
    assert [time_s for time_s, _ in found] == pytest.approx(expected, abs=1e-4)
    for time_s, image in found:
        marked = 5 <= int(time_s * 25 + 0.5 + 1e-6) < 15
        assert colour_at(image, *SIDE) == ("green" if marked else "grey")


def test_variable_rate_and_late_start(tmp_path: Path) -> None:
    pts_s = [0.0, 0.04, 0.05, 0.32, 0.34, 1.0]
    sound = np.zeros(32000, np.int16)
    write_video(tmp_path / "a.mp4", images(6), sound=sound, pts_s=pts_s, video_start_s=0.844)
    render_video(probe(tmp_path / "a.mp4"), [], tmp_path / "b.mp4", ReadOptions())
    found = [time_s for time_s, _ in rendered(tmp_path / "b.mp4")]
    assert found == pytest.approx([time_s + 0.844 for time_s in pts_s], abs=1e-3)
    assert float(probe(tmp_path / "b.mp4").video_start_s) == pytest.approx(0.844, abs=1e-3)


@pytest.mark.parametrize("size", [(320, 240), (321, 241), (101, 57), (1, 1)], ids=str)
@pytest.mark.parametrize("rotation", [0, 90])
def test_size_is_kept(tmp_path: Path, size: tuple[int, int], rotation: int) -> None:
    frames = images(5, size[1], size[0])
    write_video(tmp_path / "a.mp4", frames, pix_fmt="yuv444p", rotation=rotation)
    tracks = [track(0, [1] * 5, (0, 0, 5, 5))]
    render_video(probe(tmp_path / "a.mp4"), tracks, tmp_path / "b.mp4", ReadOptions())
    video = probe(tmp_path / "b.mp4")
    assert (video.width, video.height) == (size[::-1] if rotation else size)
    assert video.orientation == Orientation()


@pytest.mark.parametrize("mirrored", [False, True], ids=["", "mirrored"])
@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_image_is_upright(tmp_path: Path, rotation: int, mirrored: bool) -> None:
    image = np.full((240, 320, 3), 20, np.uint8)
    image[:120, :160] = 230  # a bright left upper quarter, as stored
    write_video(tmp_path / "a.mp4", [image] * 3, rotation=rotation, mirrored=mirrored)
    render_video(probe(tmp_path / "a.mp4"), [], tmp_path / "b.mp4", ReadOptions())
    assert probe(tmp_path / "b.mp4").orientation == Orientation()
    found = rendered(tmp_path / "b.mp4")[1][1]
    upright = np.rot90(image, -rotation // 90)
    upright = upright[:, ::-1] if mirrored else upright
    assert np.abs(found.astype(int) - upright).mean() < 4


@pytest.mark.parametrize(
    ("suffix", "codec", "written"),
    [
        (".mp4", "aac", "aac"),
        (".mp4", "libmp3lame", "mp3"),
        (".mkv", "flac", "flac"),
        (".mkv", "aac", "aac"),
        (".ts", "aac", "aac"),
        (".webm", "libopus", "opus"),
        (".avi", "pcm_s16le", "aac"),
        (".mkv", "mp2", "aac"),
    ],
)
@pytest.mark.parametrize("start_s", [0.0, 1.0])
def test_sound_is_kept(
    tmp_path: Path, suffix: str, codec: str, written: str, start_s: float
) -> None:
    source, path = tmp_path / f"a{suffix}", tmp_path / "b.mp4"
    sound = np.zeros((48000 * 3, 2), np.int16)
    sound[96000:96048] = 20000  # at 2 s
    video_codec = {".webm": "libvpx", ".avi": "mpeg4"}.get(suffix, "libx264")
    write_video(
        source, images(75), sound=sound, sample_rate=48000, audio_codec=codec, codec=video_codec
    )
    video = probe(source)
    render_video(video, [], path, ReadOptions(start_s=start_s))
    with av.open(str(path)) as container:
        assert container.streams.audio[0].codec_context.codec.canonical_name == written
    result = Sound(probe(path), ReadOptions()).read(0, 48000).astype(float)
    energy = result**2
    click_s = (energy * np.arange(48000)).sum() / energy.sum() / 16000
    expected_s = max(float(video.video_start_s) - start_s, 0.0)
    delay_s = float(probe(path).video_start_s) - expected_s
    assert click_s - float(video.video_start_s) + start_s - delay_s == pytest.approx(2, abs=2e-3)


def test_span(tmp_path: Path) -> None:
    sound = np.zeros(48000, np.int16)
    write_video(tmp_path / "a.mp4", images(75), sound=sound)
    options = ReadOptions(start_s=1.0, duration_s=0.8)
    render_video(probe(tmp_path / "a.mp4"), [track(0, [1] * 10, BOX)], tmp_path / "b.mp4", options)
    found = rendered(tmp_path / "b.mp4")
    assert [time_s for time_s, _ in found] == pytest.approx([i / 25 for i in range(20)], abs=1e-3)
    colours = [colour_at(image, *SIDE) for _, image in found]
    assert colours == ["green"] * 10 + ["grey"] * 10
    with av.open(str(tmp_path / "b.mp4")) as container:
        assert container.duration / 1e6 == pytest.approx(0.8, abs=0.07)


@pytest.mark.parametrize(("colourspace", "colour_range"), [(1, 1), (1, 2), (5, 1), (9, 1)])
def test_colours_are_kept(tmp_path: Path, colourspace: int, colour_range: int) -> None:
    image = np.zeros((240, 320, 3), np.uint8)
    image[:] = (200, 60, 30)
    tags = {
        "colorspace": colourspace,
        "color_range": colour_range,
        "color_primaries": 1,
        "color_trc": 1,
    }
    write_video(tmp_path / "a.mp4", [image] * 4, properties=tags)
    render_video(
        probe(tmp_path / "a.mp4"), [track(0, [1] * 4, BOX)], tmp_path / "b.mp4", ReadOptions()
    )
    found = rendered(tmp_path / "b.mp4")[2][1]
    assert np.abs(found[20, 20].astype(int) - (200, 60, 30)).max() < 8
    assert colour_at(found, *SIDE) == "green"
    with av.open(str(tmp_path / "b.mp4")) as container:
        frame = next(container.decode(video=0))
        assert {name: getattr(frame, name) for name in tags} == tags


@pytest.mark.parametrize(("rotation", "aspect"), [(0, Fraction(16, 11)), (90, Fraction(11, 16))])
def test_shape_of_pixels_is_kept(tmp_path: Path, rotation: int, aspect: Fraction) -> None:
    shape = {"sample_aspect_ratio": Fraction(16, 11)}
    write_video(tmp_path / "a.mp4", images(4), properties=shape, rotation=rotation)
    render_video(probe(tmp_path / "a.mp4"), [], tmp_path / "b.mp4", ReadOptions())
    assert probe(tmp_path / "b.mp4").pixel_aspect == aspect


def test_interlaced_becomes_progressive(tmp_path: Path) -> None:
    options = {"qp": "4", "x264-params": "tff=1"}
    write_video(tmp_path / "a.mp4", images(10), options=options)
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert next(container.decode(video=0)).interlaced_frame
    render_video(probe(tmp_path / "a.mp4"), [], tmp_path / "b.mp4", ReadOptions())
    with av.open(str(tmp_path / "b.mp4")) as container:
        interlaced = [frame.interlaced_frame for frame in container.decode(video=0)]
    assert interlaced == [False] * 10


def test_ten_bit_and_rgb_sources(tmp_path: Path) -> None:
    for codec, pix_fmt in [("libx264", "yuv420p10le"), ("libx264rgb", "rgb24")]:
        write_video(tmp_path / "a.mp4", images(4), codec=codec, pix_fmt=pix_fmt, options={})
        tracks = [track(0, [-1] * 4, BOX)]
        render_video(probe(tmp_path / "a.mp4"), tracks, tmp_path / "b.mp4", ReadOptions())
        image = rendered(tmp_path / "b.mp4")[1][1]
        assert colour_at(image, 10, 200) == "grey"
        assert colour_at(image, *SIDE) == "red"


def test_progress_counts_source_images(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", images(30), 50)
    done: list[int] = []
    path = tmp_path / "b.mp4"
    render_video(probe(tmp_path / "a.mp4"), [], path, ReadOptions(), done.append)
    assert sum(done) == 30


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_nothing_is_left_when_stopped(tmp_path: Path, error: type[BaseException]) -> None:
    write_video(tmp_path / "a.mp4", images(30), sound=np.zeros(16000, np.int16))

    def stop(_: int) -> None:
        raise error

    folder = tmp_path / "out"
    with pytest.raises(error):
        render_video(probe(tmp_path / "a.mp4"), [], folder / "b.mp4", ReadOptions(), progress=stop)
    assert list(folder.iterdir()) == []


def test_full_disk(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (40, 240, 320, 3), np.uint8)
    write_video(tmp_path / "a.mp4", noise)
    video, folder = probe(tmp_path / "a.mp4"), tmp_path / "out"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(ResourceError, match=r"b\.mp4: File too large; choose another folder"):
            render_video(video, [], folder / "b.mp4", ReadOptions())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("code", "kind", "message"),
    [
        (errno.ENOSPC, ResourceError, "cannot write .*; free some space or choose another folder"),
        (errno.EROFS, ResourceError, "cannot write .*system; choose another folder"),
        (errno.EINVAL, UserError, "cannot encode .*: Invalid argument; convert the source"),
    ],
    ids=["full disk", "read-only", "refused by FFmpeg"],
)
def test_only_a_full_disk_is_called_full(
    tmp_path: Path, code: int, kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message), writing_mp4(tmp_path / "b.mp4"):
        err_check(-code)
    assert list(tmp_path.iterdir()) == []


def test_folder_that_is_a_file(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", images(2))
    with pytest.raises(OSError, match=r"a\.mp4"):
        render_video(probe(tmp_path / "a.mp4"), [], tmp_path / "a.mp4" / "b.mp4", ReadOptions())


def test_source_that_breaks_off(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (50, 60, 80, 3), np.uint8)
    sound = np.random.default_rng(0).normal(0, 3000, 32000).astype(np.int16)
    write_video(tmp_path / "a.mp4", noise, sound=sound)
    whole, path = tmp_path / "whole.mp4", tmp_path / "b.mp4"
    render_video(probe(tmp_path / "a.mp4"), [], whole, ReadOptions())  # its index comes first
    content = whole.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    video = probe(path)
    render_video(video, [], tmp_path / "c.mp4", ReadOptions())
    assert 20 < len(rendered(tmp_path / "c.mp4")) < 45
    report = ReadReport()
    num_frames = len(list(read_frames(video, None, ReadOptions(), report)))
    assert report.lost_s(video, ReadOptions()) == pytest.approx(2 - num_frames / 25, abs=0.05)
    assert Sound(video, ReadOptions()).read(0, 48000)[:16000].any()


def test_span_without_images(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", images(5))
    with pytest.raises(ValueError, match="no image in the requested span"):
        render_video(probe(tmp_path / "a.mp4"), [], tmp_path / "b.mp4", ReadOptions(start_s=60))
    assert not (tmp_path / "b.mp4").exists()


def audio_of(path: Path) -> tuple[str, int, int, NDArray[np.float64]]:
    """Return codec, rate, number of channels and 16 kHz mono samples of a file's only track."""
    with av.open(str(path)) as container:
        (stream,) = container.streams.audio
        kind = (stream.codec_context.name, stream.rate, stream.channels)
    return (*kind, Sound(probe(path), ReadOptions()).read(0, 96000) / 32768)


@pytest.mark.parametrize(
    ("track", "numbers", "kind"),
    [
        ("auto", [2, 3], ("aac", 48000, 2)),
        ("1", [1], ("aac", 48000, 1)),
        ("2", [2], ("aac", 44100, 1)),
        ("3", [3], ("flac", 48000, 2)),
        ("all", [1, 2, 3], ("aac", 48000, 2)),
    ],
)
def test_sound_is_the_one_that_was_analysed(
    tmp_path: Path, track: str, numbers: list[int], kind: tuple[str, int, int]
) -> None:
    stereo = np.repeat(speech(6, 48000, seed=1)[:, None], 2, axis=1)
    tracks = [
        MadeTrack(music(6, 48000, level=0.2), 48000, "aac"),
        MadeTrack(speech(6, 44100), 44100, "aac"),
        MadeTrack(stereo, 48000, "flac"),
    ]
    write_tracks(tmp_path / "a.mkv", tracks, 30)
    options = ReadOptions(audio_track=track)
    analysed = Sound(probe(tmp_path / "a.mkv"), options)
    assert [source.number for source in analysed.choice.sources] == numbers
    render_video(probe(tmp_path / "a.mkv"), [], tmp_path / "b.mp4", options)
    *found_kind, found = audio_of(tmp_path / "b.mp4")
    assert tuple(found_kind) == kind
    expected = analysed.read(0, 96000) / 32768
    limit = 0.15 if len(numbers) > 1 else 0.05  # encoded again where tracks are mixed
    assert np.sqrt(((found - expected) ** 2).mean()) < limit * np.sqrt((expected**2).mean())


def test_stereo_out_of_phase_is_copied(tmp_path: Path) -> None:
    voice = speech(4, 48000)
    write_tracks(tmp_path / "a.mkv", [MadeTrack(np.stack([voice, -voice], axis=1), 48000, "flac")])
    render_video(probe(tmp_path / "a.mkv"), [], tmp_path / "b.mp4", ReadOptions())
    codec, rate, channels, found = audio_of(tmp_path / "b.mp4")
    assert (codec, rate, channels) == ("flac", 48000, 2)
    expected = Sound(probe(tmp_path / "a.mkv"), ReadOptions()).read(0, 96000) / 32768
    np.testing.assert_allclose(found, expected, atol=2 / 32768)
    assert np.abs(found).max() > 0.2
