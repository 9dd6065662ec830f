"""The usual mix of channels is used unless it loses audio; then another one is used."""

from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.made_sound import MadeTrack, Samples, music, speech, write_tracks
from tests.made_video import write_video
from utils.media.audio import Sound
from utils.media.audio_streams.channel_mix import channels_of, usual_weights
from utils.media.container import ReadOptions, probe
from utils.structures import SAMPLE_RATE

VOICE = speech(4)
OTHER = speech(4, seed=1)
NOISE = np.random.default_rng(0).normal(0, 0.02, (len(VOICE), 2))
NONE = np.zeros_like(VOICE)
GREY = np.full((32, 32, 3), 90, np.uint8)


def columns(*channels: Samples) -> Samples:
    return np.stack(channels, axis=1)


def heard(path: Path, **options: float) -> tuple[NDArray[np.float64], str]:
    """Return the sound in [-1, 1] of four seconds, and how its channels were mixed."""
    sound = Sound(probe(path), ReadOptions(**options))  # type: ignore[arg-type]
    return sound.read(0, len(VOICE)) / 32768, sound.choice.channels


@pytest.mark.parametrize(
    ("channels", "expected", "name"),
    [
        (columns(VOICE, VOICE), VOICE, ""),
        (columns(VOICE, OTHER), (VOICE + OTHER) / 2, ""),
        (columns(VOICE, NONE), VOICE / 2, ""),
        (columns(NONE, VOICE), VOICE / 2, ""),
        (columns(VOICE, 0.5 * VOICE), 0.75 * VOICE, ""),
        (NOISE, NOISE.mean(axis=1), ""),
        (columns(NONE, NONE), NONE, ""),
        (columns(VOICE, -VOICE), VOICE, "track 1: channel 1 minus channel 2"),
        (columns(VOICE, -0.6 * VOICE), 0.8 * VOICE, "track 1: channel 1 minus channel 2"),
        (
            columns(VOICE, -VOICE) + NOISE,
            VOICE + (NOISE[:, 0] - NOISE[:, 1]) / 2,
            "track 1: channel 1 minus channel 2",
        ),
        (
            np.concatenate([columns(VOICE, -VOICE)[:32000], columns(VOICE, VOICE)[32000:]]),
            VOICE,
            "track 1: channel 1 of 2",
        ),
    ],
    ids=[
        "in phase",
        "one voice on each side",
        "left only",
        "right only",
        "one side softer",
        "independent noise",
        "silence",
        "out of phase",
        "out of phase, one side softer",
        "out of phase in noise",
        "half of the file out of phase",
    ],
)
def test_stereo(tmp_path: Path, channels: Samples, expected: Samples, name: str) -> None:
    write_tracks(tmp_path / "a.mkv", [MadeTrack(channels)])
    found, mix = heard(tmp_path / "a.mkv")
    assert mix == name
    np.testing.assert_allclose(found, expected, atol=2 / 32768)


@pytest.mark.parametrize(
    ("suffix", "codec", "rate"),
    [("mkv", "flac", 48000), ("mp4", "aac", 44100)],
    ids=["flac", "aac"],
)
def test_out_of_phase_in_codecs(tmp_path: Path, suffix: str, codec: str, rate: int) -> None:
    path, voice = tmp_path / f"a.{suffix}", speech(4, rate)
    write_tracks(path, [MadeTrack(columns(voice, -voice), rate, codec)])
    found, mix = heard(path)
    assert mix == "track 1: channel 1 minus channel 2"
    mono = tmp_path / f"mono.{suffix}"
    write_tracks(mono, [MadeTrack(voice, rate, codec)])
    alone, _ = heard(mono)
    assert np.sqrt(((found - alone) ** 2).mean()) < 0.06 * np.sqrt((alone**2).mean())


def test_parts_are_mixed_as_the_whole(tmp_path: Path) -> None:
    # The first half is silent, so what is read from there would not tell.
    channels = columns(np.append(NONE, VOICE), np.append(NONE, -VOICE))
    path = tmp_path / "a.mkv"
    write_tracks(path, [MadeTrack(channels, codec="flac")])
    found, mix = heard(path, start_s=4)
    np.testing.assert_allclose(found, VOICE, atol=2 / 32768)
    found, again = heard(path, start_s=5, duration_s=1)
    np.testing.assert_allclose(found[:16000], VOICE[16000:32000], atol=2 / 32768)
    assert mix == again == "track 1: channel 1 minus channel 2"


def test_speech_in_the_centre(tmp_path: Path) -> None:
    front, voice = music(4, level=0.1), VOICE
    channels = columns(front, front, voice, NONE, NONE, NONE)
    write_tracks(tmp_path / "a.mov", [MadeTrack(channels, layout="5.1")])
    found, mix = heard(tmp_path / "a.mov")
    assert mix == ""
    np.testing.assert_allclose(found, 0.4142 * front + 0.2929 * voice, atol=1e-4)


@pytest.mark.parametrize(
    ("num_channels", "speaking", "expected", "name"),
    [
        (3, [2], VOICE, "track 1: channel 3 of 3"),
        (3, [0, 2], 0.5 * VOICE, ""),
        (6, [3], VOICE, "track 1: channel 4 of 6"),
        (4, [0], 0.2426 * VOICE, ""),
        (12, [11], VOICE, "track 1: channel 12 of 12"),
        (20, [7], VOICE, "track 1: channel 8 of 20"),
        (20, list(range(20)), VOICE, "track 1: mean of 20 channels"),
    ],
    ids=["third", "first and third", "fourth of six", "first of four", "12", "one of 20", "20"],
)
def test_channels_that_ffmpeg_leaves_out(
    tmp_path: Path, num_channels: int, speaking: list[int], expected: Samples, name: str
) -> None:
    # Recorders write their microphones without a layout; FFmpeg takes three channels for 2.1.
    channels = np.zeros((len(VOICE), num_channels))
    channels[:, speaking] = VOICE[:, None]
    path = tmp_path / "a.mkv"
    write_tracks(path, [MadeTrack(channels, layout=f"{num_channels} channels")])
    found, mix = heard(path)
    assert mix == name
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_microphones_of_different_people(tmp_path: Path) -> None:
    voices = [np.concatenate([NONE] * turn + [VOICE] + [NONE] * (2 - turn)) for turn in range(3)]
    write_tracks(tmp_path / "a.mkv", [MadeTrack(columns(*voices), layout="3 channels")])
    for turn in range(3):
        found, mix = heard(tmp_path / "a.mkv", start_s=4 * turn)
        assert mix == "track 1: mean of 3 channels"
        np.testing.assert_allclose(found, VOICE / 3, atol=1e-4)


@pytest.mark.parametrize("rate", [4000, 16000, 48000, 192000])
@pytest.mark.parametrize(
    "codec", ["pcm_u8", "pcm_s16le", "pcm_s24le", "pcm_s32le", "pcm_f32le", "pcm_f64le"]
)
def test_formats_and_rates(tmp_path: Path, codec: str, rate: int) -> None:
    time_s = np.arange(2 * rate) / rate
    tone = 0.5 * np.sin(2 * np.pi * 440 * time_s)
    write_tracks(tmp_path / "a.mkv", [MadeTrack(columns(tone, -tone), rate, codec)])
    found, mix = heard(tmp_path / "a.mkv")
    assert mix == "track 1: channel 1 minus channel 2"
    inner = found[1600:30000]
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(1600, 30000) / SAMPLE_RATE)
    np.testing.assert_allclose(inner, expected, atol=0.02 if codec == "pcm_u8" else 1e-3)


@pytest.mark.parametrize("second", [(44100, -1.0), (16000, 1.0)], ids=["rate", "rate and phase"])
def test_rate_that_changes(tmp_path: Path, second: tuple[int, float]) -> None:
    path, (rate, sign) = tmp_path / "a.ts", second
    parts = []
    for number, (part_rate, part_sign) in enumerate([(48000, -1.0), (rate, sign)]):
        voice = speech(4, part_rate)
        stereo = (columns(voice, part_sign * voice) * 32767).astype(np.int16)
        part = tmp_path / f"{number}.ts"
        start_s = 4.0 * number
        write_video(
            part, [GREY] * 20, 5, stereo, part_rate, video_start_s=start_s, audio_start_s=start_s
        )
        parts.append(part.read_bytes())
    path.write_bytes(b"".join(parts))
    expected = {-1.0: "channel 1 minus channel 2", 1.0: "channel 1 of 2"}[sign]
    loudness = np.sqrt((VOICE**2).mean())
    for start_s in (0.0, 4.0):
        found, mix = heard(path, start_s=start_s)
        assert mix == f"track 1: {expected}"
        assert np.sqrt((found**2).mean()) == pytest.approx(loudness, rel=0.05)


@pytest.mark.parametrize(("num_channels", "format_name"), [(1, "flt"), (2, "flt"), (1, "dbl")])
def test_what_is_not_finite_is_silent(tmp_path: Path, num_channels: int, format_name: str) -> None:
    path = tmp_path / "a.mkv"
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(2 * 48000) / 48000)
    faulty = tone.copy()
    faulty[[20000, 40000, 60000]] = np.nan, np.inf, -np.inf
    for name, samples in (("clean", np.where(np.isfinite(faulty), tone, 0)), ("faulty", faulty)):
        path = tmp_path / f"{name}.mkv"
        codec = {"flt": "pcm_f32le", "dbl": "pcm_f64le"}[format_name]
        write_floats(path, np.repeat(samples[:, None], num_channels, axis=1), codec, format_name)
    clean, _ = heard(tmp_path / "clean.mkv")
    found, _ = heard(tmp_path / "faulty.mkv")
    np.testing.assert_array_equal(found, clean)
    assert np.abs(found).max() < 0.6


def write_floats(path: Path, samples: Samples, codec: str, format_name: str) -> None:
    """Write a video with floating-point audio at 48 kHz."""
    write_tracks(path.with_suffix(".mp4"), [])
    layout = {1: "mono", 2: "stereo"}[samples.shape[1]]
    with av.open(str(path.with_suffix(".mp4"))) as source, av.open(str(path), "w") as container:
        video = container.add_stream_from_template(source.streams.video[0])
        sound = container.add_stream(codec, rate=48000)
        sound.layout = layout
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = video
                container.mux(packet)
        kind = {"flt": np.float32, "dbl": np.float64}[format_name]
        frame = av.AudioFrame.from_ndarray(samples.astype(kind).reshape(1, -1), format_name, layout)
        frame.sample_rate, frame.pts = 48000, 0
        container.mux(sound.encode(frame))
        container.mux(sound.encode(None))


def test_samples_of_a_frame() -> None:
    layout = "stereo"
    for kind, values in (("u8", [[0, 128, 255]]), ("s16", [[-32768, 0, 16384]])):
        row = np.repeat(np.array(values), 2, axis=1)
        dtype = {"u8": np.uint8, "s16": np.int16}[kind]
        frame = av.AudioFrame.from_ndarray(row.astype(dtype), kind, layout)
        last = {"u8": 127 / 128, "s16": 0.5}[kind]
        assert channels_of(frame).tolist() == [[-1.0, 0.0, last]] * 2
    planar = av.AudioFrame.from_ndarray(np.array([[0.5], [np.nan]], np.float32), "fltp", layout)
    assert channels_of(planar).tolist() == [[0.5], [0.0]]


def test_usual_weights() -> None:
    frame = av.AudioFrame.from_ndarray(np.zeros((1, 12), np.int16), "s16", "5.1")
    frame.sample_rate = 44100
    found = usual_weights(frame)
    assert found is not None
    np.testing.assert_allclose(found, [0.2071, 0.2071, 0.2929, 0, 0.1464, 0.1464], atol=1e-4)
    frame = av.AudioFrame.from_ndarray(np.zeros((1, 40), np.int16), "s16", "20 channels")
    frame.sample_rate = 44100
    assert usual_weights(frame) is None
