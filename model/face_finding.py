"""Find the faces of a video for a data set, exactly as the demo finds them."""

import functools
import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from model.contract import FaceDetector
from model.detection import choose_detector, detect_faces
from utils.flags import flag_name
from utils.media.container import ReadOptions, VideoInfo
from utils.media.video import read_frames
from utils.model_options import DetectorOptions
from utils.structures import CropPiece, Shot
from utils.tracking.crops import CropOptions, crop_faces
from utils.tracking.greedy_tracker import GreedyTracker, TrackOptions
from utils.tracking.shots import ShotOptions, mark_shots

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FaceFinder:
    """Gives the crops of a video, and each shot after the last of its crops.

    It can be sent to other processes, each of which loads its own detector, once.
    """

    options: DetectorOptions  # which detector and how often it looks
    device: str = "cpu"

    def __call__(self, video: VideoInfo) -> Iterator[CropPiece | Shot]:
        """Yield what is found in a video."""
        detector, every = _load(self.options, self.device), self.options.every(self.device)
        wanted = detector.image_size(video.width, video.height)
        frames = mark_shots(read_frames(video, wanted, ReadOptions()), ShotOptions())
        found = detect_faces(frames, detector, every)
        return crop_faces(found, GreedyTracker(TrackOptions(), every), CropOptions())

    @property
    def settings(self) -> dict[str, str | int | float | None]:
        """What must stay the same for the same crops, by flag."""
        found = asdict(self.options) | {"detect_every": self.options.every(self.device)}
        return {f"--{flag_name(name)}": value for name, value in found.items()}


def choose_finder(options: DetectorOptions, device: str) -> FaceFinder:
    """Return what finds faces with the detector that the options ask for; see `choose_detector`."""
    choice = choose_detector(options, device)
    logger.info("detector: %s", choice.reason)
    chosen: Any = choice.detector.name  # so that no process chooses another one
    return FaceFinder(replace(options, detector=chosen), device)


@functools.cache
def _load(options: DetectorOptions, device: str) -> FaceDetector:
    return choose_detector(options, device).detector
