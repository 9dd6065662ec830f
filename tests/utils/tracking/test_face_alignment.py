"""Faces are turned upright and brought to one size, in the colours of the frame."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from utils.structures import Frame
from utils.tracking.face_alignment import (
    SIZE,
    TEMPLATE,
    align,
    cut_colour,
    cut_grey,
    pixels_per_pixel,
    points_in_box,
)


def turned(points: NDArray[np.float64], degrees: float, scale: float) -> NDArray[np.float64]:
    """Return points rotated about the origin, scaled and moved."""
    angle = np.radians(degrees)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.asarray(scale * points @ rotation.T + (150.0, 90.0), np.float64)


def image_of(points: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return a smooth RGB image (H, W, 3) with a soft spot of an own colour at each point."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    image = np.full((*size, 3), 40.0)
    colours = ((200, 0, 0), (0, 200, 0), (0, 0, 200), (180, 180, 0), (0, 180, 180))
    for (x, y), colour in zip(points, colours, strict=True):
        spot = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * 5.0**2))
        image += spot[..., None] * np.array(colour)
    return np.asarray(np.clip(image, 0, 255), np.uint8)


def frame_of(image: NDArray[np.uint8], width: int, colour: bool = False) -> Frame:
    """Return a frame whose image has that width."""
    height = round(image.shape[0] * width / image.shape[1])
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    grey = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)
    whole = image if colour else None
    return Frame(0, grey, np.asarray(small, np.uint8), colour=whole)


@pytest.mark.parametrize(
    ("degrees", "scale"), [(0, 1.0), (20, 0.5), (-35, 2.5)], ids=["as it is", "small", "large"]
)
def test_points_come_to_the_template(degrees: float, scale: float) -> None:
    points = turned(SIZE * TEMPLATE, degrees, scale)
    place = align(points)
    crop_points = np.column_stack([SIZE * TEMPLATE - 0.5, np.ones(5)])
    np.testing.assert_allclose(crop_points @ place.T, points, atol=1e-9)
    assert pixels_per_pixel(place) == pytest.approx(scale)


def test_points_of_another_shape_come_near() -> None:
    """A face is never stretched: rotation, scale and shift alone, the best in squares."""
    rng = np.random.default_rng(0)
    points = SIZE * TEMPLATE + rng.normal(0, 4, (5, 2))
    place = align(points)
    assert place[0, 0] == place[1, 1] and place[0, 1] == -place[1, 0]
    crop_points = np.column_stack([SIZE * TEMPLATE - 0.5, np.ones(5)])

    def error(changed: NDArray[np.float64]) -> float:
        return float(((crop_points @ changed.T - points) ** 2).sum())

    for _ in range(20):
        a, b, x, y = rng.normal(0, 1e-3, 4)
        assert error(place) <= error(place + np.array([[a, -b, x], [b, a, y]]))


def test_points_in_a_box() -> None:
    found = points_in_box(np.array([10, 20, 30, 60]), np.array([[0, 0], [0.5, 0.25], [1, 1]]))
    assert found.tolist() == [[10, 20], [20, 30], [30, 60]]


@pytest.mark.parametrize("width", [400, 200, 100], ids=["whole", "half", "quarter"])
@pytest.mark.parametrize("degrees", [0, 30])
def test_the_colours_are_the_frame_s(width: int, degrees: float) -> None:
    """Brightness of the frame and colour of the small image give nearly the frame's own."""
    points = turned(SIZE * TEMPLATE, degrees, 1.2)
    image = image_of(points, (300, 400))
    place = align(points)
    whole = cut_colour(frame_of(image, width, colour=True), place)
    assert whole.shape == (SIZE, SIZE, 3)
    found = cut_colour(frame_of(image, width), place)
    apart = np.abs(found.astype(int) - whole.astype(int))
    assert apart.mean() < {400: 0.01, 200: 2.5, 100: 6}[width]
    places = np.rint(SIZE * TEMPLATE - 0.5).astype(int)
    for index, (x, y) in enumerate(places):
        colour = whole[y, x].astype(int)
        brightest = [[0], [1], [2], [0, 1], [1, 2]][index]
        assert colour[brightest].min() > 150


def test_what_lies_outside_the_frame_is_grey() -> None:
    image = np.full((50, 50, 3), 255, np.uint8)
    crop = cut_colour(frame_of(image, 50), align(SIZE * TEMPLATE + (20 - SIZE, 0)))
    expected = np.full((SIZE, SIZE, 3), 110)
    expected[:50, SIZE - 20 :] = 255
    inside = np.ones((SIZE, SIZE), bool)
    inside[48:53], inside[:, SIZE - 22 : SIZE - 18] = False, False  # the frame's edge is soft
    np.testing.assert_array_equal(crop[inside], expected[inside])


def test_a_large_face_is_averaged() -> None:
    """Single bright pixels of a large face do not appear or vanish by chance."""
    rows, columns = np.mgrid[:512, :512]
    fine = ((rows + columns) % 2 * 255).astype(np.uint8)
    frame = Frame(0, fine, np.repeat(fine[..., None], 3, axis=2))
    crop = cut_grey(frame, align(512 * TEMPLATE))
    assert crop.min() > 120 and crop.max() < 135
