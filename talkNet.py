"""Active speaker detection in one import.

    import talkNet

    network = talkNet.load_network("lr_asd")
    detector = talkNet.load_detector("yunet")
    result = talkNet.detect_active_speakers("demo/001.mp4", network, detector)
    result.write_json("demo/001/result.json")

For long video, `talkNet.ActiveSpeakers` gives the shots one by one while the video is running.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from model.contract import FaceDetector, Network
from model.detection import detect_faces, load_detector
from model.loading import Models, load_models, make_record, network_name
from model.scoring import probabilities, score_track, scores, track_logits
from model.weights import build_network, load_network
from utils.audio import Sound, silent_frames
from utils.crops import CropOptions, crop_faces, crop_given
from utils.media import ReadOptions, ReadReport, VideoInfo, probe
from utils.results import ModelRecord, Result, VideoFacts
from utils.shots import ShotOptions, mark_shots
from utils.structures import (
    FPS,
    SAMPLE_RATE,
    STEPS_PER_FRAME,
    CropPiece,
    FaceTrack,
    Frame,
    ScoredTrack,
    Shot,
)
from utils.tracks import TrackOptions
from utils.video import read_frames

__all__ = [
    "FPS",
    "ActiveSpeakers",
    "AnalysisOptions",
    "Models",
    "Result",
    "ShotResult",
    "build_network",
    "detect_active_speakers",
    "load_detector",
    "load_models",
    "load_network",
    "probe",
    "score_track",
]

logger = logging.getLogger(__name__)

SAMPLES_PER_FRAME = SAMPLE_RATE // FPS
SILENCE_LOGITS = (10.0, -10.0)  # in digital silence nobody is audible: surely not speaking
LOST_S = 0.5  # missing from the end of a video, this much is worth a warning


@dataclass(frozen=True)
class AnalysisOptions:
    """How a video is analysed; the defaults are the published settings."""

    read: ReadOptions = ReadOptions()
    shots: ShotOptions = ShotOptions()
    tracks: TrackOptions = TrackOptions()
    crops: CropOptions = CropOptions()
    detect_every: int = 2  # look for faces in each so many frames
    windows: Sequence[int] | None = None  # s; None is the network's own default
    precision: Literal["fp32", "bf16"] = "fp32"  # of the visual encoder
    score_silence: bool = False  # let the network judge digital silence too, as published
    cuts: Sequence[float] | None = None  # s; None finds them
    boxes: Sequence[FaceTrack] | None = None  # own face tracks instead of detection


@dataclass(frozen=True, eq=False)
class ShotResult:
    """A finished shot and its scored faces."""

    shot: Shot
    tracks: list[ScoredTrack]


@dataclass(eq=False)
class _OpenTrack:
    """What is known of a track whose end has not been seen."""

    boxes: list[NDArray[np.float32]] = field(default_factory=list)
    logits: list[NDArray[np.float32]] = field(default_factory=list)


class ActiveSpeakers:
    """The speakers of one video: iterate over it for the shots, each as soon as it is finished.

    Memory does not grow with the video but for boxes and scores: frames, sound and crops are let
    go as soon as they are scored. Frame numbers are on the video's own clock, also where only a
    span of it is read.
    """

    def __init__(
        self,
        video: VideoInfo,
        network: Network,
        detector: FaceDetector | None,
        options: AnalysisOptions | None = None,
    ) -> None:
        """Prepare the analysis of `video`; `detector` may be None where boxes are given."""
        options = options or AnalysisOptions()
        if detector is None and options.boxes is None:
            raise ValueError("expected a face detector or own boxes, found neither")
        self.offset = round(options.read.start_s * FPS)  # the span's first frame
        self.options = replace(options, read=replace(options.read, start_s=self.offset / FPS))
        self.video = video
        self.network = network
        self.detector = detector
        self.shots: list[Shot] = []
        self.tracks: list[ScoredTrack] = []
        self.on_frame: Callable[[Frame], None] | None = None  # sees each frame and its faces
        self._report = ReadReport()
        self._heard = False  # anything but digital silence under any face
        self._sound = Sound(video, self.options.read)
        self._feature = import_module(f"utils.features.{network.inputs.feature}")
        self._open: dict[int, _OpenTrack] = {}

    def __iter__(self) -> Iterator[ShotResult]:
        """Run all stages front to back, once."""
        finished: list[ScoredTrack] = []
        try:
            for item in self._pieces():
                if isinstance(item, CropPiece):
                    finished += self._score(item)
                    continue
                finished.sort(key=lambda track: track.id)
                count = len(self.tracks)
                tracks = [replace(track, id=count + i) for i, track in enumerate(finished)]
                finished = []
                self.shots.append(item)
                self.tracks += tracks
                yield ShotResult(item, tracks)
        finally:
            self._sound.close()

    @property
    def warnings(self) -> list[str]:
        """What the user should know of the video so far, a line each."""
        found = []
        if not self._sound.has_sound or (self.tracks and not self._heard):
            what = "has no sound" if not self._sound.has_sound else "is silent throughout"
            meaning = "every score is that of silence, not speaking"
            if self.options.score_silence:
                meaning = "the network judged the pictures alone"
            found.append(f"the video {what}: {meaning}")
        lost_s = self._report.lost_s(self.video, self.options.read)
        errors = self._report.errors + self._sound.report.errors
        if lost_s > LOST_S:
            found.append(
                f"the video breaks off at {self._report.last_s + self.options.read.start_s:.1f} s "
                f"of {self.video.duration_s:.1f} s: {lost_s:.1f} s are lost"
            )
        if errors:
            found.append(f"{errors} damaged pieces of the file were passed over")
        return found

    def result(self, settings: Mapping[str, Any] | None = None) -> Result:
        """Return everything found so far; whole once the iteration has ended."""
        video = self.video
        return Result(
            video=VideoFacts(
                path=str(video.path),
                width=video.width,
                height=video.height,
                fps=video.fps,
                duration_s=video.duration_s,
                has_sound=video.has_sound,
            ),
            network=make_record(network_name(self.network), self.network.weights),
            detector=make_record(self.detector.name, self.detector.weights)
            if self.detector and self.options.boxes is None
            else ModelRecord("none", reason="the boxes were given"),
            shots=tuple(self.shots),
            tracks=tuple(self.tracks),
            settings=settings or {},
            warnings=self.warnings,
        )

    def _pieces(self) -> Iterator[CropPiece | Shot]:
        """Give pieces of face tracks and, after the last of each shot, the shot."""
        options, detector = self.options, self.detector
        wanted = detector.picture_size(self.video.width, self.video.height) if detector else None
        frames = read_frames(self.video, wanted, options.read, self._report)
        frames = (replace(frame, index=frame.index + self.offset) for frame in frames)
        frames = mark_shots(frames, options.shots, options.cuts)
        if options.boxes is not None:
            return crop_given(self._watched(frames), options.boxes, options.crops)
        assert detector is not None
        frames = self._watched(detect_faces(frames, detector, options.detect_every))
        return crop_faces(frames, options.tracks, options.crops, options.detect_every)

    def _watched(self, frames: Iterator[Frame]) -> Iterator[Frame]:
        for frame in frames:
            if self.on_frame is not None:
                self.on_frame(frame)
            yield frame

    def _score(self, piece: CropPiece) -> Iterable[ScoredTrack]:
        """Score a piece; yield its track if it is the last one."""
        track = self._open.setdefault(piece.track, _OpenTrack())
        track.boxes.append(piece.boxes)
        track.logits.append(self._logits(piece))
        if not piece.last:
            return
        del self._open[piece.track]
        if piece.kept:
            logits = np.concatenate(track.logits)
            yield ScoredTrack(
                id=piece.track,
                shot=piece.shot,
                start=piece.track_start,
                boxes=np.concatenate(track.boxes),
                scores=scores(logits),
                probabilities=probabilities(logits),
                thumbnail=piece.portrait,
            )

    def _logits(self, piece: CropPiece) -> NDArray[np.float32]:
        """Return the logits (T, 2) of a piece, the same as if the track had been held whole.

        Kept: the sound of a whole track has one row of features less than four for each frame,
        so its last frame has no score of its own; a piece that goes on has all its rows.
        """
        num_frames = len(piece.crops)
        lead = 0 if piece.start == piece.track_start else 1  # frames, for the rows' first samples
        tail = 0 if piece.last else 1
        first = piece.start - self.offset - lead
        stop = piece.start - self.offset + num_frames + tail
        heard = self._sound.read(first * SAMPLES_PER_FRAME, stop * SAMPLES_PER_FRAME)
        row = STEPS_PER_FRAME * lead
        compute = getattr(self._feature, self.network.inputs.feature)
        features = compute(heard, FPS, row, row + STEPS_PER_FRAME * num_frames)
        options = self.options
        logits = track_logits(
            self.network, piece.crops, features, options.windows, options.precision
        )
        silent = silent_frames(heard)[lead : lead + num_frames]
        self._heard |= not silent.all()
        if not options.score_silence:
            logits[silent] = SILENCE_LOGITS
        return logits


def detect_active_speakers(
    path: str | Path,
    network: Network,
    detector: FaceDetector | None,
    options: AnalysisOptions | None = None,
    progress: Callable[[float], None] | None = None,
) -> Result:
    """Return who speaks in a video, face by face and frame by frame.

    Args:
        path: Any video file that FFmpeg reads.
        network: From `load_network`.
        detector: From `load_detector`; may be None where the options bring boxes.
        options: How to analyse.
        progress: Called for each frame with the time, in s, that has been reached.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no video, or not one that can be read.
    """
    speakers = ActiveSpeakers(probe(path), network, detector, options)
    if progress is not None:
        speakers.on_frame = lambda frame: progress((frame.index + 1) / FPS)
    for _ in speakers:
        pass
    return speakers.result()
