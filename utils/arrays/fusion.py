"""Score faces by how near they are to where an array hears speech, and join that with their looks.

The rule, for a face in a frame: `near = exp(-(d / spread)**2 / 2)`, where `d` is the angle between
the place where speech is heard and the nearer edge of the face's box, 0 inside it; the probability
that this face is what is heard is the array's confidence times `near`; the array's score is its
log-odds, held within +-4. The joint score is the visual one plus `array_weight` times the array's.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from utils.arrays.geometry import Camera
from utils.arrays.speech_positions import Heard
from utils.errors import UserError
from utils.scores import sigmoid
from utils.structures import FPS, ScoredTrack

LARGEST_SCORE = 4.0  # the array alone is never more certain than 98 %


@dataclass(frozen=True)
class ArrayOptions:
    """An array that recorded what a video shows."""

    array: Annotated[Path | None, "WAV with all channels of an array beside the camera"] = None
    array_geometry: Annotated[
        Path | None, "JSON of where its microphones and cameras stand, see docs/array_audio.md"
    ] = None
    array_camera: Annotated[str, "which of the geometry's cameras filmed; else its only one"] = ""
    array_weights: Annotated[
        Path | None,
        "localizer trained for this array, with feature_scaler.h5 beside it; else directions are "
        "tried by the geometry alone",
    ] = None

    def __post_init__(self) -> None:
        if (self.array is None) != (self.array_geometry is None):
            raise UserError(
                "--array and --arrayGeometry belong together: the recording, and where its "
                "microphones stand; pass both or none"
            )


@dataclass(frozen=True)
class FusionOptions:
    """How much an array has to say about faces."""

    spread_deg: Annotated[float, "how far off speech may be heard, standard deviation, degrees"] = (
        4.0
    )
    array_weight: Annotated[float, "what the array's score is multiplied by, 0 for nothing"] = 1.0
    array_offset_s: Annotated[
        float, "when the array's recording begins on the video's clock, s"
    ] = 0.0

    def __post_init__(self) -> None:
        if not self.spread_deg > 0 or not 0 <= self.array_weight < float("inf"):
            raise UserError(
                "--spreadDeg must be above 0 and --arrayWeight 0 or more, got "
                f"{self.spread_deg} and {self.array_weight}"
            )


def array_scores(
    boxes: NDArray[np.floating],
    heard: Heard,
    camera: Camera,
    width: float,
    spread_deg: float = FusionOptions.spread_deg,
) -> NDArray[np.float32]:
    """Return what an array says of a face in each frame, (T,): above 0 it is heard there.

    Args:
        boxes: (T, 4) x1, y1, x2, y2 in pixels.
        heard: In the same T frames.
        camera: That the boxes are seen by.
        width: Of its picture, px.
        spread_deg: How far off speech may be heard.
    """
    if len(boxes) != len(heard):
        raise UserError(f"expected {len(boxes)} frames as there are boxes, heard {len(heard)}")
    left, right = (camera.angle_deg(boxes[:, edge] / width) for edge in (0, 2))
    place = camera.angle_deg(heard.positions)
    apart = np.maximum(np.maximum(left - place, place - right), 0.0)
    probability = heard.confidences * np.exp(-0.5 * (apart / spread_deg) ** 2)
    least = 1 / (1 + np.exp(LARGEST_SCORE))
    probability = np.clip(probability, least, 1 - least)
    return np.asarray(np.log(probability / (1 - probability)), np.float32)


def fuse(
    visual: NDArray[np.floating],
    boxes: NDArray[np.floating],
    start: int,
    heard: Heard,
    view: tuple[Camera, float],
    options: FusionOptions,
) -> NDArray[np.float32]:
    """Return the joint scores of a track, (T,).

    Args:
        visual: (T,) scores of the visual network, boundary at 0.
        boxes: (T, 4) in pixels.
        start: Video frame of the first box, at 25/s.
        heard: All that the array heard in that view.
        view: The camera, and the width of its picture in pixels.
        options: How much the array has to say.
    """
    times = (start + np.arange(len(boxes))) / FPS - options.array_offset_s
    own = array_scores(boxes, heard.at(times), *view, options.spread_deg)
    return np.asarray(visual + options.array_weight * own, np.float32)


def fuse_tracks(
    tracks: Sequence[ScoredTrack],
    width: float,
    heard: tuple[Heard, Camera],
    options: FusionOptions,
) -> tuple[ScoredTrack, ...]:
    """Return tracks with the joint scores, and their probabilities.

    Args:
        tracks: Scored by a visual network.
        width: Of the video's picture, px.
        heard: All that the array heard, and the camera that has filmed.
        options: How much the array has to say.
    """
    fused = []
    for track in tracks:
        scores = fuse(track.scores, track.boxes, track.start, heard[0], (heard[1], width), options)
        probabilities = sigmoid(scores).astype(np.float32)
        fused.append(replace(track, scores=scores, probabilities=probabilities))
    return tuple(fused)
