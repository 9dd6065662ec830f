"""Open media files and describe their content; everything that reads a video starts here."""

import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import count, islice
from pathlib import Path
from typing import Annotated, TypeAlias

import av
import av.error
from av import AudioFrame, AudioStream, VideoFrame, VideoStream
from av.container import InputContainer
from av.format import Flags
from av.stream import Discard, Disposition

from utils.errors import ResourceError, UserError
from utils.media.orientation import Orientation, orientation_of
from utils.media.packet_times import Join, PacketTimes, duration_s, read_packet_times
from utils.structures import FPS

MediaStream: TypeAlias = VideoStream | AudioStream
MediaFrame: TypeAlias = VideoFrame | AudioFrame

MAX_FPS = 1000  # a higher rate is a time base mistaken for a rate
PRIME_PACKETS = 500  # searched for the first image and sample; then as many of the audio alone
# FFmpeg analyses the first 5 s of a file; if an audio stream has not begun by then, this much.
LATE_SOUND = {"analyzeduration": "60000000", "probesize": "100000000"}  # us, bytes


@dataclass(frozen=True)
class VideoInfo:
    """The content of a video file; the clock's 0 is the earlier of first image and first sample."""

    path: Path
    width: int  # upright
    height: int
    orientation: Orientation  # of the stored images
    pixel_aspect: Fraction  # width of a pixel over its height, upright
    fps: Fraction  # average rate of the source
    duration_s: float  # end of the video stream (from the header if the file is cut off); or 0
    start_s: Fraction  # of the clock's 0, on the container's own clock
    video_start_s: Fraction  # of the first image, on the video's clock
    sound_start_s: Fraction  # of the first sample; 0 without audio
    has_sound: bool
    joins: tuple[Join, ...] = ()  # where the container's clock jumps
    sound_index: int | None = None  # of the stream in the container; None is the main one


@dataclass(frozen=True)
class ReadOptions:
    """Which part of a video is read, and how."""

    start_s: Annotated[float, "start of the span, in seconds"] = 0.0
    duration_s: Annotated[float, "length of the span, in seconds; 0: up to the end"] = 0.0
    threads: Annotated[int, "decoding threads; 0: chosen by the decoder"] = 0
    audio_track: Annotated[str, "number from 1, all (mixed), or auto: those with speech"] = "auto"

    def __post_init__(self) -> None:
        if self.audio_track not in ("auto", "all") and not self.audio_track.isdecimal():
            raise UserError(f"audio_track must be auto, all or a number, got {self.audio_track!r}")
        for name in ("start_s", "duration_s", "threads"):
            if not 0 <= (value := getattr(self, name)) < float("inf"):
                raise UserError(f"{name} must be a number from 0 upward, got {value}")

    @property
    def from_s(self) -> Fraction:
        """Where the span starts on the video's clock, without binary rounding."""
        return Fraction(self.start_s).limit_denominator(1000000)

    @property
    def stop_s(self) -> Fraction | None:
        """Length of the span; None if it reaches to the end of the video."""
        exact = Fraction(self.duration_s).limit_denominator(1000000)
        return exact if exact > 0 else None


@dataclass
class ReadReport:
    """Statistics and errors of reading a video; filled in while it is read."""

    frames: int = 0  # decoded
    errors: int = 0  # packets that could not be read or decoded
    last_s: float = 0.0  # end of the last image, from the start of the span
    messages: list[str] = field(default_factory=list)  # FFmpeg's first few error messages
    gaps: list[tuple[float, float]] = field(default_factory=list)  # without images, s of the span

    def add_error(self, error: av.error.FFmpegError) -> None:
        """Count an error after which reading continues."""
        self.errors += 1
        if len(self.messages) < 5:
            self.messages.append(error.strerror)

    def lost_s(self, video: VideoInfo, options: ReadOptions) -> float:
        """Return the seconds at the end of the span that the header promises but have no image."""
        promised = video.duration_s - options.start_s
        if options.duration_s > 0:
            promised = min(promised, options.duration_s)
        return max(0.0, promised - self.last_s)


@contextmanager
def open_media(path: Path) -> Iterator[InputContainer]:
    """Open a media file for reading as a PyAV container, closed at the end.

    The name is never interpreted as an address, a pattern or a protocol, and nothing that the file
    refers to is loaded from a network.
    """
    _check_file(path)
    try:
        container = _open(path, {})
        decodable = [stream for stream in container.streams.audio if stream.codec_context]
        if any(not stream.rate for stream in decodable):
            container.close()
            container = _open(path, LATE_SOUND)
    except (av.error.FFmpegError, UnicodeError) as error:
        message = error.strerror if isinstance(error, av.error.FFmpegError) else str(error)
        raise UserError(
            f"expected a video, found a file that cannot be opened: {path} ({message}); "
            "it is not a video or is incomplete: copy it again or convert it"
        ) from None
    with closing(container):
        yield container


def _open(path: Path, options: dict[str, str]) -> InputContainer:
    container: InputContainer = av.open(  # "/" before any ":" in an absolute path: no protocol
        str(path.absolute()),
        container_options={"protocol_whitelist": "file", **options},
        metadata_errors="replace",
    )
    return container


def _check_file(path: Path) -> None:
    """Raise if a path is not a readable, non-empty file."""
    try:
        status = path.stat()
        if stat.S_ISREG(status.st_mode):
            path.open("rb").close()
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(f"no such video file: {path}; check name and folder") from None
    except OSError as why:
        raise ResourceError(f"cannot read {path}: {why.strerror}; check its permissions") from None
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a special file"
        raise UserError(f"expected a video file, found {kind}: {path}; give a file")
    if not status.st_size:
        raise UserError(f"expected a video, found an empty file: {path}; copy it again")


def video_stream(container: InputContainer, path: Path) -> VideoStream:
    """Return the main video stream: default before others, then the largest; no cover art."""
    streams = [
        stream
        for stream in container.streams.video
        if not stream.disposition & Disposition.attached_pic
    ]
    if not streams:
        found = "audio only" if container.streams.audio else "neither images nor audio"
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


def sound_stream(container: InputContainer, index: int | None = None) -> AudioStream | None:
    """Return the audio stream of an index, or the main one; None if none can be decoded."""
    found = [stream for stream in container.streams.audio if stream.codec_context is not None]
    best = container.streams.best("audio") if index is None else container.streams[index]
    return next((stream for stream in found if stream is best), found[0] if found else None)


def probe(path: str | Path) -> VideoInfo:
    """Return the content of a video file; its first image and its first sample are decoded."""
    with open_media(path := Path(path)) as container:
        video = video_stream(container, path)
        sound = sound_stream(container)
        image, sample = _first_frames(container, video, sound)
        if sound is not None and sample is None:
            sample = _first_sound(path, sound.index)
        if image is None:
            raise UserError(
                f"expected a video, found no image that can be decoded: {path}; "
                "copy it again or convert it"
            )
        image_s = frame_time(image, video) or Fraction(0)
        sample_s = image_s
        if sound is not None and sample is not None:
            sample_s = frame_time(sample, sound) or Fraction(0)
        start_s = min(image_s, sample_s)
        orientation = orientation_of(image)
        width, height = orientation.size(image.width, image.height)
        aspect = Fraction(video.sample_aspect_ratio or 1)
        times = _packet_times(container, video, path)
        return VideoInfo(
            path=path,
            width=width,
            height=height,
            orientation=orientation,
            pixel_aspect=1 / aspect if orientation.quarters % 2 else aspect,
            fps=_rate(video),
            duration_s=duration_s(container, video, times, image_s, start_s),
            start_s=start_s,
            video_start_s=image_s - start_s,
            sound_start_s=sample_s - start_s,
            has_sound=sample is not None,
            joins=times.joins,
        )


def frame_time(frame: MediaFrame, stream: MediaStream) -> Fraction | None:
    """Return the time of a decoded frame on the container's clock; None if unknown."""
    stamp = frame.pts if frame.pts is not None else frame.dts
    return None if stamp is None else stamp * (frame.time_base or stream.time_base)


def _first_frames(
    container: InputContainer, video: VideoStream, sound: AudioStream | None
) -> tuple[VideoFrame | None, AudioFrame | None]:
    """Return the first image and the first audio frame that can be decoded; None if missing."""
    streams = {stream.index: stream for stream in (video, sound) if stream is not None}
    found: dict[int, MediaFrame] = {}
    packets = container.demux(*streams.values())
    for number in count():
        try:
            packet = next(packets, None)
        except av.error.FFmpegError:
            packet = None
        enough = len(found) == len(streams) or (number > PRIME_PACKETS and video.index in found)
        if packet is None or enough:
            break
        if packet.stream_index not in found:
            with suppress(av.error.FFmpegError, IndexError):
                found[packet.stream_index] = streams[packet.stream_index].decode(packet)[0]
    return found.get(video.index), found.get(-1 if sound is None else sound.index)


def _first_sound(path: Path, index: int) -> AudioFrame | None:
    """Return the first decodable audio frame of a stream that begins long after the images."""
    with open_media(path) as container, suppress(av.error.FFmpegError):
        stream = container.streams[index]
        assert isinstance(stream, AudioStream)
        keep_only(container, stream)
        for packet in islice(container.demux(stream), PRIME_PACKETS):
            with suppress(av.error.InvalidDataError, IndexError):
                return stream.decode(packet)[0]
    return None


def keep_only(container: InputContainer, stream: MediaStream) -> None:
    """Let the demuxer skip all streams except one."""
    for other in container.streams:
        if other.index != stream.index:
            other.discard = Discard.all


def _rate(stream: VideoStream) -> Fraction:
    """Return the stream's average rate, frames/s; the working rate if the file does not give it."""
    rates = (stream.average_rate, stream.guessed_rate)
    return next((Fraction(rate) for rate in rates if rate and rate <= MAX_FPS), Fraction(FPS))


def _packet_times(container: InputContainer, stream: VideoStream, path: Path) -> PacketTimes:
    """Return the times of all packets; empty if the file has an index or no time stamps.

    An index is in decoding order, so its time stamps cannot jump back.
    """
    names = container.format.name.split(",")
    indexed = ("mov" in names or "avi" in names) and stream.duration
    if indexed or Flags.no_timestamps in Flags(container.format.flags):
        return PacketTimes({}, ())
    with open_media(path) as again:
        return read_packet_times(again)
