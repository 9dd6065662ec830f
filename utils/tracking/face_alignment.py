"""Cut faces out upright and centred, with the eyes, nose and mouth always at the same places."""

import cv2
import numpy as np
from numpy.typing import NDArray

from utils.structures import Frame
from utils.tracking.crop_geometry import OUTSIDE

SIZE = 128  # height and width of an aligned crop
# Where face-reidentification-retail-0095 expects the eyes, the tip of the nose and the corners of
# the mouth, as fractions of the crop's sides.
TEMPLATE = np.array(
    [[0.3156, 0.4616], [0.6826, 0.4616], [0.5003, 0.6405], [0.3495, 0.8247], [0.6534, 0.8247]]
)
FINEST = 4  # a crop is reduced from at most this many times its size

Points = NDArray[np.floating]  # (5, 2) x, y in pixels, or as fractions of a box
Affine = NDArray[np.float64]  # (2, 3), from pixels of a crop to pixels of the frame


def points_in_box(box: NDArray[np.floating], places: Points) -> NDArray[np.float64]:
    """Return the five points of a face (5, 2), given where they lie in a box of this kind.

    Args:
        box: (4,) x1, y1, x2, y2 in pixels.
        places: As fractions of the box's width and height.
    """
    corner = np.asarray(box[:2], np.float64)
    return corner + places * (np.asarray(box[2:], np.float64) - corner)


def align(points: Points, size: int = SIZE) -> Affine:
    """Return the rotation, scale and shift that bring five points nearest to the template."""
    target = (size * TEMPLATE - 0.5) @ (1, 1j)  # pixel centres are whole numbers
    source = np.asarray(points, np.float64) @ (1, 1j)
    spread = target - target.mean()
    turn = np.vdot(spread, source - source.mean()) / np.vdot(spread, spread)
    shift = source.mean() - turn * target.mean()
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])


def pixels_per_pixel(place: Affine) -> float:
    """Return how many pixels of the frame a pixel of the crop is wide."""
    return float(np.hypot(place[0, 0], place[1, 0]))


def cut_grey(frame: Frame, place: Affine, size: int = SIZE) -> NDArray[np.uint8]:
    """Return a grey image (size, size) of a part of the frame."""
    return _sample(frame.grey, place, size)


def cut_colour(frame: Frame, place: Affine, size: int = SIZE) -> NDArray[np.uint8]:
    """Return an RGB image (size, size, 3) of a part of the frame.

    Without `Frame.colour`, the colour is that of the smaller `Frame.image` and the brightness
    that of `Frame.grey`: video stores colour in half resolution anyway.
    """
    full = frame.grey.shape
    for image in (frame.colour, frame.image):
        if image is not None and image.shape[:2] == full:
            return _sample(image, place, size)
    ratio = np.array(frame.image.shape[1::-1]) / full[::-1]
    smaller = place * ratio[:, None]
    smaller[:, 2] += 0.5 * ratio - 0.5  # pixel centres are whole numbers in both images
    colours = cv2.cvtColor(_sample(frame.image, smaller, size), cv2.COLOR_RGB2YCrCb)
    colours[..., 0] = cut_grey(frame, place, size)
    return np.asarray(cv2.cvtColor(colours, cv2.COLOR_YCrCb2RGB), np.uint8)


def _sample(image: NDArray[np.uint8], place: Affine, size: int) -> NDArray[np.uint8]:
    """Return what an image shows at a place; it is reduced by averaging, not by leaving out."""
    finer = min(max(round(pixels_per_pixel(place)), 1), FINEST)
    part = place.copy()
    part[:, :2] /= finer
    part[:, 2] += place[:, :2].sum(axis=1) * (0.5 / finer - 0.5)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    fill = (OUTSIDE,) * 3
    large = cv2.warpAffine(image, part, (finer * size,) * 2, flags=flags, borderValue=fill)
    if finer > 1:
        large = cv2.resize(large, (size, size), interpolation=cv2.INTER_AREA)
    return np.asarray(large, np.uint8)
