"""Draw boxes and their labels directly into the Y, U and V planes of an image."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

GREEN = (22, 178, 76)
RED = (214, 40, 48)
WHITE = (255, 255, 255)
LUMA_WEIGHTS = {1: (0.2126, 0.0722), 9: (0.2627, 0.0593)}  # of red and blue, by FFmpeg's number
NUM_SPRITES = 1024  # tabs kept; most frames of a track reuse one

Plane = NDArray[np.uint8]


@dataclass(frozen=True)
class Mark:
    """A box and the text of its tab."""

    box: tuple[float, float, float, float]  # x1, y1, x2, y2 in pixels
    text: str
    speaking: bool


@dataclass(frozen=True, eq=False)
class Sprite:
    """A small image to blend in: each plane's values times their alpha, and 1 - alpha."""

    values: tuple[NDArray[np.float32], ...]  # Y, U, V
    remains: tuple[NDArray[np.float32], ...]


class Overlay:
    """Draws marks into images of one size and format; line widths scale with the shorter side.

    Args:
        size: (width, height) of the images.
        chroma_step: Pixels per chroma value in both directions, 2 for 4:2:0 and 1 for 4:4:4.
        colourspace: FFmpeg's number of the YUV matrix.
        full_range: Whether luma goes from 0 to 255 instead of 16 to 235.
    """

    def __init__(
        self, size: tuple[int, int], chroma_step: int, colourspace: int, full_range: bool
    ) -> None:
        self.width, self.height = size
        self.step = chroma_step
        self.matrix = yuv_matrix(colourspace, full_range)
        short = min(size)
        self.thickness = max(2, 2 * round(short / 400))
        self.text_size = max(11, round(short / 30))
        self.sprite = lru_cache(NUM_SPRITES)(self._make_sprite)

    def draw(self, planes: Sequence[Plane], marks: Sequence[Mark]) -> None:
        """Draw marks into the planes; boxes first, so that no box covers a tab."""
        ordered = sorted(marks, key=lambda mark: mark.speaking)
        corners = [self._corners(mark) for mark in ordered]
        for mark, (x1, y1, x2, y2) in zip(ordered, corners, strict=True):
            colour = self._yuv(GREEN if mark.speaking else RED)
            cv2.rectangle(planes[0], (x1, y1), (x2, y2), colour[0], self.thickness, cv2.LINE_AA)
            thin = max(1, self.thickness // self.step)
            for plane, value in zip(planes[1:], colour[1:], strict=True):
                shift = self.step - 1  # corners in halves of a chroma pixel
                cv2.rectangle(plane, (x1, y1), (x2, y2), value, thin, cv2.LINE_AA, shift)
        for mark, (x1, y1, _, _) in zip(ordered, corners, strict=True):
            self._draw_tab(planes, mark, x1 - self.thickness // 2, y1 - self.thickness // 2)

    def _corners(self, mark: Mark) -> tuple[int, int, int, int]:
        """Return the box in whole pixels; corners far outside are moved to just outside."""
        far = 2 * max(self.width, self.height) + self.thickness
        x1, y1, x2, y2 = (round(min(max(value, -far), far)) for value in mark.box)
        return x1, y1, x2, y2

    def _draw_tab(self, planes: Sequence[Plane], mark: Mark, x: int, y: int) -> None:
        """Blend in the tab above (x, y), the box's outer corner; inside the image if it fits.

        It begins with a whole chroma pixel, so that a text needs one sprite wherever it stands.
        """
        text_width, text_height = self._tab_size(mark.text)
        x = max(0, min(x, self.width - text_width)) // self.step * self.step
        y = max(0, min(y - text_height + self.thickness // 2, self.height - text_height))
        y = y // self.step * self.step
        sprite = self.sprite(mark.text, mark.speaking)
        for index, plane in enumerate(planes):
            step = 1 if index == 0 else self.step
            left, top = x // step, y // step
            part = plane[top : top + sprite.values[index].shape[0], left:]
            part = part[:, : sprite.values[index].shape[1]]
            height, width = part.shape
            kept = part * sprite.remains[index][:height, :width]
            part[:] = kept + sprite.values[index][:height, :width] + 0.5

    def _tab_size(self, text: str) -> tuple[int, int]:
        """Return (width, height) of a tab."""
        length = _font(self.text_size).getlength(text)
        return round(length + 0.9 * self.text_size), round(1.45 * self.text_size)

    def _make_sprite(self, text: str, speaking: bool) -> Sprite:
        """Render a tab."""
        from PIL import Image, ImageDraw

        width, height = self._tab_size(text)
        canvas = (-(-width // self.step) * self.step, -(-height // self.step) * self.step)
        big = 4  # drawn larger and reduced, for smooth corners
        mask = Image.new("L", (width * big, height * big))
        ImageDraw.Draw(mask).rounded_rectangle(
            (0, 0, width * big - 1, height * big - 1),
            radius=0.3 * self.text_size * big,
            fill=255,
            corners=(True, True, True, False),
        )
        alpha = Image.new("L", canvas)
        alpha.paste(mask.resize((width, height), Image.Resampling.BOX))
        colour = Image.new("RGB", canvas, GREEN if speaking else RED)
        ImageDraw.Draw(colour).text(
            (width / 2, height / 2),
            text,
            fill=WHITE,
            font=_font(self.text_size),
            anchor="mm",
            stroke_width=max(0.4, self.text_size * 0.02),
        )
        weight = np.asarray(alpha, np.float32)[..., None] / np.float32(255)
        yuv = np.asarray(colour, np.float32) @ self.matrix[:, :3].T + self.matrix[:, 3]
        values = (yuv * weight).astype(np.float32)
        luma = np.asarray(weight[..., 0], np.float32)
        chroma = _shrunk(luma, self.step)
        return Sprite(
            (values[..., 0], *(_shrunk(values[..., plane], self.step) for plane in (1, 2))),
            (np.float32(1) - luma, np.float32(1) - chroma, np.float32(1) - chroma),
        )

    def _yuv(self, rgb: tuple[int, int, int]) -> list[float]:
        """Return a colour's Y, U and V."""
        return [float(value) for value in self.matrix @ np.array([*rgb, 1.0])]


def drawable(text: str) -> str:
    """Return a text in the characters of Pillow's own font: accents go, others become `?`."""
    plain = unicodedata.normalize("NFKD", text)
    shown = (char for char in plain if not unicodedata.combining(char))
    return "".join(char if " " <= char <= "~" else "?" for char in shown)


def yuv_matrix(colourspace: int, full_range: bool) -> NDArray[np.float64]:
    """Return the (3, 4) matrix from (R, G, B, 1) in [0, 255] to Y, U, V as stored."""
    red, blue = LUMA_WEIGHTS.get(colourspace, (0.299, 0.114))
    luma = np.array([red, 1 - red - blue, blue])
    u = (np.array([0, 0, 1]) - luma) / (2 * (1 - blue))
    v = (np.array([1, 0, 0]) - luma) / (2 * (1 - red))
    if full_range:
        return np.column_stack([np.stack([luma, u, v]), [0, 128, 128]])
    scaled = np.stack([luma * 219, u * 224, v * 224]) / 255
    return np.column_stack([scaled, [16, 128, 128]])


def _shrunk(plane: NDArray[np.float32], step: int) -> NDArray[np.float32]:
    """Return the means of all blocks of step x step values."""
    height, width = plane.shape
    blocks = plane.reshape(height // step, step, width // step, step)
    return np.asarray(blocks.mean(axis=(1, 3)), np.float32)


@lru_cache(8)
def _font(size: int):  # type: ignore[no-untyped-def]  # noqa: ANN202
    """Return Pillow's built-in font, which needs no file."""
    from PIL import ImageFont

    return ImageFont.load_default(size)
