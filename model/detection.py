"""Face detection: which detector, and where in a stream of frames it looks."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib import import_module

import numpy as np
from numpy.typing import NDArray

from model.checkpoints.registry import RawWeights, find_weights, get_weights, registry
from model.contract import FaceDetector
from model.names import detector_names
from utils.downloads import Progress
from utils.errors import UserError, WeightsUnavailableError
from utils.model_options import DetectorOptions
from utils.structures import Detections, Frame

BATCH = 32  # pictures looked at in one go, at most
ON_CPU = ("yunet", "tiny_fcos")  # the first with weights; the last is shipped
ON_GPU = ("s3fd", "yunet", "tiny_fcos")
HELD_BYTES = 128_000_000  # frames held for a batch, at most


@dataclass(frozen=True)
class Choice:
    """A detector, and in one line which it is and why."""

    detector: FaceDetector
    reason: str


def load_detector(
    name: str = "auto", device: str = "cpu", progress: Progress | None = None
) -> FaceDetector:
    """Return a face detector with its usual settings; see `choose_detector`."""
    return choose_detector(DetectorOptions(name), device, progress=progress).detector


def choose_detector(
    options: DetectorOptions,
    device: str = "cpu",
    precision: str = "fp32",
    progress: Progress | None = None,
) -> Choice:
    """Load the detector that the options ask for; one named explicitly is never replaced.

    Args:
        options: Which, and its settings.
        device: Where s3fd runs; yunet always runs on the CPU.
        precision: fp32 or bf16, for s3fd.
        progress: Told the bytes of a download.

    Raises:
        UserError: There is no detector of that name.
        WeightsUnavailableError: Its weights are not available; one line that says what was tried
            and what to do.
    """
    known = ("auto", *detector_names())
    if options.detector not in known:
        raise UserError(
            f"expected a detector named one of {', '.join(known)}; got {options.detector!r}"
        )
    preferred = ON_CPU if device == "cpu" else ON_GPU
    names = preferred if options.detector == "auto" else (options.detector,)
    problems: list[str] = []
    for name in names:
        try:
            weights = _weights_of(name, progress)
        except WeightsUnavailableError as error:
            problems.append(str(error))
            continue
        reason = f"{name} ({weights.file.path.name})"
        if options.detector != "auto":
            reason += ", as asked for"
        elif name == names[0]:
            reason += f", the one for a {'CPU' if device == 'cpu' else 'GPU'}"
        else:
            reason += f", because {names[0]} is not available (--detector {names[0]} says why)"
        load = import_module(f"model.detectors.{name}").load
        return Choice(load(weights, options, device, precision), reason)
    raise WeightsUnavailableError(f"no face detector is available: {'; '.join(problems)}")


def _weights_of(name: str, progress: Progress | None) -> RawWeights:
    """Return a detector's weights: any file that is here before any download is tried."""
    names = [one.name for one in registry().values() if one.network == name]
    for one in names:
        found = find_weights(one)
        if found:
            return found
    problems = []
    for one in names:
        try:
            return get_weights(one, progress)
        except WeightsUnavailableError as error:
            problems.append(str(error))
    raise WeightsUnavailableError("; ".join(problems))


def detect_faces(frames: Iterator[Frame], detector: FaceDetector, every: int) -> Iterator[Frame]:
    """Yield all frames in order, with the faces of those that were looked at.

    Looks at the first and the last frame of each shot and, counted from the first, at each
    `every`-th between. The boxes are in source pixels. Holds the frames of one batch.

    Args:
        frames: With their shots, in order.
        detector: Finds the faces of `Frame.picture`.
        every: 1 looks at all frames.
    """
    if every < 1:
        raise ValueError(f"faces are looked for in each 1, 2, ... frames, got {every}")
    looker = _Looker(detector)
    batch: list[tuple[Frame, bool]] = []
    num_bytes = num_looks = 0
    for frame, look in _where_to_look(frames, every):
        if not batch or frame.picture is not batch[-1][0].picture:
            num_bytes += _num_bytes(frame)
        batch.append((frame, look))
        num_looks += look
        if num_looks == BATCH or num_bytes >= HELD_BYTES:
            yield from looker.look(batch)
            batch, num_bytes, num_looks = [], 0, 0
    yield from looker.look(batch)


def _num_bytes(frame: Frame) -> int:
    """Return how much memory the images of a frame take."""
    own_colour = frame.colour is not None and frame.colour is not frame.picture
    images = (frame.grey, frame.picture, *((frame.colour,) if own_colour else ()))
    return sum(image.nbytes for image in images)


def _where_to_look(frames: Iterator[Frame], every: int) -> Iterator[tuple[Frame, bool]]:
    """Yield each frame and whether to look at it, one frame behind: the last of a shot counts."""
    held: Frame | None = None
    first = 0
    for frame in frames:
        if held is not None:
            last = held.shot != frame.shot
            yield held, last or (held.index - first) % every == 0
        if held is None or held.shot != frame.shot:
            first = frame.index
        held = frame
    if held is not None:
        yield held, True


class _Looker:
    """Runs a detector over batches; a picture that comes again is not looked at again."""

    def __init__(self, detector: FaceDetector) -> None:
        self._detector = detector
        self._picture: NDArray[np.uint8] | None = None  # the last one looked at
        self._faces: Detections | None = None

    def look(self, batch: list[tuple[Frame, bool]]) -> Iterator[Frame]:
        """Yield the frames, those to look at with their faces."""
        pictures: list[NDArray[np.uint8]] = []
        previous = self._picture
        for frame, look in batch:
            if look and frame.picture is not previous:
                previous = frame.picture
                pictures.append(previous)
        found = iter(self._detector.detect(pictures)) if pictures else iter(())
        for frame, look in batch:
            if not look:
                yield frame
                continue
            if frame.picture is not self._picture:
                self._picture, self._faces = frame.picture, _to_source(next(found), frame)
            yield replace(frame, faces=self._faces)


def _to_source(faces: Detections, frame: Frame) -> Detections:
    """Scale boxes from pixels of the picture to those of the source."""
    height, width = frame.picture.shape[:2]
    scale = np.array([frame.grey.shape[1] / width, frame.grey.shape[0] / height] * 2, np.float32)
    return Detections(faces.boxes * scale, faces.confidences)
