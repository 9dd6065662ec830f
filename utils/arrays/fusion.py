"""Fuse the scores of faces with the direction of speech localised by a microphone array.

For a face in a frame, `near = exp(-(d / spread)**2 / 2)`, where `d` is the angle between the
localised direction and the nearer edge of the face's box, 0 inside it. The probability that this
face speaks is the array's confidence times `near`; the array's score is its log-odds, clipped to
[-4, 4]. The fused score is the visual score plus `array_weight` times the array's.
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

LARGEST_SCORE = 4.0  # limits the array's probability to 98 %


@dataclass(frozen=True)
class ArrayOptions:
    """The recording of a microphone array beside the camera."""

    array: Annotated[
        Path | None, "WAV file with all channels of a microphone array beside the camera"
    ] = None
    array_geometry: Annotated[
        Path | None,
        "JSON file with the positions of its microphones and cameras, see docs/array_audio.md",
    ] = None
    array_camera: Annotated[str, "camera of the video, if the geometry has several"] = ""
    array_weights: Annotated[
        Path | None,
        "localizer trained for this array, with feature_scaler.h5 in the same folder (default: "
        "SRP-PHAT, which needs only the geometry)",
    ] = None

    def __post_init__(self) -> None:
        if (self.array is None) != (self.array_geometry is None):
            raise UserError(
                "--array (the recording) and --arrayGeometry (the positions of its microphones) "
                "require each other; pass both or none"
            )


@dataclass(frozen=True)
class FusionOptions:
    """How the array's scores are combined with those of the faces."""

    spread_deg: Annotated[float, "standard deviation of the localised direction, in degrees"] = 4.0
    array_weight: Annotated[float, "weight of the array's score"] = 1.0
    array_offset_s: Annotated[
        float, "start of the array's recording on the video's clock, in seconds"
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
    """Return the array's score of a face in each frame, (T,); above 0 it speaks.

    Args:
        boxes: (T, 4) x1, y1, x2, y2 in pixels.
        heard: Localised speech in the same T frames.
        camera: Camera of the boxes.
        width: Width of its image, pixels.
        spread_deg: Standard deviation of the localised direction.
    """
    if len(boxes) != len(heard):
        raise UserError(
            f"expected localised speech for {len(boxes)} frames, one per box, found {len(heard)}"
        )
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
    """Return the fused scores of a track, (T,).

    Args:
        visual: (T,) scores of the visual network, boundary at 0.
        boxes: (T, 4) in pixels.
        start: Video frame of the first box, at 25/s.
        heard: Localised speech in that view.
        view: The camera, and the width of its image in pixels.
        options: How the scores are combined.
    """
    times = (start + np.arange(len(boxes))) / FPS - options.array_offset_s
    localised = array_scores(boxes, heard.at(times), *view, options.spread_deg)
    return np.asarray(visual + options.array_weight * localised, np.float32)


def fuse_tracks(
    tracks: Sequence[ScoredTrack],
    width: float,
    heard: tuple[Heard, Camera],
    options: FusionOptions,
) -> tuple[ScoredTrack, ...]:
    """Return tracks with the fused scores and their probabilities.

    Args:
        tracks: Scored by a visual network.
        width: Width of the video, pixels.
        heard: Localised speech, and the camera of the video.
        options: How the scores are combined.
    """
    fused = []
    for track in tracks:
        scores = fuse(track.scores, track.boxes, track.start, heard[0], (heard[1], width), options)
        probabilities = sigmoid(scores).astype(np.float32)
        fused.append(replace(track, scores=scores, probabilities=probabilities))
    return tuple(fused)
