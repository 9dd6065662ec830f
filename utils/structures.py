"""Types passed between the stages, from frames to scores, and the inputs of networks."""

from dataclasses import dataclass, field
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
    # (N, 5, 2) x, y of the eyes, the tip of the nose and the corners of the mouth, each pair from
    # left to right in the image; None if the detector finds none
    landmarks: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        if self.landmarks is not None and self.landmarks.shape != (len(self.boxes), 5, 2):
            raise ValueError(
                f"Detections.landmarks must have shape ({len(self.boxes)}, 5, 2), "
                f"got {self.landmarks.shape}"
            )
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
class FaceCrops:
    """A few aligned crops of a track, from which its person can be recognised."""

    frames: NDArray[np.int64]  # (N,) video frames, rising; N is 1 to 6
    crops: NDArray[np.uint8]  # (N, 128, 128, 3) RGB
    qualities: NDArray[np.float32]  # (N,) in [0, 1]: large, frontal and sharp
    thumbnail: NDArray[np.uint8]  # (128, 128, 3) RGB, the whole face at its best moment


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
    faces: FaceCrops | None = None  # on the last piece of a track that counts, if asked for


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
    person: int | None = None  # Person.id; None if people were not formed

    @property
    def stop(self) -> int:
        """Video frame after the last box."""
        return self.start + len(self.boxes)


@dataclass(frozen=True, eq=False)
class TrackEmbeddings:
    """What the face of a track looks like, to recognise its person in other tracks."""

    track: int  # ScoredTrack.id
    embeddings: NDArray[np.float32]  # (N, C) of unit length, in order of time; N is 1 to 6
    qualities: NDArray[np.float32]  # (N,) in [0, 1], see FaceCrops
    thumbnail: NDArray[np.uint8]  # (128, 128, 3) RGB, the whole face at its best moment


@dataclass(frozen=True)
class Person:
    """One human being over all shots of a video."""

    id: int  # from 0, in order of first appearance
    name: str | None = None
    tracks: tuple[int, ...] = ()  # ScoredTrack.id
    speaking_s: float = 0.0
    uncertain: bool = False  # too little was seen of them to compare them with the others
    similarity: float | None = None  # cosine with the images of the name, if it came from images
    thumbnail: NDArray[np.uint8] | None = field(default=None, compare=False, repr=False)
    # (H, W, 3) RGB, the face at its best moment

    @property
    def label(self) -> str:
        """The name, or the number after a P, with a question mark if uncertain."""
        return self.name or f"P{self.id}{'?' * self.uncertain}"


@dataclass(frozen=True)
class Segment:
    """A stretch of speech of one face, or of somebody who is not visible."""

    track: int | None  # ScoredTrack.id; None if the speaker's face is not visible
    start_s: float
    stop_s: float
    score: float | None  # mean of the smoothed scores; None without a track
    person: int | None = None  # Person.id; None if people were not formed, or off-screen
    kind: Literal["speech", "offscreen"] = "speech"


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
