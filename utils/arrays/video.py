"""Write a video of localised speech: a vertical line at its position."""

from collections.abc import Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
from av import AudioFrame, AudioStream, VideoFrame, VideoStream
from av.container import OutputContainer
from numpy.typing import NDArray

from utils.arrays.sound import ArraySound
from utils.arrays.spectra import FPS, RATE
from utils.arrays.speech_positions import Heard
from utils.errors import UserError
from utils.media.audio_streams.pieces import SoundFormat, read_pieces
from utils.media.container import ReadOptions, ReadReport, VideoInfo
from utils.media.source_frames import read_source_frames
from utils.media.tone_mapping import ToneMapper
from utils.metrics.localisation import DETECTED
from utils.output.render import writing_mp4

GREEN = (0, 255, 0)
CANVAS = (24, 28, 34)
CANVAS_SIZE = (1224, 688)  # width, height without a video
LINE = 5  # px
SOUND = SoundFormat(RATE, 1)
ENCODER = {"crf": "21", "preset": "veryfast"}


class Shown(NamedTuple):
    """An image and its time."""

    start_s: Fraction
    pixels: NDArray[np.uint8]  # (H, W, 3), may be drawn on


Piece = tuple[int, NDArray[np.int16]]  # position of the first sample at 48 kHz, samples (N, 1)


def render_over(video: VideoInfo, heard: Heard, path: Path) -> None:
    """Write a view's video with the line over it, and its own audio.

    Args:
        video: Result of `probe`.
        heard: Localised speech in that view, from the beginning of the video.
        path: The MP4 to write.
    """
    options = ReadOptions()
    pieces = read_pieces(video, options, SOUND, ReadReport())
    _write(_images(video, options), pieces, heard, path)


def render_blank(sound: ArraySound, heard: Heard, path: Path) -> None:
    """Write the line over an empty image at 30 frames/s, with the first microphone's audio.

    Args:
        sound: Audio of the array; one second is held at a time.
        heard: Localised speech in the view of a camera.
        path: The MP4 to write.
    """
    _write(_blank(len(heard)), _first_microphone(sound), heard, path)


def draw_line(pixels: NDArray[np.uint8], position: float) -> None:
    """Draw a vertical line of full height at a fraction of the width; none outside the image."""
    width = pixels.shape[1]
    left = int(position * width) - LINE // 2
    pixels[:, max(0, left) : max(0, left + LINE)] = GREEN


def _images(video: VideoInfo, options: ReadOptions) -> Iterator[Shown]:
    tone_mapper = ToneMapper("perceptual")
    for frame in read_source_frames(video, options, ReadReport()):
        image = tone_mapper.sdr(frame.image)
        pixels = video.orientation.upright(image.to_ndarray(format="rgb24"))
        yield Shown(frame.start_s, np.array(pixels, np.uint8))


def _blank(num_frames: int) -> Iterator[Shown]:
    width, height = CANVAS_SIZE
    canvas = np.full((height, width, 3), CANVAS, np.uint8)
    for frame in range(num_frames):
        yield Shown(Fraction(frame, FPS), canvas.copy())


def _first_microphone(sound: ArraySound) -> Iterator[Piece]:
    for start in range(0, sound.num_samples, RATE):
        samples = sound.read(start, min(start + RATE, sound.num_samples))[:, :1]
        yield start, np.round(samples * 32767).clip(-32768, 32767).astype(np.int16)


def _write(shown: Iterator[Shown], pieces: Iterator[Piece], heard: Heard, path: Path) -> None:
    """Encode images and interleave the audio."""
    first = next(shown, None)
    if first is None:
        raise UserError(f"expected images to write to {path}, found none")
    with writing_mp4(path) as container:
        stream = _add_video(container, first.pixels)
        piece = next(pieces, None)
        audio = _add_audio(container) if piece is not None else None
        for image in chain((first,), shown):
            _mark(image, heard)
            container.mux(stream.encode(_encodable(image, stream)))
            while audio is not None and piece is not None:
                if Fraction(piece[0], RATE) > image.start_s:
                    break
                container.mux(audio.encode(_samples(piece)))
                piece = next(pieces, None)
        container.mux(stream.encode(None))
        _finish_audio(container, audio, piece, pieces)


def _finish_audio(
    container: OutputContainer,
    audio: AudioStream | None,
    piece: Piece | None,
    pieces: Iterator[Piece],
) -> None:
    """Write the audio after the last image."""
    if audio is None:
        return
    for rest in chain(() if piece is None else (piece,), pieces):
        container.mux(audio.encode(_samples(rest)))
    container.mux(audio.encode(None))


def _mark(image: Shown, heard: Heard) -> None:
    now = heard.at(np.array([float(image.start_s)]))
    if now.confidences[0] > DETECTED:
        draw_line(image.pixels, float(now.positions[0]))


def _add_video(container: OutputContainer, pixels: NDArray[np.uint8]) -> VideoStream:
    """Add an H.264 stream for images of that size; an odd row or column is dropped."""
    stream = container.add_stream("libx264", rate=FPS, options=ENCODER)
    stream.height, stream.width = (side // 2 * 2 for side in pixels.shape[:2])
    stream.pix_fmt = "yuv420p"
    stream.codec_context.time_base = Fraction(1, 90000)
    return stream


def _encodable(image: Shown, stream: VideoStream) -> VideoFrame:
    pixels = np.ascontiguousarray(image.pixels[: stream.height, : stream.width])
    frame = VideoFrame.from_ndarray(pixels, "rgb24").reformat(format="yuv420p")
    frame.time_base = stream.codec_context.time_base
    frame.pts = round(image.start_s / frame.time_base)
    return frame


def _add_audio(container: OutputContainer) -> AudioStream:
    stream = container.add_stream("aac", rate=RATE)
    stream.layout = SOUND.layout
    return stream


def _samples(piece: Piece) -> AudioFrame:
    frame = AudioFrame.from_ndarray(np.ascontiguousarray(piece[1].reshape(1, -1)), "s16", "mono")
    frame.sample_rate = RATE
    frame.time_base = Fraction(1, RATE)
    frame.pts = piece[0]
    return frame
