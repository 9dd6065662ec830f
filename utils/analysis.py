"""How a video is analysed, and what the analysis of a shot yields."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from utils.media.container import ReadOptions
from utils.people.names import EnrolledPerson
from utils.structures import FaceTrack, ScoredTrack, Shot, TrackEmbeddings
from utils.tracking.crops import CropOptions
from utils.tracking.greedy_tracker import TrackOptions
from utils.tracking.shots import ShotOptions


@dataclass(frozen=True)
class AnalysisOptions:
    """How a video is analysed; the defaults are the published settings."""

    read: ReadOptions = ReadOptions()
    shots: ShotOptions = ShotOptions()
    tracks: TrackOptions = TrackOptions()
    crops: CropOptions = CropOptions()
    detect_every: int = 2  # look for faces in each so many frames
    windows: Sequence[int] | None = None  # s; None is the network's own default
    precision: Literal["fp32", "bf16", "auto"] = "fp32"  # of the visual encoder
    score_silence: bool = False  # let the network judge digital silence too, as published
    cuts: Sequence[float] | None = None  # s; None finds them
    boxes: Sequence[FaceTrack] | None = None  # own face tracks instead of detection
    offscreen: bool = True  # detect_active_speakers finds speech of people who are not seen
    enrolled: Sequence[EnrolledPerson] = ()  # names for people, from talkNet.enrol


@dataclass(frozen=True, eq=False)
class ShotResult:
    """A finished shot and its scored faces."""

    shot: Shot
    tracks: list[ScoredTrack]
    embeddings: list[TrackEmbeddings] = field(default_factory=list)  # one a track, if asked for
    people: list[int] = field(default_factory=list)  # of each track, if asked for: PeopleStream
