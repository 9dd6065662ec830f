"""The line is at the position of speech, over a video and over an empty image."""

from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.made_array import write_wav
from tests.made_video import write_video
from utils.arrays.sound import open_array
from utils.arrays.speech_positions import Heard
from utils.arrays.video import CANVAS_SIZE, draw_line, render_blank, render_over
from utils.media.container import probe


def frames_of(path: Path) -> tuple[list[NDArray[np.uint8]], list[float], int]:
    """Return images, their times, and the number of audio samples."""
    with av.open(str(path)) as container:
        images, times = [], []
        for decoded in container.decode(video=0):
            images.append(decoded.to_ndarray(format="rgb24"))
            times.append(float(decoded.time))
    with av.open(str(path)) as container:
        samples = sum(frame.samples for frame in container.decode(audio=0))
    return images, times, samples


def green_column(image: NDArray[np.uint8]) -> float | None:
    """Return the middle of the line, or None without a line."""
    pixels = image.astype(int)
    green = (pixels[..., 1] > 150) & (pixels[..., 0] < 110) & (pixels[..., 2] < 110)
    columns = np.flatnonzero(green.mean(axis=0) > 0.95)
    return float(columns.mean()) if len(columns) else None


def test_a_blank_image(tmp_path: Path) -> None:
    sound = 0.1 * np.random.default_rng(0).normal(size=(48000 + 500, 2))
    array = open_array(write_wav(tmp_path / "a.wav", sound), 2)
    positions = np.linspace(0.1, 0.9, 30, dtype=np.float32)
    confidences = np.where(np.arange(30) < 20, 0.9, 0.5).astype(np.float32)
    render_blank(array, Heard(positions, confidences), tmp_path / "out.mp4")
    images, times, samples = frames_of(tmp_path / "out.mp4")
    assert len(images) == 30
    np.testing.assert_allclose(times, np.arange(30) / 30, atol=1e-3)
    assert images[0].shape == (CANVAS_SIZE[1], CANVAS_SIZE[0], 3)
    for number, image in enumerate(images):
        column = green_column(image)
        if number < 20:
            assert column == pytest.approx(int(positions[number] * CANVAS_SIZE[0]), abs=1)
        else:
            assert column is None
    assert samples >= 48500


def test_lines_at_and_beyond_the_edges() -> None:
    for position, columns in ((0.0, [0, 1, 2]), (1.0, [18, 19]), (-1.0, []), (3.0, [])):
        image = np.zeros((4, 20, 3), np.uint8)
        draw_line(image, position)
        assert np.flatnonzero(image[0, :, 1]).tolist() == columns


@pytest.mark.parametrize(
    ("rotation", "size"), [(0, (320, 180)), (90, (180, 320))], ids=["upright", "turned"]
)
def test_over_a_video(tmp_path: Path, rotation: int, size: tuple[int, int]) -> None:
    grey = [np.full((180, 320, 3), 90, np.uint8)] * 25
    tone = (8000 * np.sin(np.arange(16000) / 5)).astype(np.int16)
    write_video(tmp_path / "view.mp4", grey, 25, tone, rotation=rotation)
    heard = Heard(np.full(15, 0.25, np.float32), np.ones(15, np.float32))  # half a second
    render_over(probe(tmp_path / "view.mp4"), heard, tmp_path / "out.mp4")
    images, times, samples = frames_of(tmp_path / "out.mp4")
    assert len(images) == 25
    np.testing.assert_allclose(times, np.arange(25) / 25, atol=1e-3)
    for image, time_s in zip(images, times, strict=True):
        assert image.shape[:2] == size[::-1]
        column = green_column(image)
        assert column == (pytest.approx(size[0] / 4, abs=1) if time_s < 0.499 else None)
    assert samples >= 48000
