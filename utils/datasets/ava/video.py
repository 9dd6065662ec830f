"""Cut the labelled faces and their sound out of one video into a store, decoding it once."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np
from av import VideoFrame
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from utils.datasets.ava.tables import LabelledFace, LoaderRow
from utils.datasets.entities import SPEAKING, EntityInfo
from utils.datasets.storage.entity_store import EntityStoreWriter
from utils.datasets.storage.entity_writer import EntityWriter
from utils.media.audio import Sound
from utils.media.container import ReadOptions, ReadReport, VideoInfo, probe
from utils.media.source_frames import read_source_frames
from utils.media.tone_mapping import ToneMapper
from utils.structures import SAMPLE_RATE
from utils.tracking.crop_geometry import crop_tight

logger = logging.getLogger(__name__)

MAX_GAP_S = 20.0  # unlabelled parts longer than this are skipped by seeking
MARGIN_S = 1.0  # decoded before and after the labels
FAR_FRAMES = 1.5  # a picture further from its time stamp than this many frames is padding


@dataclass
class CutReport:
    """What became of the entities of one video."""

    written: int = 0
    frames: int = 0
    padded: dict[str, tuple[int, int]] = field(default_factory=dict)  # name: frames, samples
    lost: dict[str, str] = field(default_factory=dict)  # name: why nothing was written


def cut_video(
    path: Path, faces: Sequence[tuple[LabelledFace, LoaderRow]], to: EntityStoreWriter
) -> CutReport:
    """Write the entities of one video that the store does not have yet, or with other labels.

    The video is decoded once, front to back, without its long unlabelled parts; held are one
    picture and the sound as far back as the longest entity reaches.

    Raises:
        UserError, ResourceError, FileNotFoundError: The video cannot be read at all.
    """
    cut = CutReport()
    todo = [
        (face, row) for face, row in faces if not to.holds(face.name, face.labels, face.timestamps)
    ]
    if not todo:
        return cut
    video = probe(path)
    longest_s = max(float(face.timestamps[-1] - face.timestamps[0]) for face, _ in todo)
    sound = Sound(video, ReadOptions(threads=1), keep_s=longest_s + 10)
    for span in split_spans([face for face, _ in todo]):
        names = {face.name for face in span}
        chosen = [(face, row) for face, row in todo if face.name in names]
        _SpanCutter(video, sound, chosen, to, cut).run()
    return cut


def split_spans(faces: Sequence[LabelledFace]) -> list[list[LabelledFace]]:
    """Group entities such that no more than 20 s without labels lie within a group."""
    spans: list[list[LabelledFace]] = []
    stop_s = -np.inf
    for face in sorted(faces, key=lambda face: float(face.timestamps[0])):
        if float(face.timestamps[0]) > stop_s + MAX_GAP_S:
            spans.append([])
        spans[-1].append(face)
        stop_s = max(stop_s, float(face.timestamps[-1]))
    return spans


class _SpanCutter:
    """Goes through the frames of a span and through the rows of its entities side by side."""

    def __init__(
        self,
        video: VideoInfo,
        sound: Sound,
        faces: Sequence[tuple[LabelledFace, LoaderRow]],
        to: EntityStoreWriter,
        cut: CutReport,
    ) -> None:
        self.video, self.sound, self.to, self.cut = video, sound, to, cut
        self.faces = faces
        self.writers: dict[int, EntityWriter] = {}
        self.image = _FrameConverter(video, to.form.colour)
        self.first_s = min(float(face.timestamps[0]) for face, _ in faces)
        self.last_s = max(float(face.timestamps[-1]) for face, _ in faces)
        self.start_s = max(0, int(self.first_s - MARGIN_S))
        self.far_s = FAR_FRAMES / float(min(video.fps, *(row.fps for _, row in faces)))

    def run(self) -> None:
        """Write the entities of the span."""
        with ExitStack() as unfinished:
            unfinished.callback(self._discard)
            rows = self._rows()
            held: tuple[float, VideoFrame] | None = None
            row = next(rows, None)
            for time_s, image in self._frames():
                while row is not None and held is not None:
                    if row[0] - held[0] > time_s - row[0]:  # the next image is nearer
                        break
                    self._take(row, held)
                    row = next(rows, None)
                held = (time_s, image)
                if row is None:
                    break
            while row is not None and held is not None:  # the video ends before its labels
                self._take(row, held)
                row = next(rows, None)
        if held is None:
            problem = f"no picture between {self.first_s:g} and {self.last_s:g} s"
            self.cut.lost |= {face.name: problem for face, _ in self.faces}

    def _rows(self) -> Iterator[tuple[float, int, int]]:
        """Yield (time stamp, entity, frame of it) in the order of time."""
        times = np.concatenate([face.timestamps for face, _ in self.faces])
        lengths = [len(face.timestamps) for face, _ in self.faces]
        which = np.repeat(np.arange(len(lengths)), lengths)
        frames = np.concatenate([np.arange(length) for length in lengths])
        for number in np.argsort(times, kind="stable"):
            yield float(times[number]), int(which[number]), int(frames[number])

    def _frames(self) -> Iterator[tuple[float, VideoFrame]]:
        """Yield the images about the span with the time each is shown."""
        stop_s = self.last_s + MARGIN_S
        options = ReadOptions(float(self.start_s), stop_s - self.start_s, threads=1)
        for frame in read_source_frames(self.video, options, ReadReport()):
            yield float(frame.start_s + Fraction(self.start_s)), frame.image

    def _take(self, row: tuple[float, int, int], held: tuple[float, VideoFrame]) -> None:
        """Cut one face; begin and finish its entity where this is its first or last frame."""
        time_s, number, frame = row
        face, _ = self.faces[number]
        if frame == 0:
            self._begin(number, held)
        writer = self.writers.get(number)
        if writer is None:
            return
        if abs(time_s - held[0]) > self.far_s:
            writer.padded_frames += 1
        crop = crop_box(self.image.of(held[1]), face.boxes[frame], self.to.form.size)
        writer.append(crop, int(face.labels[frame]), time_s)
        if frame == len(face.labels) - 1:
            self._finish(number, face)

    def _begin(self, number: int, held: tuple[float, VideoFrame]) -> None:
        """Open the file of an entity, unless the video has ended before it."""
        face, row = self.faces[number]
        if float(face.timestamps[0]) - held[0] > self.far_s:
            self.cut.lost[face.name] = (
                f"the last picture before {face.timestamps[0]:g} s is shown at {held[0]:.2f} s"
            )
            return
        info = EntityInfo(
            name=face.name,
            video=face.video,
            num_frames=len(face.labels),
            fps=row.fps,
            num_speaking=int((face.labels == SPEAKING).sum()),
        )
        self.writers[number] = self.to.open(info)

    def _finish(self, number: int, face: LabelledFace) -> None:
        """Add the sound: samples int(start * 16000) to int(stop * 16000), as published."""
        start = int(float(face.timestamps[0]) * SAMPLE_RATE)
        stop = int(float(face.timestamps[-1]) * SAMPLE_RATE)
        waveform = self.sound.read(start, stop)
        writer = self.writers.pop(number)
        writer.padded_samples = stop - min(max(start, self.sound.num_decoded), stop)
        with writer:
            writer.finish(waveform)
        self.cut.written += 1
        self.cut.frames += len(face.labels)
        if writer.padded_frames or writer.padded_samples:
            self.cut.padded[face.name] = (writer.padded_frames, writer.padded_samples)

    def _discard(self) -> None:
        for writer in self.writers.values():
            writer.discard()


class _FrameConverter:
    """Turns images into upright arrays, each image once."""

    def __init__(self, video: VideoInfo, colour: bool) -> None:
        self._orientation = video.orientation
        self._format = "rgb24" if colour else "gray8"
        self._scaler = VideoReformatter()
        self._tone_mapper = ToneMapper("relative_colorimetric")
        self._image: VideoFrame | None = None
        self._array = np.empty((0, 0), np.uint8)

    def of(self, image: VideoFrame) -> NDArray[np.uint8]:
        """Return (H, W) grey or (H, W, 3) RGB.

        Kept: grey follows the colour matrix of the source, as the published preparation, which
        went through RGB, has it; for BT.709 that is not quite the luma that is stored.
        """
        if image is not self._image:
            sdr = self._tone_mapper.sdr(image)
            array = self._scaler.reformat(sdr, format=self._format, threads=1).to_ndarray()
            self._array = self._orientation.upright(np.asarray(array, np.uint8))
            self._image = image
        return self._array


def crop_box(picture: NDArray[np.uint8], box: NDArray[np.float64], size: int) -> NDArray[np.uint8]:
    """Return the face in a box, resized without regard to its aspect, as published.

    Args:
        picture: (H, W) or (H, W, 3).
        box: (4,) x1, y1, x2, y2 as fractions of the picture's sides.
        size: Height and width of the crop.
    """
    height, width = picture.shape[:2]
    return crop_tight(picture, box * (width, height, width, height), size)
