"""Where the crop of a face lies and what it shows, by the published geometry."""

import cv2
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

SIZE = 112  # published height and width of a crop
RADIUS = 6  # frames on either side that a smoothed box depends on
THUMBNAIL_MARGIN = 1.25  # side of a thumbnail, in sides of the smoothed box
OUTSIDE = 110  # grey level outside the image

Places = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]


def smooth_boxes(boxes: NDArray[np.floating]) -> Places:
    """Return centres x, y and half sides s, each (T,), of the median-filtered boxes of a track.

    Kept: the filter over 13 frames counts zeros beyond both ends of the track, so the first and
    the last six values are pulled down. Tracks of fewer than seven frames, for which that
    would give only zeros, use their plain median instead.

    Args:
        boxes: (T, 4), all boxes of the track; computed in float64.
    """
    places = boxes_to_places(boxes)
    if len(places) <= RADIUS:
        places = np.broadcast_to(np.median(places, axis=0), places.shape).copy()
    else:
        places = median_of_runs(np.pad(places, ((RADIUS, RADIUS), (0, 0))))
    return places[:, 0], places[:, 1], places[:, 2]


def crop_face(
    image: NDArray[np.uint8], place: tuple[float, float, float], crop_scale: float, size: int = SIZE
) -> NDArray[np.uint8]:
    """Return the crop of a face, wherever it lies; grey level 110 fills what is outside the image.

    It is the central quarter of the square window resized to twice `size`, as published for 112.
    Here grey is computed before the resize, there after it: a difference of at most two levels.

    Args:
        image: (H, W) or (H, W, 3).
        place: Centre x, y of the smoothed box and half its side, pixels.
        crop_scale: Margin around the face; the window reaches half a side above the centre.
        size: Height and width of the crop; even.
    """
    top, bottom, left, right = crop_window(*place, crop_scale)
    height, width = image.shape[:2]
    if top >= 0 and left >= 0 and bottom <= height and right <= width:
        window = cv2.resize(image[top:bottom, left:right], (2 * size, 2 * size))
        quarter = slice(size // 2, size // 2 + size)
        return np.asarray(window[quarter, quarter], np.uint8)
    return _sample(image, _Axis(top, bottom, height, size), _Axis(left, right, width, size))


def crop_tight(image: NDArray[np.uint8], box: NDArray[np.floating], size: int) -> NDArray[np.uint8]:
    """Return the content of a box, resized without keeping its aspect ratio, as AVA's faces are.

    Kept: corners are truncated to whole pixels; what lies outside the image is left out.

    Args:
        image: (H, W) or (H, W, 3).
        box: (4,) x1, y1, x2, y2 in pixels.
        size: Height and width of the crop.
    """
    height, width = image.shape[:2]
    left, right = _bounds(float(box[0]), float(box[2]), width)
    top, bottom = _bounds(float(box[1]), float(box[3]), height)
    return np.asarray(cv2.resize(image[top:bottom, left:right], (size, size)), np.uint8)


def _bounds(low: float, high: float, side: int) -> tuple[int, int]:
    """Return the pixels [start, stop) of a box along one side, at least one of them."""
    start = min(max(int(low), 0), side - 1)
    return start, max(min(int(high), side), start + 1)


def crop_window(x: float, y: float, s: float, crop_scale: float) -> tuple[int, int, int, int]:
    """Return the window (top, bottom, left, right) in the image, half-open, not empty.

    Kept: corners are truncated in the published padded image, where they are positive.
    """
    pad = int(s * (1 + 2 * crop_scale))
    top = int(y + pad - s) - pad
    bottom = int(y + pad + s * (1 + 2 * crop_scale)) - pad
    left = int(x + pad - s * (1 + crop_scale)) - pad
    right = int(x + pad + s * (1 + crop_scale)) - pad
    return top, max(bottom, top + 1), left, max(right, left + 1)


def boxes_to_places(boxes: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return centre x, y and half side of each box, (T, 3), not smoothed."""
    x1, y1, x2, y2 = np.asarray(boxes, np.float64).T
    return np.stack([(x1 + x2) / 2, (y1 + y2) / 2, np.maximum(x2 - x1, y2 - y1) / 2], axis=1)


def median_of_runs(places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the medians of all runs of 13 rows, (T - 12, 3)."""
    runs = sliding_window_view(places, 2 * RADIUS + 1, axis=0)
    return np.sort(runs, axis=-1)[..., RADIUS]


def make_thumbnail(grey: NDArray[np.uint8], x: float, y: float, s: float) -> NDArray[np.uint8]:
    """Return a (112, 112) image of the whole face, to show to people; see `crop_face`."""
    side = 2 * THUMBNAIL_MARGIN * s / SIZE  # source pixels for each of the thumbnail
    left, top = (centre - (SIZE - 1) / 2 * side for centre in (x, y))
    place = np.array([[side, 0, left], [0, side, top]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    thumbnail = cv2.warpAffine(grey, place, (SIZE, SIZE), flags=flags, borderValue=(OUTSIDE,))
    return np.asarray(thumbnail, np.uint8)


class _Axis:
    """Where the rows (or columns) of a crop are read along one side of the image."""

    def __init__(self, start: int, stop: int, length: int, size: int) -> None:
        scale = (stop - start) / (2 * size)
        at = (np.arange(size // 2, size // 2 + size) + 0.5) * scale - 0.5
        at = start + np.clip(at, 0, stop - start - 1)  # the resize repeats the window's edge
        pairs = np.stack([np.floor(at), np.floor(at) + 1], axis=1)  # (size, 2) neighbours
        self.indices = np.clip(pairs, 0, length - 1).astype(np.intp).ravel()
        self.outside = ((pairs < 0) | (pairs >= length)).ravel()
        self.weights = (at - pairs[:, 0]).astype(np.float32)  # of the second neighbour


def _sample(image: NDArray[np.uint8], rows: _Axis, columns: _Axis) -> NDArray[np.uint8]:
    """Resize only the pixels that a crop reads, however far its window reaches."""
    left, right = columns.indices[0], columns.indices[-1] + 1
    pixels = image[:, left:right].take(rows.indices, axis=0).take(columns.indices - left, axis=1)
    pixels[rows.outside] = OUTSIDE
    pixels[:, columns.outside] = OUTSIDE
    pairs = pixels.reshape(len(rows.weights), 2, *pixels.shape[1:]).astype(np.float32)
    across = (-1, *(1 for _ in pairs.shape[2:]))
    lines = pairs[:, 0] + (pairs[:, 1] - pairs[:, 0]) * rows.weights.reshape(across)
    across = across[:-1]
    crop = lines[:, ::2] + (lines[:, 1::2] - lines[:, ::2]) * columns.weights.reshape(across)
    return np.asarray(np.rint(crop), np.uint8)
