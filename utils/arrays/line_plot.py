"""Plot curves to PNG files: precision over recall, losses over epochs.

Matplotlib is not used: with its dependencies it adds 75 MB to an installation and takes 0.9 s to
import.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from utils.files import replacing

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont, ImageFont

WIDTH, HEIGHT = 1000, 700  # pixels of the image
LEFT, RIGHT, TOP, BOTTOM = 90, 30, 60, 70  # margins around the axes
ZOOM = 2  # drawn larger, then reduced: Pillow draws lines without anti-aliasing
INK, FAINT, GRID, PAPER = (31, 41, 51), (107, 119, 133), (236, 239, 243), (255, 255, 255)
COLOURS = (
    (24, 94, 160),
    (214, 94, 0),
    (34, 139, 84),
    (170, 51, 119),
    (120, 120, 40),
    (90, 70, 180),
)
NUM_TICKS = 6

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Curve:
    """A line through points."""

    name: str
    xs: Sequence[float]
    ys: Sequence[float]
    marked: int | None = None  # index of the highlighted point


@dataclass(frozen=True)
class Axis:
    """An axis of the plot."""

    title: str
    low: float
    high: float

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(f"expected an axis with low < high, got {self.low} to {self.high}")


def fitting_axis(title: str, values: Sequence[float]) -> Axis:
    """Return an axis from 0 that includes all finite values."""
    finite = [value for value in values if np.isfinite(value)]
    return Axis(title, 0.0, 1.05 * max(finite, default=1.0) or 1.0)


def draw_curves(
    title: str, x_axis: Axis, y_axis: Axis, curves: Sequence[Curve], path: Path
) -> None:
    """Write a PNG of curves, clipped to the axes."""
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (WIDTH * ZOOM, HEIGHT * ZOOM), PAPER)
    sheet = _PlotSheet(x_axis, y_axis, {})
    draw = ImageDraw.Draw(image)

    def text(x: float, y: float, words: str, colour: Colour, anchor: str = "lm") -> None:
        place = (x * ZOOM, y * ZOOM)
        draw.text(place, words, colour, sheet.font(15 * ZOOM), anchor=anchor)

    def line(points: Sequence[tuple[float, float]], colour: Colour, width: int) -> None:
        draw.line([(x * ZOOM, y * ZOOM) for x, y in points], colour, width * ZOOM, joint="curve")

    text(LEFT, TOP / 2, title, INK)
    for share in np.linspace(0, 1, NUM_TICKS).tolist():
        x, y = sheet.across(share), sheet.down(share)
        line(((x, TOP), (x, HEIGHT - BOTTOM)), GRID, 1)
        line(((LEFT, y), (WIDTH - RIGHT, y)), GRID, 1)
        text(x, HEIGHT - BOTTOM + 18, _number(x_axis, share), FAINT, "mm")
        text(LEFT - 12, y, _number(y_axis, share), FAINT, "rm")
    text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 22, x_axis.title, INK, "mm")
    text(LEFT, TOP - 12, y_axis.title, FAINT)
    for number, curve in enumerate(curves):
        colour = COLOURS[number % len(COLOURS)]
        for points in sheet.pieces(curve):
            line(points, colour, 2)
        if curve.marked is not None:
            x, y = sheet.place(curve.xs[curve.marked], curve.ys[curve.marked])
            around = [(x - 6) * ZOOM, (y - 6) * ZOOM, (x + 6) * ZOOM, (y + 6) * ZOOM]
            draw.ellipse(around, colour)
        y = TOP + 22 + 24 * number
        line(((WIDTH - RIGHT - 300, y), (WIDTH - RIGHT - 272, y)), colour, 3)
        text(WIDTH - RIGHT - 262, y, curve.name, INK)
    with replacing(path) as temporary:
        image.reduce(ZOOM).save(temporary, optimize=True)


def _number(axis: Axis, share: float) -> str:
    return f"{axis.low + share * (axis.high - axis.low):.4g}"


@dataclass(frozen=True)
class _PlotSheet:
    """Maps values to positions in the image, in pixels of the finished image."""

    x_axis: Axis
    y_axis: Axis
    fonts: "dict[int, FreeTypeFont | ImageFont]"

    def font(self, size: int) -> "FreeTypeFont | ImageFont":
        """Return Pillow's built-in font, which needs no file."""
        from PIL import ImageFont

        if size not in self.fonts:
            self.fonts[size] = ImageFont.load_default(size)
        return self.fonts[size]

    def across(self, share: float) -> float:
        """Return the x coordinate of a fraction of the x axis."""
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def down(self, share: float) -> float:
        """Return the y coordinate of a fraction of the y axis."""
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Return the position of a point, clipped to the axes."""
        shares = (
            (value - axis.low) / (axis.high - axis.low)
            for value, axis in ((x, self.x_axis), (y, self.y_axis))
        )
        across, up = (min(max(share, 0.0), 1.0) for share in shares)
        return self.across(across), self.down(up)

    def pieces(self, curve: Curve) -> list[list[tuple[float, float]]]:
        """Return the parts of a curve within the axes, each of two points or more."""
        runs: list[list[tuple[float, float]]] = [[]]
        for x, y in zip(curve.xs, curve.ys, strict=True):
            inside = self.x_axis.low <= x <= self.x_axis.high and np.isfinite(y)
            if inside and self.y_axis.low <= y <= self.y_axis.high:
                runs[-1].append(self.place(x, y))
            elif runs[-1]:
                runs.append([])
        return [run for run in runs if len(run) > 1]
