"""Curves are drawn at the positions of their values."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from utils.arrays.line_plot import (
    COLOURS,
    HEIGHT,
    LEFT,
    WIDTH,
    Axis,
    Curve,
    draw_curves,
    fitting_axis,
)


def test_a_curve_is_where_its_values_are(tmp_path: Path) -> None:
    path = tmp_path / "plot.png"
    curve = Curve("rising", [0, 0.5, 1, 2], [0, 0.5, 1, 5], marked=1)
    draw_curves("title", Axis("x", 0, 1), Axis("y", 0, 1), [curve], path)
    image = np.asarray(Image.open(path).convert("RGB")).astype(int)
    assert image.shape == (HEIGHT, WIDTH, 3)
    blue = np.abs(image - COLOURS[0]).max(axis=2) < 30
    rows, columns = np.nonzero(blue)
    inner = (columns > LEFT + 10) & (columns < LEFT + 300)
    assert inner.sum() > 200
    slope, _ = np.polyfit(columns[inner], rows[inner], 1)
    assert slope == pytest.approx(-570 / 880, rel=0.02)


def test_axes() -> None:
    assert fitting_axis("loss", [1.0, float("nan"), 2.0]).high == pytest.approx(2.1)
    assert fitting_axis("loss", []).high > 0
    assert fitting_axis("loss", [0.0]).high > 0
    with pytest.raises(ValueError, match="axis with low < high"):
        Axis("x", 1, 1)
