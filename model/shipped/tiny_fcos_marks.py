"""Mark the faces in a video's frames: where the teacher finds them, and between such frames."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from model.contract import FaceDetector
from utils.boxes import iou
from utils.media.container import ReadOptions, probe
from utils.media.video import read_frames
from utils.structures import FPS, Detections
from utils.tracking.greedy_tracker import GreedyTracker, TrackOptions
from utils.tracking.shots import ShotOptions, mark_shots
from utils.tracking.tracks import GrowingTrack

SURE = 0.6  # the teacher's confidence from which on a box is a face
DOUBTFUL = 0.4  # below it there is none; between them there may or may not be one
SAME = 0.4  # IoU from which on two boxes are of one face
EVERY = 5  # frames of a video from one that is looked at to the next
GAP_S = 1.0  # up to which a lost face is interpolated
SHORTEST = TrackOptions().min_track // 2  # images; shorter tracks mark no more than the teacher

Box = tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class MarkedFrame:
    """A frame and the faces in it; held encoded, as a video has hundreds."""

    encoded: NDArray[np.uint8]  # JPEG, in the size that the teacher sees
    boxes: NDArray[np.float32]  # (N, 4) x1, y1, x2, y2 in its pixels
    confidences: NDArray[np.float32]  # (N,) the teacher's, 0 where it found nothing
    clear: NDArray[np.bool_]  # (N,) whether each is certainly a face; else it may or may not be

    @property
    def image(self) -> NDArray[np.uint8]:
        """The frame, (H, W, 3) RGB."""
        return np.asarray(cv2.imdecode(self.encoded, cv2.IMREAD_COLOR_RGB), np.uint8)

    @property
    def ease(self) -> float:
        """How certain the teacher is of the hardest clear face; 1 if there is none."""
        return float(self.confidences[self.clear].min(initial=1.0))


def look(teacher: FaceDetector, image: NDArray[np.uint8]) -> Detections:
    """Return the teacher's faces in pixels of the image, whatever size it wants to see."""
    height, width = image.shape[:2]
    wanted = teacher.image_size(width, height)
    how = cv2.INTER_AREA if wanted[0] < width else cv2.INTER_LINEAR
    seen = np.asarray(cv2.resize(image, wanted, interpolation=how), np.uint8)
    found = teacher.detect([seen])[0]
    scale = np.array([width / wanted[0], height / wanted[1]] * 2, np.float32)
    landmarks = None if found.landmarks is None else found.landmarks * scale[:2]
    return Detections(found.boxes * scale, found.confidences, landmarks)


def mark_video(
    teacher: FaceDetector, path: Path, most: int, longest_s: float = math.inf
) -> list[MarkedFrame]:
    """Return at most `most` frames of the first `longest_s` of a video with their faces.

    A face that the teacher is sure of is followed through its shot. Where the teacher is not
    sure, for up to a second, the face is marked by interpolation.
    """
    video = probe(path)
    options = ReadOptions(duration_s=min(longest_s, video.duration_s), threads=1)
    every = max(EVERY, -(-round(options.duration_s * FPS) // most))
    seen: list[tuple[NDArray[np.uint8], Detections]] = []
    tracks: list[GrowingTrack] = []
    tracker = GreedyTracker(TrackOptions(round(GAP_S * FPS) // every, SHORTEST))
    shot = 0
    size = teacher.image_size(video.width, video.height)
    sampled = read_frames(video, size, options, every=every)
    consecutive = (replace(frame, index=number) for number, frame in enumerate(sampled))
    for frame in mark_shots(consecutive, ShotOptions(min_shot=0)):
        if frame.shot != shot:
            tracks, shot = tracks + tracker.finish(), frame.shot
        found = teacher.detect([frame.image])[0]
        encoded = cv2.imencode(".jpg", frame.image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1]
        seen.append((np.asarray(encoded, np.uint8), found))
        sure = found.confidences >= SURE
        faces = Detections(found.boxes[sure], found.confidences[sure])
        tracks += tracker.update(frame.index, faces)
    return _followed(seen, [one for one in tracks + tracker.finish() if tracker.keeps(one)])


def _followed(
    seen: Sequence[tuple[NDArray[np.uint8], Detections]], tracks: Sequence[GrowingTrack]
) -> list[MarkedFrame]:
    """Return each frame with the detections and the boxes of the tracks in it."""
    followed: list[list[Box]] = [[] for _ in seen]
    for track in tracks:
        for index, box in enumerate(track.boxes, track.stop - len(track.boxes)):
            followed[index].append(box)
    return [join(*one, boxes) for one, boxes in zip(seen, followed, strict=True)]


def join(encoded: NDArray[np.uint8], found: Detections, followed: Sequence[Box]) -> MarkedFrame:
    """Return a frame with what the teacher found in it, and the tracks' boxes elsewhere.

    A doubtful face that a track passes through is clear.
    """
    passing = np.array(followed, np.float32).reshape(-1, 4)
    overlap = iou(found.boxes[:, None], passing[None])
    clear = (found.confidences >= SURE) | (overlap.max(axis=1, initial=0) >= SAME)
    missed = passing[overlap.max(axis=0, initial=0) < SAME]
    return MarkedFrame(
        encoded,
        np.concatenate([found.boxes, missed]),
        np.concatenate([found.confidences, np.zeros(len(missed), np.float32)]),
        np.concatenate([clear, np.ones(len(missed), bool)]),
    )
