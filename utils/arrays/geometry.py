"""Positions of an array's microphones and of the cameras beside it, read from a JSON file.

Coordinates are in metres, seen from behind the array: x to the right, y forward, z up.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from utils.errors import UserError
from utils.files import replacing

SPEED_OF_SOUND = 343.0  # m/s
PUBLISHED_FOV_DEG = 55.1  # of a TragicTalkers view: 2448 px at 44.4 px a degree
LARGEST = 100.0  # m; larger coordinates are in other units


@dataclass(frozen=True)
class Camera:
    """A camera that looks horizontally, without distortion."""

    name: str
    position: tuple[float, float, float] = (0.0, 0.0, 0.0)
    yaw_deg: float = 0.0  # angle from forward, positive to the right
    fov_deg: float = PUBLISHED_FOV_DEG  # horizontal

    def __post_init__(self) -> None:
        if not 0 < self.fov_deg < 180:
            raise UserError(
                f"camera {self.name}: expected fov_deg, the horizontal field of view, between 0 "
                f"and 180, found {self.fov_deg}"
            )

    def place(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return where points (..., 3) appear, as fractions of the view's width.

        Points outside the view are below 0 or above 1, points behind the camera NaN.
        """
        apart = np.asarray(points, np.float64) - np.array(self.position)
        yaw = math.radians(self.yaw_deg)
        across = apart[..., 0] * math.cos(yaw) - apart[..., 1] * math.sin(yaw)
        ahead = apart[..., 0] * math.sin(yaw) + apart[..., 1] * math.cos(yaw)
        slope = np.divide(across, ahead, out=np.full(ahead.shape, np.nan), where=ahead > 0)
        return np.asarray(0.5 + 0.5 * slope / math.tan(math.radians(self.fov_deg) / 2))

    def point(self, fractions: NDArray[np.floating], distance: float) -> NDArray[np.float64]:
        """Return the points (..., 3) at a distance in metres that appear at fractions of the width.

        They are at the height of the camera.
        """
        slope = (2 * np.asarray(fractions, np.float64) - 1) * math.tan(
            math.radians(self.fov_deg) / 2
        )
        angle = np.arctan(slope) + math.radians(self.yaw_deg)
        way = np.stack((np.sin(angle), np.cos(angle), np.zeros_like(angle)), axis=-1)
        return np.asarray(np.array(self.position) + distance * way)

    def angle_deg(self, fractions: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the angles of fractions of the width from the centre of the view."""
        slope = (2 * np.asarray(fractions, np.float64) - 1) * math.tan(
            math.radians(self.fov_deg) / 2
        )
        return np.asarray(np.degrees(np.arctan(slope)))


@dataclass(frozen=True, eq=False)
class ArrayGeometry:
    """An array and its cameras."""

    microphones: NDArray[np.float64]  # (M, 3) m, in the order of the channels
    cameras: tuple[Camera, ...]

    def __post_init__(self) -> None:
        if self.microphones.ndim != 2 or self.microphones.shape[1] != 3:
            raise UserError(
                f"expected microphones as (M, 3) metres, found shape {self.microphones.shape}"
            )
        if len(self.microphones) < 2 or not self.cameras:
            raise UserError(
                "expected at least two microphones and one camera, "
                f"found {len(self.microphones)} and {len(self.cameras)}"
            )
        if not np.isfinite(self.microphones).all() or np.abs(self.microphones).max() > LARGEST:
            raise UserError(
                f"expected microphones within {LARGEST:.0f} m, in metres; "
                f"found a coordinate of {np.abs(self.microphones).max():g}"
            )

    def delays(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return travel times of sound from points (..., 3) to all microphones, (..., M) in s."""
        apart = np.asarray(points, np.float64)[..., None, :] - self.microphones
        return np.asarray(np.linalg.norm(apart, axis=-1) / SPEED_OF_SOUND)

    def camera(self, name: str) -> Camera:
        """Return the camera of a name; an empty name stands for the only camera."""
        if not name and len(self.cameras) == 1:
            return self.cameras[0]
        for camera in self.cameras:
            if camera.name == name:
                return camera
        names = ", ".join(camera.name for camera in self.cameras)
        raise UserError(
            f"--arrayCamera: expected the camera of the video, one of {names}, found {name!r}"
        )


def read_geometry(path: Path) -> ArrayGeometry:
    """Read a geometry file; docs/array_audio.md describes it.

    Raises:
        FileNotFoundError: The file is missing.
        UserError: The content is wrong; the message states what.
    """
    if not path.is_file():
        raise FileNotFoundError(f"expected a geometry file, found no file {path}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        microphones = np.array(content["microphones"], np.float64)
        cameras = tuple(_camera(part) for part in content["cameras"])
        return ArrayGeometry(microphones, cameras)
    except KeyError as error:
        raise UserError(f"{path}: expected an entry {error}, found none") from None
    except (ValueError, TypeError) as error:
        raise UserError(f"{path}: expected an array's geometry, found: {error}") from None


def _camera(part: Mapping[str, Any]) -> Camera:
    """Return a camera of a geometry file."""
    entries = ("name", "position", "yaw_deg", "fov_deg")
    unknown = [name for name in part if name not in entries]
    if unknown:
        raise UserError(f"camera has unknown entry {unknown[0]!r}; valid are {', '.join(entries)}")
    x, y, z = (float(value) for value in part.get("position", (0, 0, 0)))
    return Camera(
        str(part["name"]),
        (x, y, z),
        float(part.get("yaw_deg", 0.0)),
        float(part.get("fov_deg", PUBLISHED_FOV_DEG)),
    )


def write_geometry(geometry: ArrayGeometry, path: Path) -> None:
    """Write a geometry file."""
    cameras: Sequence[dict[str, Any]] = [vars(camera) for camera in geometry.cameras]
    content = {"microphones": geometry.microphones.tolist(), "cameras": cameras}
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
