"""Store the labelled faces and their audio of one video, decoding it once."""

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

MAX_GAP_S = 20.0  # longer unlabelled parts are skipped by seeking
MARGIN_S = 1.0  # decoded before and after the labels
MAX_OFFSET = 1.5  # frames; an image further from its time stamp counts as padding


@dataclass
class CutReport:
    """Outcome of the entities of one video."""

    written: int = 0
    frames: int = 0
    padded: dict[str, tuple[int, int]] = field(default_factory=dict)  # name: frames, samples
    lost: dict[str, str] = field(default_factory=dict)  # reason by name


def cut_video(
    path: Path, faces: Sequence[tuple[LabelledFace, LoaderRow]], store: EntityStoreWriter
) -> CutReport:
    """Write the entities of one video that the store lacks or has with other labels.

    The video is decoded once, front to back, except for long unlabelled parts. One image and the
    audio of the longest entity are held in memory.

    Raises:
        UserError, ResourceError, FileNotFoundError: The video cannot be read at all.
    """
    report = CutReport()
    todo = [
        (face, row)
        for face, row in faces
        if not store.holds(face.name, face.labels, face.timestamps)
    ]
    if not todo:
        return report
    video = probe(path)
    longest_s = max(float(face.timestamps[-1] - face.timestamps[0]) for face, _ in todo)
    audio = Sound(video, ReadOptions(threads=1), keep_s=longest_s + 10)
    for span in split_spans([face for face, _ in todo]):
        names = {face.name for face in span}
        in_span = [(face, row) for face, row in todo if face.name in names]
        _SpanCutter(video, audio, in_span, store, report).run()
    return report


def split_spans(faces: Sequence[LabelledFace]) -> list[list[LabelledFace]]:
    """Group entities so that no group has an unlabelled gap of more than 20 s."""
    spans: list[list[LabelledFace]] = []
    stop_s = -np.inf
    for face in sorted(faces, key=lambda face: float(face.timestamps[0])):
        if float(face.timestamps[0]) > stop_s + MAX_GAP_S:
            spans.append([])
        spans[-1].append(face)
        stop_s = max(stop_s, float(face.timestamps[-1]))
    return spans


class _SpanCutter:
    """Iterates over the frames of a span and the rows of its entities in parallel."""

    def __init__(
        self,
        video: VideoInfo,
        audio: Sound,
        faces: Sequence[tuple[LabelledFace, LoaderRow]],
        store: EntityStoreWriter,
        report: CutReport,
    ) -> None:
        self.video, self.audio, self.store, self.report = video, audio, store, report
        self.faces = faces
        self.writers: dict[int, EntityWriter] = {}
        self.converter = _FrameConverter(video, store.form.colour)
        self.first_s = min(float(face.timestamps[0]) for face, _ in faces)
        self.last_s = max(float(face.timestamps[-1]) for face, _ in faces)
        self.start_s = max(0, int(self.first_s - MARGIN_S))
        self.max_offset_s = MAX_OFFSET / float(min(video.fps, *(row.fps for _, row in faces)))

    def run(self) -> None:
        """Write the entities of the span."""
        with ExitStack() as unfinished:
            unfinished.callback(self._discard)
            rows = self._rows()
            previous: tuple[float, VideoFrame] | None = None
            row = next(rows, None)
            for time_s, image in self._frames():
                while row is not None and previous is not None:
                    if row[0] - previous[0] > time_s - row[0]:  # the next image is nearer
                        break
                    self._crop(row, previous)
                    row = next(rows, None)
                previous = (time_s, image)
                if row is None:
                    break
            while row is not None and previous is not None:  # the video ends before its labels
                self._crop(row, previous)
                row = next(rows, None)
        if previous is None:
            problem = f"found no image between {self.first_s:g} and {self.last_s:g} s"
            self.report.lost |= {face.name: problem for face, _ in self.faces}

    def _rows(self) -> Iterator[tuple[float, int, int]]:
        """Yield (time stamp, entity, its frame) sorted by time."""
        times = np.concatenate([face.timestamps for face, _ in self.faces])
        lengths = [len(face.timestamps) for face, _ in self.faces]
        entities = np.repeat(np.arange(len(lengths)), lengths)
        frames = np.concatenate([np.arange(length) for length in lengths])
        for number in np.argsort(times, kind="stable"):
            yield float(times[number]), int(entities[number]), int(frames[number])

    def _frames(self) -> Iterator[tuple[float, VideoFrame]]:
        """Yield the images of the span and its margins with their presentation times."""
        stop_s = self.last_s + MARGIN_S
        options = ReadOptions(float(self.start_s), stop_s - self.start_s, threads=1)
        for frame in read_source_frames(self.video, options, ReadReport()):
            yield float(frame.start_s + Fraction(self.start_s)), frame.image

    def _crop(self, row: tuple[float, int, int], image: tuple[float, VideoFrame]) -> None:
        """Add a face crop; open its entity at the first frame, close it at the last."""
        time_s, number, frame = row
        face, _ = self.faces[number]
        if frame == 0:
            self._begin(number, image)
        writer = self.writers.get(number)
        if writer is None:
            return
        if abs(time_s - image[0]) > self.max_offset_s:
            writer.padded_frames += 1
        pixels = self.converter.convert(image[1])
        crop = crop_box(pixels, face.boxes[frame], self.store.form.size)
        writer.append(crop, int(face.labels[frame]), time_s)
        if frame == len(face.labels) - 1:
            self._finish(number, face)

    def _begin(self, number: int, image: tuple[float, VideoFrame]) -> None:
        """Open the file of an entity, unless the video ended before it."""
        face, row = self.faces[number]
        if float(face.timestamps[0]) - image[0] > self.max_offset_s:
            self.report.lost[face.name] = (
                f"the last image before {face.timestamps[0]:g} s is at {image[0]:.2f} s"
            )
            return
        info = EntityInfo(
            name=face.name,
            video=face.video,
            num_frames=len(face.labels),
            fps=row.fps,
            num_speaking=int((face.labels == SPEAKING).sum()),
        )
        self.writers[number] = self.store.open(info)

    def _finish(self, number: int, face: LabelledFace) -> None:
        """Add the audio: samples int(start * 16000) to int(stop * 16000), as published."""
        start = int(float(face.timestamps[0]) * SAMPLE_RATE)
        stop = int(float(face.timestamps[-1]) * SAMPLE_RATE)
        waveform = self.audio.read(start, stop)
        writer = self.writers.pop(number)
        writer.padded_samples = stop - min(max(start, self.audio.num_decoded), stop)
        with writer:
            writer.finish(waveform)
        self.report.written += 1
        self.report.frames += len(face.labels)
        if writer.padded_frames or writer.padded_samples:
            self.report.padded[face.name] = (writer.padded_frames, writer.padded_samples)

    def _discard(self) -> None:
        for writer in self.writers.values():
            writer.discard()


class _FrameConverter:
    """Converts images to upright arrays; the last one is cached."""

    def __init__(self, video: VideoInfo, colour: bool) -> None:
        self._orientation = video.orientation
        self._format = "rgb24" if colour else "gray8"
        self._scaler = VideoReformatter()
        self._tone_mapper = ToneMapper("relative_colorimetric")
        self._image: VideoFrame | None = None
        self._array = np.empty((0, 0), np.uint8)

    def convert(self, image: VideoFrame) -> NDArray[np.uint8]:
        """Return (H, W) grey or (H, W, 3) RGB.

        Kept: grey is computed with the colour matrix of the source, as in the published
        preparation, which converted to RGB; for BT.709 this differs slightly from the stored luma.
        """
        if image is not self._image:
            sdr = self._tone_mapper.sdr(image)
            array = self._scaler.reformat(sdr, format=self._format, threads=1).to_ndarray()
            self._array = self._orientation.upright(np.asarray(array, np.uint8))
            self._image = image
        return self._array


def crop_box(image: NDArray[np.uint8], box: NDArray[np.float64], size: int) -> NDArray[np.uint8]:
    """Return the face in a box, resized without keeping its aspect ratio, as published.

    Args:
        image: (H, W) or (H, W, 3).
        box: (4,) x1, y1, x2, y2 as fractions of the image's sides.
        size: Height and width of the crop.
    """
    height, width = image.shape[:2]
    return crop_tight(image, box * (width, height, width, height), size)
