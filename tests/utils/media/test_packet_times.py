"""At jumps of the clock, images and audio stay in sync; faulty time stamps change nothing."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.made_video import write_video
from utils.media.audio import Sound
from utils.media.container import ReadOptions, ReadReport, VideoInfo, probe
from utils.media.source_frames import read_source_frames, read_warnings
from utils.output.render import render_video
from utils.structures import SAMPLE_RATE

RATE = 48000
LENGTH = 100  # frames of a part
MARK = 75  # frame that is white while a tone is heard
MADE: dict[str, dict[str, Any]] = {
    ".ts": {},
    ".mkv": {"options": {"g": "10", "preset": "ultrafast"}},
    ".webm": {"codec": "libvpx", "options": {"b": "500k", "g": "10"}},
    ".mpg": {"codec": "mpeg2video", "options": {"b": "500k", "g": "10", "bf": "2"}},
}


def part(path: Path, start_s: float, mark: int = MARK) -> bytes:
    """Make four seconds, black and silent but for one white frame and a tone along with it."""
    images = [np.full((32, 48, 3), 230 * (number == mark), np.uint8) for number in range(LENGTH)]
    sound = np.zeros(LENGTH * RATE // 25, np.int16)
    span = slice(mark * RATE // 25, (mark + 1) * RATE // 25)
    sound[span] = 15000 * np.sin(2 * np.pi * 1000 * np.arange(RATE // 25) / RATE)
    options = {"video_start_s": start_s, "audio_start_s": start_s, **MADE[path.suffix]}
    write_video(path, images, 25, sound, RATE, **options)
    return path.read_bytes()


def join(folder: Path, suffix: str, *starts_s: float) -> Path:
    """Join parts that begin at the given times, as they are."""
    path = folder / f"joined{suffix}"
    parts = [part(folder / f"part{number}{suffix}", at) for number, at in enumerate(starts_s)]
    path.write_bytes(b"".join(parts))
    return path


def white_s(video: VideoInfo, options: ReadOptions) -> list[float]:
    """Return when white images are shown."""
    return [
        float(frame.start_s)
        for frame in read_source_frames(video, options, ReadReport())
        if frame.image.to_ndarray(format="gray").mean() > 100
    ]


def tones_s(video: VideoInfo, options: ReadOptions, until_s: float) -> list[float]:
    """Return when tones begin."""
    samples = Sound(video, options).read(0, round(until_s * SAMPLE_RATE))
    loud = np.flatnonzero(np.abs(samples.astype(int)) > 4000) / SAMPLE_RATE
    return [float(loud[i]) for i in range(len(loud)) if i == 0 or loud[i] - loud[i - 1] > 0.2]


@pytest.mark.parametrize("suffix", MADE)
@pytest.mark.parametrize("second_s", [12.0, 10.0, 2.0], ids=["2 s back", "same", "10 s back"])
def test_joined_parts_go_on_in_step(tmp_path: Path, suffix: str, second_s: float) -> None:
    path = join(tmp_path, suffix, 10.0, second_s)
    video = probe(path)
    assert video.duration_s == pytest.approx(8, abs=0.1)
    shown, heard = white_s(video, ReadOptions()), tones_s(video, ReadOptions(), 9)
    assert shown == pytest.approx([3, 7], abs=0.1)
    assert heard == pytest.approx(shown, abs=0.05)
    (place,) = video.joins
    assert float(place.time_s - video.start_s) == pytest.approx(4, abs=0.1)
    assert float(place.jump_s) == pytest.approx(second_s - 14, abs=0.1)


@pytest.mark.parametrize("suffix", MADE)
@pytest.mark.parametrize("start_s", [2.0, 4.5, 6.0])
def test_a_span_of_joined_parts(tmp_path: Path, suffix: str, start_s: float) -> None:
    video = probe(join(tmp_path, suffix, 10.0, 12.0))
    whole = np.array(white_s(video, ReadOptions()))
    options = ReadOptions(start_s=start_s)
    expected = [time_s - start_s for time_s in whole if time_s > start_s]
    assert white_s(video, options) == pytest.approx(expected, abs=1e-3)
    assert tones_s(video, options, 9 - start_s) == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize("suffix", [".ts", ".mkv", ".mpg"])
@pytest.mark.parametrize("start_s", [0.0, 2.0])
def test_the_marked_video_of_joined_parts_is_in_step(
    tmp_path: Path, suffix: str, start_s: float
) -> None:
    options = ReadOptions(start_s)
    render_video(probe(join(tmp_path, suffix, 10.0, 12.0)), [], tmp_path / "out.mp4", options)
    video = probe(tmp_path / "out.mp4")
    shown = white_s(video, ReadOptions())
    assert shown == pytest.approx([3 - start_s, 7 - start_s], abs=0.1)
    assert tones_s(video, ReadOptions(), 9) == pytest.approx(shown, abs=0.05)


def test_many_parts_however_far_they_jump(tmp_path: Path) -> None:
    video = probe(join(tmp_path, ".ts", 4000.0, 20.0, 18.0, 4000.0, 3997.0))
    shown, heard = white_s(video, ReadOptions()), tones_s(video, ReadOptions(), 21)
    assert shown == pytest.approx([3, 7, 11, 15, 19], abs=0.3)
    assert heard == pytest.approx(shown, abs=0.05)
    assert len(video.joins) == 4


def test_a_short_overlap_is_left_out_of_both(tmp_path: Path) -> None:
    video = probe(join(tmp_path, ".ts", 10.0, 13.7))
    assert video.joins == ()
    shown = white_s(video, ReadOptions())
    assert shown == pytest.approx([3, 6.7], abs=0.05)
    assert tones_s(video, ReadOptions(), 9) == pytest.approx(shown, abs=0.05)


def test_joins_are_told_where_they_lie_in_the_span(tmp_path: Path) -> None:
    video = probe(join(tmp_path, ".ts", 10.0, 12.0))

    def warnings(start_s: float = 0.0, duration_s: float = 0.0) -> list[str]:
        options, report = ReadOptions(start_s, duration_s), ReadReport()
        list(read_source_frames(video, options, report))
        return read_warnings(video, options, report, ReadReport())

    line = ("the time stamps jump back by 2.0 s at 4.0 s: images and audio continue without a gap",)
    assert warnings() == [*line]
    assert warnings(3.0, 2.0) == [*line]
    assert warnings(5.0) == warnings(0.0, 3.0) == []
    video = probe(join(tmp_path, ".ts", *[10.0] * 8))
    assert [one[:25] for one in warnings()] == ["the time stamps jump back"] * 5 + [
        "the time stamps jump at 2"
    ]


def test_wrap_around_of_the_clock_is_no_join(tmp_path: Path) -> None:
    video = probe(remux(part_path(tmp_path, ".ts"), {0: 2**33 - 200000, 1: 2**33 - 200000}))
    assert video.joins == ()
    assert white_s(video, ReadOptions()) == pytest.approx([3], abs=0.05)
    assert tones_s(video, ReadOptions(), 5) == pytest.approx([3], abs=0.05)
    assert white_s(video, ReadOptions(2.6)) == pytest.approx([0.4], abs=0.05)


def part_path(folder: Path, suffix: str) -> Path:
    path = folder / f"part{suffix}"
    part(path, 0.0)
    return path


def remux(path: Path, offsets: dict[int, int], faults: dict[int, int] | None = None) -> Path:
    """Write a file again with time stamps moved, all of a stream or those of single packets.

    Args:
        path: The file.
        offsets: Ticks by stream.
        faults: Ticks by number of the packet in the file.
    """
    target = path.with_name(f"moved{path.suffix}")
    with av.open(str(path)) as source, av.open(str(target), "w") as container:
        streams = {
            stream.index: container.add_stream_from_template(stream) for stream in source.streams
        }
        for number, packet in enumerate(source.demux()):
            if packet.dts is None or packet.pts is None:
                continue
            offset = offsets.get(packet.stream_index, 0) + (faults or {}).get(number, 0)
            packet.pts += offset
            packet.dts += offset
            packet.stream = streams[packet.stream_index]
            container.mux(packet)
    return target


def patched_stamp(path: Path, old_s: float, new_s: float, pid: int) -> None:
    """Change one time stamp of a transport stream, in place, where a PES packet carries it."""
    content = bytearray(path.read_bytes())
    for at in range(0, len(content), 188):
        packet = content[at : at + 188]
        if (packet[1] & 0x1F) << 8 | packet[2] != pid or not packet[1] & 0x40:
            continue
        pes = at + 4 + (1 + packet[4] if packet[3] & 0x20 else 0)
        for flag, place in ((0x80, pes + 9), (0x40, pes + 14)):
            if content[pes + 7] & flag != flag:
                continue
            field = content[place : place + 5]
            stamp = (field[0] >> 1 & 7) << 30 | field[1] << 22 | (field[2] >> 1) << 15
            stamp |= field[3] << 7 | field[4] >> 1
            if abs(stamp / 90000 - old_s) < 0.001:
                ticks = round(new_s * 90000)
                content[place : place + 5] = bytes(
                    [
                        field[0] & 0xF1 | (ticks >> 30 & 7) << 1,
                        ticks >> 22 & 255,
                        (ticks >> 14 & 254) | 1,
                        ticks >> 7 & 255,
                        (ticks << 1 & 254) | 1,
                    ]
                )
    path.write_bytes(content)


@pytest.mark.parametrize("pid", [256, 257], ids=["image", "sound"])
@pytest.mark.parametrize("leap_s", [3.0, 3600.0])
def test_one_faulty_time_stamp_moves_nothing(tmp_path: Path, pid: int, leap_s: float) -> None:
    path = part_path(tmp_path, ".ts")
    stamps = []
    with av.open(str(path)) as container:
        index = next(stream.index for stream in container.streams if stream.id == pid)
        for packet in container.demux():
            if packet.stream_index == index and packet.pts is not None:
                stamps.append(float(packet.pts * packet.time_base))
    offset_s = 1.4  # of the muxer
    old_s = next(time_s for time_s in stamps if time_s >= 1.0)
    content = path.read_bytes()
    for shift_s in (0.0, offset_s):
        patched_stamp(path, old_s + shift_s, old_s + shift_s + leap_s, pid)
    assert path.read_bytes() != content
    video = probe(path)
    assert video.joins == ()
    assert white_s(video, ReadOptions()) == pytest.approx([3], abs=0.05)
    assert tones_s(video, ReadOptions(), 5) == pytest.approx([3], abs=0.05)


def test_sound_that_ends_before_a_join_stays_with_its_images(tmp_path: Path) -> None:
    first, second = tmp_path / "1.ts", tmp_path / "2.ts"
    black: list[NDArray[np.uint8]] = [np.zeros((32, 48, 3), np.uint8)] * LENGTH
    write_video(first, black, 25, np.zeros(RATE, np.int16), RATE)
    part(second, 2.0)
    path = tmp_path / "joined.ts"
    path.write_bytes(first.read_bytes() + second.read_bytes())
    video = probe(path)
    assert white_s(video, ReadOptions()) == pytest.approx([7], abs=0.1)
    assert tones_s(video, ReadOptions(), 9) == pytest.approx([7], abs=0.1)
    assert video.start_s == Fraction(0)
