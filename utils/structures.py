"""Types passed between the stages, from frames to scores, and the inputs of networks."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

FPS = 25  # working rate, frames/s: all networks were trained at it
STEPS_PER_FRAME = 4  # rows of audio features for each frame, at any frame rate
SAMPLE_RATE = 16000  # working rate of the audio, samples/s
SAMPLES_PER_FRAME = SAMPLE_RATE // FPS


@dataclass(frozen=True)
class Shot:
    """Frames [start, stop) of the video, filmed without a cut."""

    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True, eq=False)
class Detections:
    """The faces found in one image, in the order in which the detector found them."""

    boxes: NDArray[np.float32]  # (N, 4) x1, y1, x2, y2 in pixels; may reach beyond the image
    confidences: NDArray[np.float32]  # (N,) in [0, 1]

    def __post_init__(self) -> None:
        if self.boxes.ndim != 2 or self.boxes.shape[1] != 4:
            raise ValueError(f"Detections.boxes must have shape (N, 4), got {self.boxes.shape}")
        if self.confidences.shape != self.boxes.shape[:1]:
            raise ValueError(
                f"Detections.confidences must have shape ({len(self.boxes)},), "
                f"got {self.confidences.shape}"
            )

    def __len__(self) -> int:
        return len(self.boxes)


@dataclass(frozen=True, eq=False)
class Frame:
    """One image of the video at the working rate; each stage adds its results.

    If the source has fewer than 25 frames/s, neighbouring frames share their arrays.
    """

    index: int  # from 0 at 25 frames/s; the time is index / 25 s
    grey: NDArray[np.uint8]  # (H, W), the source's size, upright
    image: NDArray[np.uint8]  # (h, w, 3) RGB, in the size that the face detector reads
    shot: int = 0  # which shot it belongs to, from 0
    faces: Detections | None = None  # in source pixels; None if the detector did not run
    colour: NDArray[np.uint8] | None = None  # (H, W, 3) RGB, only if the network reads colour


@dataclass(frozen=True, eq=False)
class FaceTrack:
    """One face followed through consecutive frames of one shot."""

    start: int  # video frame of the first box
    boxes: NDArray[np.float32]  # (T, 4) x1, y1, x2, y2 in pixels of the source frame

    def __post_init__(self) -> None:
        if self.boxes.ndim != 2 or self.boxes.shape[1] != 4:
            raise ValueError(f"FaceTrack.boxes must have shape (T, 4), got {self.boxes.shape}")

    @property
    def stop(self) -> int:
        """Video frame after the last box."""
        return self.start + len(self.boxes)


@dataclass(frozen=True)
class CropForm:
    """Which crops a network reads, and how many of them a piece holds."""

    size: int = 112  # height and width
    colour: bool = False
    piece: int = 60 * FPS  # frames; by default a multiple of all lengths of scoring windows
    tight: bool = False  # the face's own box, resized without keeping its aspect ratio


@dataclass(frozen=True, eq=False)
class CropPiece:
    """Some frames of a track and their crops; all pieces but the last have `CropForm.piece`."""

    track: int  # number of the track, unique in the video, in order of their first frames
    shot: int
    start: int  # video frame of the first crop
    track_start: int  # video frame of the track's first crop
    boxes: NDArray[np.float32]  # (T, 4) x1, y1, x2, y2 in pixels of the source frame
    crops: NDArray[np.uint8]  # (T, size, size) grey, or (T, size, size, 3) RGB
    thumbnail: NDArray[np.uint8]  # (112, 112) grey, the whole face once
    last: bool  # no further piece of this track follows
    kept: bool = True  # False on the last piece of a track that turned out too short or small


@dataclass(frozen=True, eq=False)
class ScoredTrack:
    """A face track with one score for each frame."""

    id: int  # from 0 in the video, in order of the first frames
    shot: int
    start: int  # video frame of the first box
    boxes: NDArray[np.float32]  # (T, 4) x1, y1, x2, y2 in pixels of the source frame
    scores: NDArray[np.float32]  # (T,) unbounded, speaking above 0
    probabilities: NDArray[np.float32]  # (T,) in [0, 1]
    thumbnail: NDArray[np.uint8]  # (112, 112) grey, the whole face once

    @property
    def stop(self) -> int:
        """Video frame after the last box."""
        return self.start + len(self.boxes)


@dataclass(frozen=True)
class Segment:
    """A stretch of speech of one track."""

    track: int  # ScoredTrack.id
    start_s: float
    stop_s: float
    score: float  # mean of the smoothed scores


@dataclass(frozen=True)
class AudioFacts:
    """Which audio tracks of the file were used."""

    num_tracks: int  # in the file
    tracks: tuple[int, ...]  # those used, from 1; several were mixed
    reason: str  # why these
    channels: str = ""  # how channels were mixed, if not as FFmpeg does it


@dataclass(frozen=True)
class InputSpec:
    """What a network reads."""

    feature: str = "mfcc"  # module of utils/features, and the function in it
    num_features: int = 13  # F, per step
    size: int = 112  # H = W of a face crop
    colour: bool = False
    tight: bool = False  # the demo's crops show the face's own box, as AVA's do


@dataclass(frozen=True)
class ClipSpec:
    """Which frames of a track a clip network reads to score one of them.

    Beyond the ends of the track, its first or last frame is repeated.
    """

    length: int
    before: int  # how many of them lie before the scored one
    fps: int = FPS  # their rate


@dataclass(frozen=True)
class ContextSpec:
    """Which moments and faces of a shot a context network reads to score one frame of a face."""

    length: int  # L, moments
    before: int  # how many of them lie before the scored one
    num_speakers: int  # S, the scored face among them
    fill: Literal["repeat", "zero"]  # what fills the places if the shot has fewer faces
    stride: int = 1  # frames from one moment to the next
