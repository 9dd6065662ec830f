"""Open media files and know what is in them; everything that reads a video starts here."""

import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import count
from pathlib import Path
from typing import Annotated, TypeAlias

import av
import av.error
from av import AudioFrame, AudioStream, VideoFrame, VideoStream
from av.container import InputContainer
from av.stream import Discard, Disposition

from utils.errors import UserError
from utils.orientation import Orientation, orientation_of
from utils.structures import FPS

MediaStream: TypeAlias = VideoStream | AudioStream
MediaFrame: TypeAlias = VideoFrame | AudioFrame

MAX_FPS = 1000  # a rate above it is a time base that was mistaken for one
PRIME_PACKETS = 500  # the first sound is looked for within so many packets
SEEK_MARGINS_S = (0, 10)  # how far before the wanted time a seek aims; then from the beginning


@dataclass(frozen=True)
class VideoInfo:
    """What a video file holds. The clock's 0 is the first image or sample, whichever is earlier."""

    path: Path
    width: int  # upright
    height: int
    orientation: Orientation  # of the stored images
    pixel_aspect: Fraction  # width of a pixel over its height, upright
    fps: Fraction  # average rate of the source
    duration_s: float  # to the end of the video stream; 0 where the file does not say
    start_s: Fraction  # of the clock's 0, on the container's own clock
    video_start_s: Fraction  # of the first image, on the video's clock
    sound_start_s: Fraction  # of the first sample; 0 without sound
    has_sound: bool


@dataclass(frozen=True)
class ReadOptions:
    """Which part of a video is read, and how."""

    start_s: Annotated[float, "where reading starts, s"] = 0.0
    duration_s: Annotated[float, "how much is read, s; 0 is all to the end"] = 0.0
    threads: Annotated[int, "decoding threads; 0 lets the decoder choose"] = 0

    def __post_init__(self) -> None:
        for name in ("start_s", "duration_s", "threads"):
            if not 0 <= (value := getattr(self, name)) < float("inf"):
                raise UserError(f"{name} must be a number from 0 upward, got {value}")

    @property
    def from_s(self) -> Fraction:
        """Where the span starts on the video's clock, freed of binary rounding."""
        return Fraction(self.start_s).limit_denominator(1000000)

    @property
    def stop_s(self) -> Fraction | None:
        """Length of the span; None where it goes to the end of the video."""
        exact = Fraction(self.duration_s).limit_denominator(1000000)
        return exact if exact > 0 else None


@dataclass
class ReadReport:
    """What became of a video while it was read; filled as the reading goes on."""

    frames: int = 0  # decoded
    errors: int = 0  # packets that could not be read or decoded
    last_s: float = 0.0  # end of the last image, from the start of the span
    messages: list[str] = field(default_factory=list)  # the first few errors, as FFmpeg says them

    def add_error(self, error: av.error.FFmpegError) -> None:
        """Count an error that the reading goes on after."""
        self.errors += 1
        if len(self.messages) < 5:
            self.messages.append(error.strerror)

    def lost_s(self, video: VideoInfo, options: ReadOptions) -> float:
        """Seconds at the end of the span that held no image although the file promised some."""
        promised = video.duration_s - options.start_s
        if options.duration_s > 0:
            promised = min(promised, options.duration_s)
        return max(0.0, promised - self.last_s)


@contextmanager
def open_media(path: Path) -> Iterator[InputContainer]:
    """Open a media file for reading as a PyAV container, closed at the end.

    The name is never taken for an address, a pattern or a protocol, and what the file refers to
    is not fetched from a network.
    """
    _check_file(path)
    try:
        container = av.open(  # an absolute path holds a "/" before any ":", so no protocol
            str(path.absolute()),
            container_options={"protocol_whitelist": "file"},
            metadata_errors="replace",
        )
    except (av.error.FFmpegError, UnicodeError) as error:
        said = error.strerror if isinstance(error, av.error.FFmpegError) else str(error)
        raise UserError(
            f"expected a video, found a file that cannot be opened: {path} ({said}); "
            "it is no video or it is cut off, get it again or convert it"
        ) from None
    with closing(container):
        yield container


def _check_file(path: Path) -> None:
    """Raise if something is no file that can be read and holds anything."""
    try:
        status = path.stat()
        if stat.S_ISREG(status.st_mode):
            path.open("rb").close()
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(f"no such video file: {path}; check name and folder") from None
    except OSError as error:
        raise RuntimeError(f"cannot read {path}: {error.strerror}; check its permissions") from None
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "something not a plain file"
        raise UserError(f"expected a video file, found {kind}: {path}; name a file")
    if not status.st_size:
        raise UserError(f"expected a video, found an empty file: {path}; copy it again")


def video_stream(container: InputContainer, path: Path) -> VideoStream:
    """Return the main video stream: default before others, then the largest; no cover pictures."""
    streams = [
        stream
        for stream in container.streams.video
        if not stream.disposition & Disposition.attached_pic
    ]
    if not streams:
        found = "sound only" if container.streams.audio else "neither images nor sound"
        raise UserError(f"expected a video, found {found}: {path}; pass a file with images")
    playable = [stream for stream in streams if stream.codec_context is not None]
    if not playable:
        raise UserError(f"{path}: no decoder for its video stream; convert it to H.264 first")
    return max(
        playable,
        key=lambda stream: (
            bool(stream.disposition & Disposition.default),
            stream.width * stream.height,
        ),
    )


def sound_stream(container: InputContainer) -> AudioStream | None:
    """Return the main sound stream, None if there is none that can be decoded."""
    best = container.streams.best("audio")
    return best if best is not None and best.codec_context is not None else None


def probe(path: str | Path) -> VideoInfo:
    """Return what a video file holds; its first image and its first sample are decoded for it."""
    with open_media(path := Path(path)) as container:
        video = video_stream(container, path)
        sound = sound_stream(container)
        image, sample = _first_frames(container, video, sound)
        if image is None:
            raise UserError(
                f"expected a video, found no image that can be decoded: {path}; "
                "get it again or convert it"
            )
        image_s = frame_time(image, video) or Fraction(0)
        sample_s = image_s
        if sound is not None and sample is not None:
            sample_s = frame_time(sample, sound) or Fraction(0)
        start_s = min(image_s, sample_s)
        orientation = orientation_of(image)
        width, height = orientation.size(image.width, image.height)
        aspect = Fraction(video.sample_aspect_ratio or 1)
        return VideoInfo(
            path=path,
            width=width,
            height=height,
            orientation=orientation,
            pixel_aspect=1 / aspect if orientation.quarters % 2 else aspect,
            fps=_rate(video),
            duration_s=_duration_s(container, video, image_s, start_s),
            start_s=start_s,
            video_start_s=image_s - start_s,
            sound_start_s=sample_s - start_s,
            has_sound=sample is not None,
        )


def frame_time(frame: MediaFrame, stream: MediaStream) -> Fraction | None:
    """Return when a decoded frame is shown or heard on the container's clock; None if unknown."""
    stamp = frame.pts if frame.pts is not None else frame.dts
    return None if stamp is None else stamp * (frame.time_base or stream.time_base)


def decode_packets(
    container: InputContainer, stream: MediaStream, report: ReadReport
) -> Iterator[MediaFrame]:
    """Yield the decoded frames of one stream, going on after errors, which are counted."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except av.error.FFmpegError as error:  # the file breaks off: what is decoded still comes
            report.add_error(error)
            packet = None
        try:
            yield from stream.decode(packet)
        except av.error.EOFError:
            return
        except av.error.FFmpegError as error:
            report.add_error(error)
        if packet is None:
            return


def decode_from(
    video: VideoInfo, sound: bool, start_s: Fraction, threads: int, report: ReadReport
) -> Iterator[tuple[Fraction | None, MediaFrame]]:
    """Yield (time on the video's clock, frame) of the video's images or sound, from `start_s`.

    The first frame begins at or before `start_s` unless the stream begins later. Only what lies
    between the seek point, a key frame, and `start_s` is decoded in vain.
    """
    begins_s = video.sound_start_s if sound else video.video_start_s
    for margin_s in (*SEEK_MARGINS_S, None):
        target_s = start_s - margin_s if margin_s is not None else begins_s
        with open_media(video.path) as container:
            stream = sound_stream(container) if sound else video_stream(container, video.path)
            assert stream is not None  # `probe` decoded some of it
            for other in container.streams:
                if other.index != stream.index:
                    other.discard = Discard.all
            stream.thread_type = "AUTO"
            stream.codec_context.thread_count = threads
            if target_s > begins_s and not _seek(container, stream, target_s + video.start_s):
                continue
            early = target_s <= begins_s
            for frame in decode_packets(container, stream, report):
                time_s = frame_time(frame, stream)
                time_s = None if time_s is None else time_s - video.start_s
                if not early and (time_s is None or time_s > start_s):
                    break  # the seek went too far
                early = True
                yield time_s, frame
            else:
                if early:
                    return


def _seek(container: InputContainer, stream: MediaStream, time_s: Fraction) -> bool:
    """Seek to the last key frame before a time; False where the file cannot."""
    with suppress(av.error.FFmpegError):
        container.seek(int(time_s / stream.time_base), stream=stream)
        return True
    return False


def _first_frames(
    container: InputContainer, video: VideoStream, sound: AudioStream | None
) -> tuple[VideoFrame | None, AudioFrame | None]:
    """Return the first image and the first sound that can be decoded, None for what is missing."""
    wanted = {stream.index: stream for stream in (video, sound) if stream is not None}
    found: dict[int, MediaFrame] = {}
    packets = container.demux(*wanted.values())
    for number in count():
        try:
            packet = next(packets, None)
        except av.error.FFmpegError:
            packet = None
        enough = len(found) == len(wanted) or (number > PRIME_PACKETS and video.index in found)
        if packet is None or enough:
            break
        if packet.stream_index not in found:
            with suppress(av.error.FFmpegError, IndexError):
                found[packet.stream_index] = wanted[packet.stream_index].decode(packet)[0]
    return found.get(video.index), found.get(-1 if sound is None else sound.index)


def _rate(stream: VideoStream) -> Fraction:
    """Return the stream's average rate, frames/s; the working rate where the file has no word."""
    rates = (stream.average_rate, stream.guessed_rate)
    return next((Fraction(rate) for rate in rates if rate and rate <= MAX_FPS), Fraction(FPS))


def _duration_s(
    container: InputContainer, stream: VideoStream, image_s: Fraction, start_s: Fraction
) -> float:
    """Return where the video stream ends on the video's clock, 0 where the file has no word."""
    if stream.duration:
        return float(Fraction(stream.duration * stream.time_base) + image_s - start_s)
    return max(0.0, (container.duration or 0) / 1000000)
