"""The marked video has the source's audio in sync, for all kinds of time stamps."""

import tracemalloc
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.made_video import write_video
from utils.media.audio import Sound
from utils.media.container import ReadOptions, probe
from utils.output.render import render_video

RATE = 48000
CLICK = RATE // 2  # the sample of each part that is loud
GREY = np.full((32, 48, 3), 120, np.uint8)


def write_joined(path: Path, codecs: tuple[str, str], starts_s: Sequence[float]) -> None:
    """Join parts of 1 s byte by byte, as downloaded streams and camera files are joined.

    Args:
        path: A container without an index, such as TS or VOB.
        codecs: Of images and sound.
        starts_s: When each part starts on the clock that its time stamps follow.
    """
    sound = np.zeros(RATE, np.int16)
    sound[CLICK : CLICK + 48] = 20000
    parts = []
    for start_s in starts_s:
        part = path.with_name(f"part{path.suffix}")
        write_video(
            part,
            [GREY] * 25,
            sound=sound,
            sample_rate=RATE,
            codec=codecs[0],
            audio_codec=codecs[1],
            video_start_s=round(start_s * 25) / 25,
            audio_start_s=start_s,
            options={"b": "500k"} if codecs[0] != "libx264" else None,
        )
        parts.append(part.read_bytes())
    path.write_bytes(b"".join(parts))


def stamps(path: Path) -> list[float]:
    """Return the decoding times of the audio packets, s."""
    with av.open(str(path)) as container:
        packets = container.demux(audio=0)
        return [float(one.dts * one.time_base) for one in packets if one.dts is not None]


def clicks(sound: NDArray[np.int16]) -> list[float]:
    """Return the times of loud samples at 16 kHz, s; those within 10 ms are one."""
    loud = np.flatnonzero(np.abs(sound) > 4000)
    firsts = [place for before, place in pairwise((-1000, *loud.tolist())) if place - before > 160]
    return [place / 16000 for place in firsts]


@pytest.mark.parametrize(
    ("suffix", "codecs", "starts_s"),
    [
        (".ts", ("libx264", "aac"), [0.4, 1.38, 2.36]),
        (".vob", ("mpeg2video", "ac3"), [0.4, 1.368, 2.36]),
        (".vob", ("mpeg2video", "ac3"), [0.4, 1.24, 2.08]),
    ],
    ids=["AAC", "AC-3", "AC-3, several packets"],
)
def test_overlapping_parts_are_copied_in_step(
    tmp_path: Path, suffix: str, codecs: tuple[str, str], starts_s: list[float]
) -> None:
    source, path = tmp_path / f"a{suffix}", tmp_path / "b.mp4"
    write_joined(source, codecs, starts_s)
    found = stamps(source)
    assert any(later <= earlier for earlier, later in pairwise(found))
    render_video(probe(source), [], path, ReadOptions())
    with av.open(str(path)) as container:
        assert container.streams.audio[0].codec_context.name == codecs[1]
    copied = np.array(stamps(path)) - stamps(path)[0] + found[0]
    length_s = found[1] - found[0]
    steps = np.diff(copied)
    assert steps.min() > 0 and steps.max() < 1.5 * length_s + 0.001
    assert copied[-1] == pytest.approx(found[-1], abs=0.001)
    moved = np.abs(copied[:, None] - np.array(found)).min(axis=1)
    assert moved.max() < 0.001  # every packet keeps its time


@pytest.mark.parametrize(
    ("starts_s", "codec"),
    [([0.4, 0.4], "ac3"), ([5.4, 0.4], "ac3"), ([0.4, 4.4], "aac")],
    ids=["begins again", "jumps back", "gap"],
)
def test_sound_whose_stamps_jump_stays_in_step(
    tmp_path: Path, starts_s: list[float], codec: str
) -> None:
    # Jumps back are closed in the packets; a gap cannot be copied, so it is encoded as silence.
    source, path = tmp_path / "a.ts", tmp_path / "b.mp4"
    write_joined(source, ("libx264", "ac3"), starts_s)
    render_video(probe(source), [], path, ReadOptions())
    with av.open(str(path)) as container:
        assert container.streams.audio[0].codec_context.name == codec
    original = Sound(probe(source), ReadOptions()).read(0, 6 * 16000)
    rendered = Sound(probe(path), ReadOptions()).read(0, 6 * 16000)
    assert clicks(rendered) == pytest.approx(clicks(original), abs=0.003)


def test_a_gap_is_filled_a_minute_at_a_time(tmp_path: Path) -> None:
    source, path, gap_s = tmp_path / "a.mkv", tmp_path / "b.mp4", 1800
    noise = np.random.default_rng(0).integers(-9000, 9000, 8000, dtype=np.int16)
    pieces = [(0.0, noise), (float(gap_s), noise)]
    write_video(
        source,
        [GREY] * 2,
        sound=pieces,
        sample_rate=8000,
        audio_codec="pcm_s16le",
        pts_s=[0, gap_s],
    )
    video = probe(source)
    tracemalloc.start()
    render_video(video, [], path, ReadOptions())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < gap_s * 8000 * 2 / 8  # the gap alone takes 29 MB
    heard = Sound(probe(path), ReadOptions(start_s=gap_s - 1)).read(0, 32000)
    assert np.flatnonzero(np.abs(heard) > 1000)[0] / 16000 == pytest.approx(1, abs=0.01)
