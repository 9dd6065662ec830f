"""Choose the audio tracks of a file to read, and how their channels are mixed."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from av import AudioStream
from av.stream import Disposition

from utils.errors import UserError
from utils.media.audio_streams.channel_mix import ChannelMix
from utils.media.audio_streams.sample import TrackSample, sample_tracks
from utils.media.audio_streams.voicing import FLOOR_DB
from utils.media.container import VideoInfo, open_media, sound_stream
from utils.structures import AudioFacts

# Tracks of these kinds are read only if no other has speech, and never mixed.
SECONDARY = (
    Disposition.comment
    | Disposition.karaoke
    | Disposition.hearing_impaired
    | Disposition.visual_impaired
    | Disposition.clean_effects
)
NO_LANGUAGE = {None, "", "und", "mis", "mul", "zxx"}


@dataclass(frozen=True)
class SoundSource:
    """One audio track to read."""

    number: int  # from 1, among the file's audio tracks
    index: int  # of its stream in the container
    start_s: Fraction  # of its first sample, on the video's clock
    mix: ChannelMix | None  # how its channels are mixed; None for FFmpeg's mix


@dataclass(frozen=True)
class SoundChoice:
    """The audio tracks to read; several are mixed by their mean."""

    num_tracks: int  # in the file
    sources: tuple[SoundSource, ...]  # empty without audio
    reason: str

    @property
    def usual(self) -> bool:
        """Whether there is nothing to report: at most one track, mixed as usual."""
        return self.num_tracks == len(self.sources) <= 1 and not self.channels

    @property
    def channels(self) -> str:
        """How channels are mixed, by track, if not FFmpeg's mix; else empty."""
        mixes = [(source.number, source.mix) for source in self.sources if source.mix is not None]
        return "; ".join(f"track {number}: {mix.name}" for number, mix in mixes)

    def facts(self) -> AudioFacts:
        """Return the entry for result.json."""
        numbers = tuple(source.number for source in self.sources)
        return AudioFacts(self.num_tracks, numbers, self.reason, self.channels)

    def describe(self) -> str:
        """Return one line that states which tracks are read and why."""
        numbers = " and ".join(str(source.number) for source in self.sources)
        plural = "s" if len(self.sources) > 1 else ""
        text = f"audio track{plural} {numbers or 'none'} of {self.num_tracks}: {self.reason}"
        if self.channels:
            text += (
                f"; the usual mix of the channels would lose audio, used instead: {self.channels}"
            )
        return text


@dataclass(frozen=True)
class _Track:
    """The container's description of an audio track."""

    number: int
    index: int
    num_channels: int
    language: str | None
    secondary: bool
    default: bool
    start_s: Fraction | None  # on the container's clock
    decodable: bool

    @property
    def rank(self) -> tuple[bool, bool, int]:
        """Sort key; tracks that sort first are preferred."""
        return (self.secondary, not self.default, self.number)

    def fits(self, other: "_Track") -> bool:
        """Return whether both may be parts of one recording rather than versions of it."""
        languages = {self.language, other.language} - NO_LANGUAGE
        return len(languages) < 2 and not (self.secondary or other.secondary)


def choose_sound(video: VideoInfo, track: str = "auto") -> SoundChoice:
    """Return which audio tracks of a video are read.

    With "auto" it is the first track with speech, mixed with others that have speech in the same
    language; tracks marked as default come first, secondary ones (comments and the like) last. The
    choice depends only on the file, not on the part that is read.

    Args:
        video: Result of `probe`.
        track: "auto", "all" to mix all, or a number from 1.

    Raises:
        UserError: The track does not exist or cannot be decoded.
    """
    status = video.path.stat()
    return _choose(video, track, (status.st_mtime_ns, status.st_size))


@lru_cache(maxsize=1024)  # a file is opened many times
def _choose(video: VideoInfo, track: str, _version: tuple[int, int]) -> SoundChoice:
    tracks, main = _read_tracks(video)
    usable = [each for each in tracks if each.decodable]
    if track.isdecimal():
        usable = [_find(video, tracks, int(track))]
    if not usable:
        return SoundChoice(len(tracks), (), "none can be decoded" if tracks else "no audio")
    only = usable[0] if len(usable) == 1 else None
    if only is not None and only.index == main and only.num_channels == 1:
        if not video.has_sound:
            return SoundChoice(len(tracks), (), "none can be decoded")
        source = SoundSource(only.number, only.index, video.sound_start_s, None)
        reason = "as requested" if track.isdecimal() else "the only one that can be decoded"
        return SoundChoice(len(tracks), (source,), reason)
    samples = sample_tracks(video.path, [each.index for each in usable])
    decoded = [pair for pair in zip(usable, samples, strict=True) if pair[1].heard]
    decoded.sort(key=lambda pair: pair[0].rank)
    chosen, reason = _select(decoded, track)
    sources = tuple(
        SoundSource(each.number, each.index, _start_s(video, each, main, sample), sample.mix)
        for each, sample in sorted(chosen, key=lambda pair: pair[0].number)
    )
    return SoundChoice(len(tracks), sources, reason)


def _read_tracks(video: VideoInfo) -> tuple[list[_Track], int | None]:
    """Return all audio tracks, and the index of the one that `probe` looked at."""
    with open_media(video.path) as container:
        main = sound_stream(container)
        tracks = [
            _describe(number, stream) for number, stream in enumerate(container.streams.audio, 1)
        ]
        return tracks, None if main is None else main.index


def _describe(number: int, stream: AudioStream) -> _Track:
    decodable = stream.codec_context is not None
    start = stream.start_time
    return _Track(
        number=number,
        index=stream.index,
        num_channels=stream.channels if decodable else 0,
        language=stream.language,
        secondary=bool(stream.disposition & SECONDARY)
        or "commentary" in stream.metadata.get("title", "").lower(),
        default=bool(stream.disposition & Disposition.default),
        start_s=None if start is None else Fraction(start * stream.time_base),
        decodable=decodable,
    )


def _find(video: VideoInfo, tracks: Sequence[_Track], number: int) -> _Track:
    """Return the requested track."""
    if not tracks:
        raise UserError(f"--audioTrack {number}: {video.path} has no audio track; leave it out")
    if not 1 <= number <= len(tracks):
        raise UserError(
            f"--audioTrack {number}: expected 1 to {len(tracks)}, the number of audio tracks in "
            f"{video.path}"
        )
    found = tracks[number - 1]
    if not found.decodable:
        usable = [str(each.number) for each in tracks if each.decodable]
        raise UserError(
            f"--audioTrack {number}: no decoder for this track of {video.path}; tracks that can "
            f"be decoded: {', '.join(usable) or 'none'}"
        )
    return found


SampledTracks = list[tuple[_Track, TrackSample]]


def _select(decoded: SampledTracks, track: str) -> tuple[SampledTracks, str]:
    """Return the tracks to mix and the reason; `decoded` are the candidates, best first."""
    if not decoded or track.isdecimal():
        return decoded, "as requested" if decoded else "none can be decoded"
    audible = [pair for pair in decoded if (pair[1].pitch.levels > FLOOR_DB).any()]
    if track == "all":
        return audible or decoded[:1], "mixed, as requested" if len(audible) > 1 else "as requested"
    if len(decoded) == 1:
        return decoded, "the only one that can be decoded"
    speaking = [pair for pair in audible if pair[1].pitch.hold_speech]
    if not speaking:
        reason = "no track has speech; the first that is not silent"
        return (audible or decoded)[:1], reason if audible else "all are silent; the first"
    chosen = speaking[:1]
    for each, sample in speaking[1:]:
        fits = all(each.fits(other) for other, _ in chosen)
        if fits and not any(sample.same_as(other) for _, other in chosen):
            chosen.append((each, sample))
    if len(chosen) > 1:
        return chosen, "mixed, because each has different speech"
    return chosen, "the first with speech" if len(speaking) > 1 else "the only one with speech"


def _start_s(video: VideoInfo, track: _Track, main: int | None, sample: TrackSample) -> Fraction:
    """Return when a track starts on the video's clock."""
    if track.index == main and video.has_sound:
        return video.sound_start_s
    starts = [time_s for time_s in (track.start_s, sample.first_s) if time_s is not None]
    return min(starts, default=video.start_s) - video.start_s
