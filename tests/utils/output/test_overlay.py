"""Marks are drawn in the right colours, inside the image, at any size."""

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from utils.output.overlay import GREEN, RED, Mark, Overlay, yuv_matrix


def draw(
    marks: list[Mark], size: tuple[int, int] = (320, 240), pix_fmt: str = "yuv420p"
) -> NDArray[np.uint8]:
    """Draw a grey image with marks on it, as RGB."""
    image = av.VideoFrame(*size, pix_fmt)
    planes = []
    for index, plane in enumerate(image.planes):
        rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
        planes.append(rows[: plane.height, : plane.width])
        planes[-1][:] = 128 if index else 100
    Overlay(size, 2 if pix_fmt == "yuv420p" else 1, 2, False).draw(planes, marks)
    return np.asarray(image.to_ndarray(format="rgb24"), np.uint8)


def near(image: NDArray[np.uint8], colour: tuple[int, int, int]) -> NDArray[np.bool_]:
    """Return where an image has a colour, about."""
    difference = np.abs(image.astype(int) - np.array(colour)).max(axis=2)
    return np.asarray(difference < 25)


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv444p"])
@pytest.mark.parametrize("speaking", [True, False])
def test_box_and_tab(pix_fmt: str, speaking: bool) -> None:
    box = (100.0, 80.0, 180.0, 200.0)
    image = draw([Mark(box, "3  +1.7", speaking)], pix_fmt=pix_fmt)
    found = near(image, GREEN if speaking else RED)
    assert not near(image, RED if speaking else GREEN).any()
    for x, y in [(100, 150), (180, 150), (140, 200), (140, 80)]:  # the middles of the four sides
        assert found[y, x]
    assert not found[90:190, 110:170].any()  # the face stays free
    tab = image[64:78, 100:140]
    assert (tab.min(axis=2) > 170).sum() > 20  # the text
    rows, columns = np.nonzero(found)
    assert (rows.max(), columns.min()) == (pytest.approx(200, abs=3), pytest.approx(99, abs=3))


@pytest.mark.parametrize(
    "box",
    [
        (-50, -40, 30, 30),
        (300, 220, 400, 300),
        (-1e9, -1e9, 1e9, 1e9),
        (10, 0, 300, 239),
        (150, 100, 150, 100),
        (float("-inf"), 10, float("inf"), 40),
    ],
    ids=str,
)
@pytest.mark.parametrize("size", [(320, 240), (64, 48)], ids=str)
def test_anything_fits(box: tuple[float, float, float, float], size: tuple[int, int]) -> None:
    image = draw([Mark(box, "12  -10.7", False)], size)
    assert near(image, RED).sum() > 30
    assert near(image, (255, 255, 255)).any()


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (7, 3), (16, 16)], ids=str)
def test_tiny_images(size: tuple[int, int]) -> None:
    image = draw([Mark((0, 0, *size), "0  +1.0", True)], size, "yuv444p")
    assert image.shape == (size[1], size[0], 3)


@pytest.mark.parametrize("short", [240, 720, 2160])
def test_sizes_follow_the_image(short: int) -> None:
    overlay = Overlay((short * 16 // 9, short), 2, 1, False)
    assert overlay.thickness == pytest.approx(short / 200, abs=1)
    assert overlay.text_size == pytest.approx(short / 30, abs=3)


@pytest.mark.parametrize("full_range", [False, True], ids=["limited", "full"])
@pytest.mark.parametrize("colourspace", [1, 5], ids=["709", "601"])
def test_colours_match_ffmpeg(colourspace: int, full_range: bool) -> None:
    rgb = np.array([[GREEN, RED], [GREEN, RED]], np.uint8).repeat(8, 0).repeat(8, 1)
    image = av.VideoFrame.from_ndarray(rgb, "rgb24").reformat(
        format="yuv444p", dst_colorspace=colourspace, dst_color_range=2 if full_range else 1
    )
    found = image.to_ndarray()[:, 4, [4, 12]]  # (3 planes, 2 colours)
    matrix = yuv_matrix(colourspace, full_range)
    for index, colour in enumerate((GREEN, RED)):
        np.testing.assert_allclose(found[:, index], matrix @ [*colour, 1], atol=1.6)
