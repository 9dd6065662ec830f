"""Face detection: choose a detector and run it on a stream of frames."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module

import numpy as np
from numpy.typing import NDArray

from model.checkpoints.registry import RawWeights, find_weights, get_weights, registry
from model.choosing import AUTO, check_name, first_available
from model.contract import FaceDetector
from model.names import detector_names
from utils.downloads import Progress
from utils.errors import WeightsUnavailableError
from utils.model_options import DetectorOptions
from utils.structures import Detections, Frame

BATCH = 32  # images per call of a detector, at most
ON_CPU = ("yunet", "tiny_fcos")  # in order of preference; the last one is bundled
ON_GPU = ("s3fd", "yunet", "tiny_fcos")
HELD_BYTES = 40_000_000  # of frames held for a batch, at most


@dataclass(frozen=True)
class DetectorChoice:
    """A detector, and one line that says which it is and why."""

    detector: FaceDetector
    reason: str


def load_detector(
    name: str = "auto", device: str = "cpu", progress: Progress | None = None
) -> FaceDetector:
    """Return a face detector with default settings; see `choose_detector`."""
    return choose_detector(DetectorOptions(name), device, progress=progress).detector


def choose_detector(
    options: DetectorOptions,
    device: str = "cpu",
    precision: str = "fp32",
    progress: Progress | None = None,
) -> DetectorChoice:
    """Load the requested detector; one that is named explicitly is never replaced.

    Args:
        options: Which detector, and its settings.
        device: Where s3fd runs; yunet always runs on the CPU.
        precision: For s3fd: bf16, or any other for fp32.
        progress: Told the bytes of a download.

    Raises:
        UserError: There is no detector of that name.
        WeightsUnavailableError: Its weights are not available; one line that says what was tried
            and what to do.
    """
    check_name("a detector", options.detector, (AUTO, *detector_names()))
    kind = "CPU" if device == "cpu" else "GPU"
    order = ON_CPU if device == "cpu" else ON_GPU
    get = partial(_weights_of, progress=progress)
    try:
        chosen = first_available(
            "--detector", options.detector, order, f"the one for a {kind}", get
        )
    except WeightsUnavailableError as error:
        raise WeightsUnavailableError(f"no face detector is available: {error}") from error
    load = import_module(f"model.detectors.{chosen.name}").load
    return DetectorChoice(load(chosen.weights, options, device, precision), chosen.reason)


def _weights_of(name: str, progress: Progress | None) -> RawWeights:
    """Return a detector's weights; a file on this machine is preferred to any download."""
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
    """Yield all frames in order; those on which the detector ran have their faces.

    The detector runs on the first and last frame of each shot and on every `every`-th frame
    between, counted from the first. Boxes are in source pixels. Holds the frames of one batch.

    Args:
        frames: Frames with their shots, in order.
        detector: Finds the faces in `Frame.image`.
        every: 1 runs it on all frames.
    """
    if every < 1:
        raise ValueError(f"expected to detect faces in every 1, 2, ... frames, got {every}")
    runner = _BatchRunner(detector)
    batch: list[tuple[Frame, bool]] = []
    num_bytes = num_detected = 0
    for frame, chosen in _choose_frames(frames, every):
        if not batch or frame.image is not batch[-1][0].image:
            num_bytes += _num_bytes(frame)
        batch.append((frame, chosen))
        num_detected += chosen
        if num_detected == BATCH or num_bytes >= HELD_BYTES:
            yield from runner.run(batch)
            batch, num_bytes, num_detected = [], 0, 0
    yield from runner.run(batch)


def _num_bytes(frame: Frame) -> int:
    """Return the size of a frame's images in bytes."""
    own_colour = frame.colour is not None and frame.colour is not frame.image
    images = (frame.grey, frame.image, *((frame.colour,) if own_colour else ()))
    return sum(image.nbytes for image in images)


def _choose_frames(frames: Iterator[Frame], every: int) -> Iterator[tuple[Frame, bool]]:
    """Yield each frame and whether to detect faces in it; lags one frame to know a shot's last."""
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


class _BatchRunner:
    """Runs a detector on batches; an image that repeats the last one is not processed again."""

    def __init__(self, detector: FaceDetector) -> None:
        self._detector = detector
        self._image: NDArray[np.uint8] | None = None  # the last one processed
        self._faces: Detections | None = None

    def run(self, batch: list[tuple[Frame, bool]]) -> Iterator[Frame]:
        """Yield the frames; those that were chosen have their faces."""
        images: list[NDArray[np.uint8]] = []
        previous = self._image
        for frame, chosen in batch:
            if chosen and frame.image is not previous:
                previous = frame.image
                images.append(previous)
        found = iter(self._detector.detect(images)) if images else iter(())
        for frame, chosen in batch:
            if not chosen:
                yield frame
                continue
            if frame.image is not self._image:
                self._image, self._faces = frame.image, _to_source(next(found), frame)
            yield replace(frame, faces=self._faces)


def _to_source(faces: Detections, frame: Frame) -> Detections:
    """Scale boxes from pixels of the detector's image to those of the source."""
    height, width = frame.image.shape[:2]
    scale = np.array([frame.grey.shape[1] / width, frame.grey.shape[0] / height] * 2, np.float32)
    landmarks = None if faces.landmarks is None else faces.landmarks * scale[:2]
    return Detections(faces.boxes * scale, faces.confidences, landmarks)
