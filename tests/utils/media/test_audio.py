"""Audio is placed by its time stamps, to a millisecond, in every container."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.made_video import write_video
from utils.media.audio import Sound, read_sound, silent_frames
from utils.media.container import ReadOptions, probe
from utils.structures import SAMPLE_RATE

IMAGES = [np.full((32, 48, 3), 90, np.uint8)] * 100


def click(
    rate: int, channels: int = 1, at_s: float = 3.0, total_s: float = 4.0
) -> NDArray[np.int16]:
    """Make silence but for one short click, the same in all channels."""
    sound = np.zeros(round(rate * total_s))
    width, middle = max(2, rate // 2000), round(at_s * rate)
    sound[middle - width : middle + width] = np.hanning(2 * width) * 25000
    mono = sound.astype(np.int16)
    return mono if channels == 1 else np.repeat(mono[:, None], channels, axis=1)


def tone(rate: int, hertz: float, total_s: float) -> NDArray[np.int16]:
    """Make a sine tone."""
    time_s = np.arange(round(rate * total_s)) / rate
    return (8000 * np.sin(2 * np.pi * hertz * time_s)).astype(np.int16)


def middle_s(samples: NDArray[np.int16]) -> float:
    """Return the times at which audio has energy."""
    energy = samples.astype(float) ** 2
    return float((energy * np.arange(len(energy))).sum() / energy.sum() / SAMPLE_RATE)


def sound_of(path: Path, **options: float) -> Sound:
    return Sound(probe(path), ReadOptions(**options))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("suffix", "codec", "rate", "channels"),
    [
        (".mp4", "aac", 8000, 1),
        (".mp4", "aac", 11025, 2),
        (".mp4", "aac", 44100, 2),
        (".mp4", "aac", 48000, 6),
        (".mp4", "aac", 96000, 2),
        (".mp4", "libmp3lame", 44100, 2),
        (".mp4", "libopus", 48000, 2),
        (".mkv", "flac", 44100, 6),
        (".mkv", "flac", 96000, 1),
        (".mkv", "aac", 48000, 2),
        (".avi", "pcm_s16le", 8000, 1),
        (".avi", "pcm_s16le", 11025, 2),
        (".mov", "pcm_s16le", 44100, 6),
        (".mov", "aac", 44100, 2),
        (".webm", "libopus", 48000, 1),
        (".webm", "libopus", 48000, 6),
        (".ts", "aac", 48000, 2),
    ],
)
def test_click_stays(tmp_path: Path, suffix: str, codec: str, rate: int, channels: int) -> None:
    path = tmp_path / f"a{suffix}"
    video_codec = {".webm": "libvpx", ".avi": "mpeg4"}.get(suffix, "libx264")
    sound = click(rate, channels)
    write_video(path, IMAGES, sound=sound, sample_rate=rate, audio_codec=codec, codec=video_codec)
    video_start_s = float(probe(path).video_start_s)
    for start_s in (0.0, 2.5):
        found = sound_of(path, start_s=start_s).read(0, 4 * SAMPLE_RATE)
        assert middle_s(found) + start_s - video_start_s == pytest.approx(3, abs=1e-3)
        assert 20000 < np.abs(found).max() < 26000


@pytest.mark.parametrize(("video_start_s", "audio_start_s"), [(0, 0.7), (0.7, 0), (0.3, 0.5)])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_streams_that_start_apart(
    tmp_path: Path, suffix: str, video_start_s: float, audio_start_s: float
) -> None:
    path = tmp_path / f"a{suffix}"
    write_video(
        path,
        IMAGES,
        sound=click(44100),
        sample_rate=44100,
        video_start_s=video_start_s,
        audio_start_s=audio_start_s,
    )
    video = probe(path)
    first_s = min(video_start_s, audio_start_s)
    assert float(video.video_start_s) == pytest.approx(video_start_s - first_s, abs=1e-3)
    found = sound_of(path).read(0, 6 * SAMPLE_RATE)
    assert middle_s(found) == pytest.approx(3 + audio_start_s - first_s, abs=1e-3)


def test_gap_is_silence(tmp_path: Path) -> None:
    pieces = [(0.0, tone(48000, 440, 1)), (2.5, click(48000, at_s=0.5, total_s=1.5))]
    path = tmp_path / "a.mkv"
    write_video(path, IMAGES, sound=pieces, sample_rate=48000, audio_codec="flac")
    sound = sound_of(path)
    assert np.abs(sound.read(0, SAMPLE_RATE)).max() > 1
    assert np.abs(sound.read(round(1.05 * SAMPLE_RATE), round(2.45 * SAMPLE_RATE))).max() <= 1
    found = sound.read(2 * SAMPLE_RATE, 4 * SAMPLE_RATE)
    assert middle_s(found) + 2 == pytest.approx(3, abs=1e-3)


def test_overlap_is_cut(tmp_path: Path) -> None:
    first, second, path = tmp_path / "1.ts", tmp_path / "2.ts", tmp_path / "a.ts"
    write_video(first, IMAGES[:50], sound=tone(48000, 440, 2), sample_rate=48000)
    late = click(48000, at_s=1.4, total_s=2.4)
    write_video(
        second, IMAGES[:50], sound=late, sample_rate=48000, video_start_s=1.6, audio_start_s=1.6
    )
    path.write_bytes(first.read_bytes() + second.read_bytes())
    found = sound_of(path).read(0, 5 * SAMPLE_RATE)
    around = found[round(1.8 * SAMPLE_RATE) : round(1.95 * SAMPLE_RATE)]
    assert np.abs(around).max() > 7000  # what came first stays
    late_s = middle_s(found[round(2.5 * SAMPLE_RATE) :]) + 2.5
    assert late_s == pytest.approx(3, abs=1e-3)


def test_drift_is_followed(tmp_path: Path) -> None:
    # Each 100 ms of sound is stamped 101 ms after the one before: 1 % too little sound.
    parts = [click(48000, at_s=0.05, total_s=0.1) for _ in range(60)]
    pieces = [(0.101 * number, part) for number, part in enumerate(parts)]
    path = tmp_path / "a.mkv"
    write_video(path, IMAGES, sound=pieces, sample_rate=48000, audio_codec="pcm_s16le")
    found = np.abs(sound_of(path).read(0, 7 * SAMPLE_RATE).astype(int))
    for number in range(60):
        around = round((0.101 * number + 0.05) * SAMPLE_RATE)
        nearby = found[max(0, around - 700) : around + 700]  # 44 ms
        assert nearby.max() > 10000


def test_channels_are_averaged(tmp_path: Path) -> None:
    left = tone(SAMPLE_RATE, 440, 2)
    path = tmp_path / "a.mkv"
    stereo = np.stack([left, np.zeros_like(left)], axis=1)
    write_video(path, IMAGES, sound=stereo, audio_codec="pcm_s16le")
    found = sound_of(path).read(0, len(left))
    np.testing.assert_allclose(found, left / 2, atol=1.5)


def test_same_rate_mono_is_untouched(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(-30000, 30000, 20000).astype(np.int16)
    write_video(tmp_path / "a.mkv", IMAGES, sound=noise, audio_codec="pcm_s16le")
    np.testing.assert_array_equal(sound_of(tmp_path / "a.mkv").read(0, 20000), noise)


def test_parts_are_the_same_as_the_whole(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 5000, 44100 * 4).astype(np.int16)
    write_video(tmp_path / "a.mp4", IMAGES, sound=noise, sample_rate=44100)
    whole = sound_of(tmp_path / "a.mp4").read(0, 64000)
    parts = sound_of(tmp_path / "a.mp4")
    for start, stop in [(0, 640), (3000, 9000), (640, 641), (60000, 64000), (0, 64000), (5, 5)]:
        np.testing.assert_array_equal(parts.read(start, stop), whole[start:stop])


def test_span(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 5000, 64000).astype(np.int16)
    write_video(tmp_path / "a.mkv", IMAGES, sound=noise, audio_codec="flac")
    sound = sound_of(tmp_path / "a.mkv", start_s=1.5, duration_s=1.0)
    found = sound.read(-100, 20000)
    assert not found[:100].any()
    np.testing.assert_array_equal(found[100:16100], noise[24000:40000])
    assert not found[16100:].any()


def test_memory_is_bounded(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 5000, SAMPLE_RATE * 30).astype(np.int16)
    path = tmp_path / "a.mkv"
    write_video(path, IMAGES[:1], sound=noise, audio_codec="pcm_s16le")
    sound = Sound(probe(path), ReadOptions(), keep_s=2)
    for second in range(30):
        start = max(0, second - 1) * SAMPLE_RATE
        stop = (second + 1) * SAMPLE_RATE
        np.testing.assert_array_equal(sound.read(start, stop), noise[start:stop])
    assert sound._held.nbytes < 10 * 2 * SAMPLE_RATE
    with pytest.raises(ValueError, match="no longer held"):
        sound.read(0, 10)


def test_no_sound_is_silence(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", IMAGES)
    sound = sound_of(tmp_path / "a.mp4")
    assert not sound.has_sound
    assert not sound.read(0, 64000).any()


def test_beyond_the_end_is_silence(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    write_video(path, IMAGES, sound=tone(16000, 440, 1), audio_codec="pcm_s16le")
    found = sound_of(path).read(8000, 24000)
    assert found[:8000].any()
    assert not found[8000:].any()


def test_silent_frames_are_far_from_any_sound() -> None:
    waveform = np.zeros(30 * 640 + 100, np.int16)
    waveform[640:1280] = 1  # within the noise of a decoder
    waveform[20 * 640 + 5] = -2
    silent = np.ones(30, bool)
    silent[15:26] = False  # five frames to either side of the one that is heard
    assert silent_frames(waveform).tolist() == silent.tolist()
    assert silent_frames(waveform[:100]).tolist() == []


@pytest.mark.parametrize(
    ("start_s", "duration_s", "rate"),
    [(0.0, 0.0, 16000), (1.5, 1.0, 16000), (3.0, 5.0, 16000), (0.0, 6.0, 8000)],
    ids=["all", "a part", "beyond the end", "another rate"],
)
def test_the_whole_sound_in_pieces(
    tmp_path: Path, start_s: float, duration_s: float, rate: int
) -> None:
    path = tmp_path / "late.mkv"
    pieces = [(0.5, tone(16000, 300, 1)), (2.5, tone(16000, 300, 1.5))]
    write_video(path, IMAGES, 25, pieces, audio_codec="pcm_s16le")
    options = ReadOptions(start_s, duration_s)
    found = np.concatenate(list(read_sound(probe(path), options, rate)))
    assert len(found) == round((duration_s or 4.0) * rate)
    if rate == 16000:
        assert (found == Sound(probe(path), options).read(0, len(found))).all()
    loud = np.abs(found.astype(int)).reshape(-1, rate // 2).max(1) > 1000
    inside = (np.arange(start_s, start_s + len(found) / rate, 0.5)[:, None] >= [0.5, 2.5]) & (
        np.arange(start_s, start_s + len(found) / rate, 0.5)[:, None] < [1.5, 4.0]
    )
    assert loud.tolist() == inside.any(1).tolist()


def test_a_video_without_sound_has_no_pieces_but_fills_a_span(tmp_path: Path) -> None:
    write_video(tmp_path / "mute.mp4", IMAGES)
    video = probe(tmp_path / "mute.mp4")
    assert list(read_sound(video, ReadOptions())) == []
    assert len(np.concatenate(list(read_sound(video, ReadOptions(0, 90.0))))) == 90 * 16000


@pytest.mark.parametrize("rates", [(48000, 44100), (22050, 48000)], ids=str)
def test_the_sample_rate_may_change_in_the_middle(tmp_path: Path, rates: tuple[int, int]) -> None:
    path = tmp_path / "a.ts"
    parts = []
    for number, rate in enumerate(rates):
        one = tmp_path / f"{number}.ts"
        start_s = 4.0 * number
        write_video(
            one,
            IMAGES,
            sound=click(rate),
            sample_rate=rate,
            video_start_s=start_s,
            audio_start_s=start_s,
        )
        parts.append(one.read_bytes())
    path.write_bytes(b"".join(parts))
    video = probe(path)
    sound = Sound(video, ReadOptions())
    for start_s, at_s in ((0, 3), (4, 7)):
        found = sound.read(start_s * SAMPLE_RATE, (start_s + 4) * SAMPLE_RATE)
        late_s = float(video.video_start_s) if start_s == 0 else 0  # the muxer moved the first
        assert middle_s(found) + start_s - late_s == pytest.approx(at_s, abs=2e-3)
