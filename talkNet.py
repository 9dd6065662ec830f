"""Active speaker detection in one import.

    import talkNet

    result = talkNet.detect_active_speakers("demo/001.mp4")
    result.write_json("demo/001/result.json")

To choose a network and a detector, or to load them once for many videos:

    network = talkNet.load_network("lr_asd")
    detector = talkNet.load_detector("yunet")
    results = [talkNet.detect_active_speakers(path, network, detector) for path in paths]

For long videos, iterate over `talkNet.ActiveSpeakers`: it yields each shot as it is finished.
"""

import logging
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from model.checkpoints.build import build_network
from model.contract import Cascade, FaceDetector, FaceEmbedder, Model
from model.detection import detect_faces, load_detector
from model.embedding import embed_track, load_embedder, places_of
from model.enrolment import enrol
from model.families.base import ScorerInputs, family_of
from model.loading import (
    Models,
    load_missing,
    load_models,
    load_network,
    make_record,
    record_of,
    with_embedder,
)
from model.offscreen import add_offscreen
from model.scoring.open_tracks import OpenTrack
from model.scoring.silence import SilenceScorer
from model.scoring.windows import score_track
from utils.analysis import AnalysisOptions, ShotResult
from utils.errors import UserError
from utils.media.audio import KEEP_S
from utils.media.container import ReadReport, VideoInfo, probe
from utils.media.source_frames import no_image, read_warnings
from utils.media.video import VideoSpan, frames_ahead
from utils.output.results import ModelRecord, Result, VideoFacts
from utils.overlap import ahead
from utils.people.grouping import form_people
from utils.people.names import name_by_faces
from utils.people.stream import PeopleStream
from utils.structures import FPS, CropPiece, Frame, Person, ScoredTrack, Shot, TrackEmbeddings
from utils.tracking.crops import crop_faces, longest_delay
from utils.tracking.face_choice import FaceChoice
from utils.tracking.greedy_tracker import GreedyTracker
from utils.tracking.shots import mark_shots
from utils.tracking.tracks import GivenTracks, Tracker

__all__ = [
    "FPS",
    "ActiveSpeakers",
    "AnalysisOptions",
    "Models",
    "PeopleStream",
    "Result",
    "ShotResult",
    "add_offscreen",
    "build_network",
    "detect_active_speakers",
    "enrol",
    "load_detector",
    "load_embedder",
    "load_models",
    "load_network",
    "probe",
    "score_track",
]

logger = logging.getLogger(__name__)


class ActiveSpeakers:
    """The speakers of one video: iterate over it to get each shot as soon as it is finished.

    Memory grows with the video only by boxes and scores: frames, audio and crops are dropped once
    they are scored. Frame numbers count from the start of the video, even if only a part of it is
    read.
    """

    def __init__(
        self,
        video: VideoInfo,
        network: Model | Cascade,
        detector: FaceDetector | None,
        options: AnalysisOptions | None = None,
        embedder: FaceEmbedder | None = None,
    ) -> None:
        """Prepare the analysis of `video`.

        Args:
            video: From `probe`.
            network: Scores the faces.
            detector: Finds them; may be None if the options have boxes.
            options: How the video is analysed.
            embedder: If given, a few crops of each track are embedded, to recognise people.
        """
        options = options or AnalysisOptions()
        if detector is None and options.boxes is None:
            raise UserError("expected a face detector or own boxes, found neither")
        self.span = VideoSpan(video, options.read)
        self.options = options
        self.video = video
        self.network = network
        self.detector = detector
        self.embedder = embedder
        self.shots: list[Shot] = []
        self.tracks: list[ScoredTrack] = []
        self.embeddings: list[TrackEmbeddings] = []  # one a track, if there is an embedder
        self.stream = PeopleStream(embedder.threshold) if embedder else None
        self.on_frame: Callable[[Frame], None] | None = None  # given each frame with its faces
        self._report = ReadReport()
        self._tracker: Tracker = (
            GreedyTracker(options.tracks, options.detect_every)
            if options.boxes is None
            else GivenTracks(options.boxes)
        )
        delay = longest_delay(self._tracker)
        self._sound = self.span.open_sound(KEEP_S + delay / FPS)
        if not self._sound.choice.usual:
            logger.info("%s: %s", video.path.name, self._sound.choice.describe())
        hear, whole = self._sound.read, self.span.read_whole_sound
        inputs = ScorerInputs(hear, delay, options.windows, options.precision, whole)
        scorer = family_of(network).make_scorer(network, inputs)
        self._scorer = SilenceScorer(scorer, hear, keep_logits=options.score_silence)
        self.open_tracks: dict[int, OpenTrack] = {}  # of the shot in progress

    def __iter__(self) -> Iterator[ShotResult]:
        """Run all stages once, front to back; raise UserError if the span shows no image."""
        with closing(self._sound), closing(self._frames()) as frames:
            for item in self._pieces(frames):
                if isinstance(item, CropPiece):
                    self._take(item)
                    continue
                found = self._finish(item)
                self.shots.append(item)
                self.tracks += found.tracks
                self.embeddings += found.embeddings
                yield found
            if not self.shots:
                raise no_image(self.video, self.span.options)

    @property
    def warnings(self) -> list[str]:
        """What the user should know about the video so far, one line each."""
        found = []
        if not self._sound.has_sound or (self.tracks and not self._scorer.heard):
            what = "is silent throughout" if self._sound.has_sound else "has no sound"
            if self._sound.choice.num_tracks and not self._sound.has_sound:
                what += " that can be decoded"
            meaning = "every score is that of silence, not speaking"
            if self.options.score_silence:
                meaning = "the network judged the pictures alone"
            found.append(f"the video {what}: {meaning}")
        reports = (self._report, self._sound.report)
        return found + read_warnings(self.video, self.span.options, *reports)

    def result(self, settings: Mapping[str, Any] | None = None) -> Result:
        """Return everything found so far; complete once the iteration has ended."""
        video = self.video
        found = Result(
            video=VideoFacts(
                path=str(video.path),
                width=video.width,
                height=video.height,
                fps=video.fps,
                duration_s=video.duration_s,
                has_sound=self._sound.has_sound,
                audio=self._sound.choice.facts(),
            ),
            network=record_of(self.network),
            detector=make_record(self.detector.name, self.detector.weights)
            if self.detector and self.options.boxes is None
            else ModelRecord("none", reason="the boxes were given"),
            shots=tuple(self.shots),
            tracks=tuple(self.tracks),
            settings=settings or {},
            warnings=self.warnings,
            embedder=make_record(self.embedder.name, self.embedder.weights)
            if self.embedder
            else None,
        )
        return found.with_people(self._form_people())

    def _form_people(self) -> list[Person]:
        """Return the people of all shots so far, with the names of those who were enrolled."""
        if self.embedder is None:
            return []
        found, threshold = (self.tracks, self.embeddings), self.embedder.threshold
        people, enrolled = form_people(*found, threshold), self.options.enrolled
        return name_by_faces(people, enrolled, *found, threshold) if enrolled else people

    def _frames(self) -> Generator[Frame, None, None]:
        """Yield the frames with their shots and faces, found by two threads that run ahead."""
        detector, video, colour = self.detector, self.video, self._scorer.form.colour
        size = detector.image_size(video.width, video.height) if detector else None
        limit = frames_ahead(video, size, colour)
        decoded = ahead(self.span.read_frames(size, self._report, colour), limit)
        return ahead(self._faces(decoded), limit)

    def _faces(self, decoded: Generator[Frame, None, None]) -> Generator[Frame, None, None]:
        options, detector = self.options, self.detector
        with closing(decoded):
            frames = mark_shots(decoded, options.shots, options.cuts)
            if detector is not None and options.boxes is None:
                frames = detect_faces(frames, detector, options.detect_every)
            yield from frames

    def _pieces(self, frames: Iterator[Frame]) -> Iterator[CropPiece | Shot]:
        """Yield the pieces of the face tracks of each shot, then the shot."""
        places = places_of(self.detector.name if self.detector else None)
        choice = FaceChoice(places) if self.embedder else None
        crops, form = self.options.crops, self._scorer.form
        return crop_faces(self._watched(frames), self._tracker, crops, form, choice)

    def _watched(self, frames: Iterator[Frame]) -> Iterator[Frame]:
        for frame in frames:
            if self.on_frame is not None:
                self.on_frame(frame)
            yield frame

    def _take(self, piece: CropPiece) -> None:
        """Add a piece to its track, and the logits that it completes to theirs."""
        track = self.open_tracks.setdefault(piece.track, OpenTrack(piece))
        track.latest = piece
        track.boxes.append(piece.boxes)
        if self.embedder is not None and piece.faces is not None:
            track.embeddings = embed_track(self.embedder, piece.track, piece.faces)
        for scored in self._scorer.add(piece):
            self.open_tracks[scored.track].logits.append(scored.logits)

    def _finish(self, shot: Shot) -> ShotResult:
        """Return the tracks of a shot that has ended, in order of their first frames."""
        for scored in self._scorer.finish():
            self.open_tracks[scored.track].logits.append(scored.logits)
        kept = [track for _, track in sorted(self.open_tracks.items()) if track.latest.kept]
        tracks = [track.scored(number) for number, track in enumerate(kept, len(self.tracks))]
        embeddings = [
            replace(one.embeddings, track=track.id)
            for one, track in zip(kept, tracks, strict=True)
            if one.embeddings
        ]
        self.open_tracks = {}
        people = self.stream.add(tracks, embeddings) if self.stream else []
        return ShotResult(shot, tracks, embeddings, people)


def detect_active_speakers(
    path: str | Path,
    network: Model | Cascade | str | None = None,
    detector: FaceDetector | str | None = None,
    options: AnalysisOptions | None = None,
    progress: Callable[[float], None] | None = None,
    embedder: FaceEmbedder | str = "auto",
) -> Result:
    """Return who speaks in a video, face by face and frame by frame, and who of them is who.

    What is not passed in loaded form is loaded anew by every call.

    Args:
        path: Any video file that FFmpeg reads.
        network: From `load_network`, or a name; None loads what `--model auto` would.
        detector: From `load_detector`, or a name; None loads what `--detector auto` would, unless
            the options contain boxes.
        options: How to analyse.
        progress: Called for each frame with the time, in s, that has been reached.
        embedder: From `load_embedder`, or a name; none forms no people.

    Raises:
        FileNotFoundError: There is no such file.
        UserError: It is no video that can be read, or there is no network or detector of that name.
        WeightsUnavailableError: Weights are neither on this machine nor can they be downloaded.
    """
    options = options or AnalysisOptions()
    video = probe(path)
    models = load_missing(network, detector, options.boxes is not None, options.precision)
    models = with_embedder(models, embedder)
    speakers = ActiveSpeakers(video, models.network, models.detector, options, models.embedder)
    if progress is not None:
        speakers.on_frame = lambda frame: progress((frame.index + 1) / FPS)
    for _ in speakers:
        pass
    result = replace(
        speakers.result(),
        network=models.network_record,
        detector=models.detector_record,
        embedder=models.embedder_record,
    )
    return add_offscreen(result, speakers.span) if options.offscreen else result
