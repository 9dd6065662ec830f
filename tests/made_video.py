"""Make small videos with PyAV for the tests."""

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

CLOCK = 90000  # ticks/s of given time stamps
LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1"}
SOUND_CODECS = {".webm": "libopus", ".avi": "pcm_s16le", ".mov": "pcm_s16le", ".mpg": "mp2"}

Pieces = Sequence[tuple[float, NDArray[np.int16]]]


def write_video(
    path: Path,
    frames: Iterable[NDArray[np.uint8]],
    fps: Fraction | int = 25,
    sound: NDArray[np.int16] | Pieces | None = None,
    sample_rate: int = 16000,
    *,
    pts_s: Sequence[float] | None = None,
    video_start_s: float = 0.0,
    audio_start_s: float = 0.0,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    rotation: int = 0,
    mirrored: bool = False,
    audio_codec: str | None = None,
    options: Mapping[str, str] | None = None,
    properties: Mapping[str, Any] | None = None,
) -> None:
    """Write RGB images (H, W, 3) and sound; the suffix of `path` gives the container.

    Args:
        path: Where to.
        frames: RGB images, each (H, W, 3), all of one size.
        fps: Frames/s.
        sound: (N,) or (N, C), or pieces of it with the second where each starts.
        sample_rate: Samples/s of the sound.
        pts_s: When each image is shown, instead of `fps`.
        video_start_s: Added to the time of all images.
        audio_start_s: Added to the time of all sound.
        codec: Video encoder.
        pix_fmt: Pixel format that is encoded.
        rotation: Degrees clockwise that a player turns the picture.
        mirrored: A player then mirrors the picture, left to right.
        audio_codec: Sound encoder; by default the usual one of the container.
        options: Of the video encoder.
        properties: Set on the video encoder's context, such as colorspace or color_range.
    """
    images = iter(frames)
    first = next(images)
    options = {"preset": "ultrafast", "qp": "4"} if codec == "libx264" and not options else options
    with av.open(str(path), "w") as container:
        video = container.add_stream(codec, rate=Fraction(fps), options=dict(options or {}))
        video.height, video.width = first.shape[:2]
        video.pix_fmt = pix_fmt
        if path.suffix in (".mp4", ".mov", ".mkv", ".webm") and codec != "mpeg4":
            video.codec_context.time_base = Fraction(1, CLOCK)
        for name, value in (properties or {}).items():
            setattr(video.codec_context, name, value)
        if rotation or mirrored:
            video.set_display_rotation(-rotation, hflip=mirrored)
        if sound is not None:
            audio_codec = audio_codec or SOUND_CODECS.get(path.suffix, "aac")
            _encode_sound(container, audio_codec, sound, sample_rate, audio_start_s)
        clock = video.codec_context.time_base or 1 / Fraction(fps)
        for index, image in enumerate((first, *images)):
            time_s = Fraction(index) / Fraction(fps) if pts_s is None else Fraction(pts_s[index])
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame = frame.reformat(
                format=pix_fmt,
                dst_colorspace=(properties or {}).get("colorspace"),
                dst_color_range=(properties or {}).get("color_range"),
            )
            frame.time_base = clock
            frame.pts = round((time_s + Fraction(video_start_s)) / clock)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))


def _encode_sound(
    container: Any,
    codec: str,
    sound: NDArray[np.int16] | Pieces,
    sample_rate: int,
    start_s: float,
) -> None:
    pieces = [(0.0, sound)] if isinstance(sound, np.ndarray) else list(sound)
    channels = 1 if pieces[0][1].ndim == 1 else pieces[0][1].shape[1]
    stream = container.add_stream(codec, rate=sample_rate)
    stream.layout = LAYOUTS[channels]
    container.start_encoding()
    size = stream.codec_context.frame_size or 1024
    for piece_s, samples in pieces:
        first = round((piece_s + start_s) * sample_rate)
        for start in range(0, len(samples), size):
            part = np.ascontiguousarray(samples[start : start + size]).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(part, format="s16", layout=LAYOUTS[channels])
            frame.sample_rate = sample_rate
            frame.time_base = Fraction(1, sample_rate)
            frame.pts = first + start
            container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
