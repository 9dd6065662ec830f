"""Write a video of what an array hears: a vertical line where speech is, over a view or not."""

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
CANVAS_SIZE = (1224, 688)  # width, height where there is no video
LINE = 5  # px
SOUND = SoundFormat(RATE, 1)
ENCODER = {"crf": "21", "preset": "veryfast"}


class Shown(NamedTuple):
    """A picture and when it is shown."""

    start_s: Fraction
    pixels: NDArray[np.uint8]  # (H, W, 3), may be drawn on


Piece = tuple[int, NDArray[np.int16]]  # position of the first sample at 48 kHz, samples (N, 1)


def render_over(video: VideoInfo, heard: Heard, path: Path) -> None:
    """Write a view's video with the line over it, and its own sound.

    Args:
        video: What `probe` found.
        heard: In that view, from the beginning of the video on.
        path: The MP4 to write.
    """
    options = ReadOptions()
    pieces = read_pieces(video, options, SOUND, ReadReport())
    _write(_pictures(video, options), pieces, heard, path)


def render_blank(sound: ArraySound, heard: Heard, path: Path) -> None:
    """Write the line over an empty picture at 30 frames/s, with the first microphone's sound.

    Args:
        sound: Of the array; a second of it is held at a time.
        heard: In the view of some camera.
        path: The MP4 to write.
    """
    _write(_blank(len(heard)), _first_microphone(sound), heard, path)


def draw_line(pixels: NDArray[np.uint8], position: float) -> None:
    """Draw a vertical line of full height at a fraction of the width; outside there is none."""
    width = pixels.shape[1]
    left = int(position * width) - LINE // 2
    pixels[:, max(0, left) : max(0, left + LINE)] = GREEN


def _pictures(video: VideoInfo, options: ReadOptions) -> Iterator[Shown]:
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
    """Encode pictures and sound side by side."""
    first = next(shown, None)
    if first is None:
        raise UserError(f"expected pictures to write to {path}, found none")
    with writing_mp4(path) as container:
        stream = _add_video(container, first.pixels)
        piece = next(pieces, None)
        voice = _add_sound(container) if piece is not None else None
        for picture in chain((first,), shown):
            _mark(picture, heard)
            container.mux(stream.encode(_image(picture, stream)))
            while voice is not None and piece is not None:
                if Fraction(piece[0], RATE) > picture.start_s:
                    break
                container.mux(voice.encode(_samples(piece)))
                piece = next(pieces, None)
        container.mux(stream.encode(None))
        _finish_sound(container, voice, piece, pieces)


def _finish_sound(
    container: OutputContainer,
    voice: AudioStream | None,
    piece: Piece | None,
    pieces: Iterator[Piece],
) -> None:
    """Write the sound that goes on after the last picture."""
    if voice is None:
        return
    for rest in chain(() if piece is None else (piece,), pieces):
        container.mux(voice.encode(_samples(rest)))
    container.mux(voice.encode(None))


def _mark(picture: Shown, heard: Heard) -> None:
    now = heard.at(np.array([float(picture.start_s)]))
    if now.confidences[0] > DETECTED:
        draw_line(picture.pixels, float(now.positions[0]))


def _add_video(container: OutputContainer, pixels: NDArray[np.uint8]) -> VideoStream:
    """Add an H.264 stream for pictures of that size; an odd row or column is left out."""
    stream = container.add_stream("libx264", rate=FPS, options=ENCODER)
    stream.height, stream.width = (side // 2 * 2 for side in pixels.shape[:2])
    stream.pix_fmt = "yuv420p"
    stream.codec_context.time_base = Fraction(1, 90000)
    return stream


def _image(picture: Shown, stream: VideoStream) -> VideoFrame:
    pixels = np.ascontiguousarray(picture.pixels[: stream.height, : stream.width])
    image = VideoFrame.from_ndarray(pixels, "rgb24").reformat(format="yuv420p")
    image.time_base = stream.codec_context.time_base
    image.pts = round(picture.start_s / image.time_base)
    return image


def _add_sound(container: OutputContainer) -> AudioStream:
    stream = container.add_stream("aac", rate=RATE)
    stream.layout = SOUND.layout
    return stream


def _samples(piece: Piece) -> AudioFrame:
    frame = AudioFrame.from_ndarray(np.ascontiguousarray(piece[1].reshape(1, -1)), "s16", "mono")
    frame.sample_rate = RATE
    frame.time_base = Fraction(1, RATE)
    frame.pts = piece[0]
    return frame
