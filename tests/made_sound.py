"""Make sound that is like speech or music, and videos with several audio tracks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.stream import Disposition
from numpy.typing import NDArray

Samples = NDArray[np.float64]  # (N,) or (N, C) in [-1, 1]


def speech(
    duration_s: float, rate: int = 16000, seed: int = 0, level: float = 0.3, syllables: float = 4.0
) -> Samples:
    """Make harmonics whose pitch glides between 110 and 190 Hz, in syllables with pauses."""
    generator = np.random.default_rng(seed)
    time_s = np.arange(round(duration_s * rate)) / rate
    knots_s = np.arange(0, duration_s + 1, 0.3)
    hertz = np.interp(time_s, knots_s, generator.uniform(110, 190, len(knots_s)))
    phase = 2 * np.pi * np.cumsum(hertz) / rate
    voice = sum(np.sin(number * phase) / number for number in range(1, 12))
    loud = generator.uniform(0, 1, int(duration_s * syllables) + 2) > 0.3
    strength = loud[(time_s * syllables).astype(int)] * np.sin(np.pi * time_s * syllables) ** 2
    return np.asarray(level * strength * voice / 2, np.float64)


def music(duration_s: float, rate: int = 16000, level: float = 0.3) -> Samples:
    """Make plucked chords, two a second."""
    time_s = np.arange(round(duration_s * rate)) / rate
    notes = 220 * 2 ** (np.array([0, 5, 7, 3])[(time_s * 2).astype(int) % 4] / 12)
    chord = sum(np.sin(2 * np.pi * notes * ratio * time_s) for ratio in (1, 1.25, 1.5, 2))
    return np.asarray(level / 4 * chord * np.exp(-3 * (time_s % 0.5)), np.float64)


@dataclass(frozen=True, eq=False)
class MadeTrack:
    """An audio track to write."""

    samples: Samples
    rate: int = 16000
    codec: str = "pcm_s16le"
    layout: str = ""  # by default mono or stereo
    start_s: float = 0.0
    disposition: Disposition = Disposition(0)
    metadata: Mapping[str, str] = field(default_factory=dict)


def write_tracks(path: Path, tracks: Sequence[MadeTrack], num_images: int = 10) -> None:
    """Write a grey video of 5 frames/s with audio tracks."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=5, options={"preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = 32, 32, "yuv420p"
        streams = [_add(container, track) for track in tracks]
        container.start_encoding()
        grey = np.full((32, 32, 3), 90, np.uint8)
        for index in range(num_images):
            image = av.VideoFrame.from_ndarray(grey, "rgb24").reformat(format="yuv420p")
            image.pts, image.time_base = index, Fraction(1, 5)
            container.mux(video.encode(image))
        container.mux(video.encode(None))
        for stream, track in zip(streams, tracks, strict=True):
            _encode(container, stream, track)


def write_undecodable(path: Path, *tracks: MadeTrack, first: bool = True) -> None:
    """Write an MP4 whose first AAC tracks, or all, are of a codec that nobody knows."""
    write_tracks(path, [replace(track, codec="aac") for track in tracks])
    content = path.read_bytes()
    for _ in range(1 if first else len(tracks)):
        at = content.index(b"mp4a", content.index(b"stsd"))
        content = content[:at] + b"apac" + content[at + 4 :]
        at = content.index(b"esds", at)
        content = content[:at] + b"free" + content[at + 4 :]
    path.write_bytes(content)


def _add(container: Any, track: MadeTrack) -> Any:
    stream = container.add_stream(track.codec, rate=track.rate)
    stream.layout = _layout(track)
    stream.disposition = track.disposition
    stream.metadata.update(track.metadata)
    return stream


def _layout(track: MadeTrack) -> str:
    return track.layout or ("mono" if track.samples.ndim == 1 else "stereo")


def _encode(container: Any, stream: Any, track: MadeTrack) -> None:
    samples = (track.samples.clip(-1, 1) * 32767).round().astype(np.int16)
    size = stream.codec_context.frame_size or 1024
    for start in range(0, len(samples), size):
        part = np.ascontiguousarray(samples[start : start + size]).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(part, "s16", _layout(track))
        frame.sample_rate = track.rate
        frame.time_base = Fraction(1, track.rate)
        frame.pts = round(track.start_s * track.rate) + start
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
