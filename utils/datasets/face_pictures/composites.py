"""Images with and without faces, composed of cut-out people and backgrounds."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from utils.datasets.face_pictures.augmentation import blend_face, cover_face, hide_face, recolour
from utils.datasets.face_pictures.cutouts import Cutout

WIDTHS = (640, 640, 512, 400)  # of an image, pixels
ASPECTS = (16 / 9, 16 / 9, 4 / 3, 1.0, 3 / 4, 9 / 16)
FACE_HEIGHTS = (14.0, 500.0)  # pixels in an image of width 640; drawn on a log scale
HIDDEN = 0.35  # a face covered by more than this share may be detected or not
HARD = 0.35  # share of people drawn from those that are hard to detect
GONE = 0.8  # a face covered by more than this share is not a face


@dataclass(eq=False)
class Composite:
    """An image under construction."""

    image: NDArray[np.uint8]  # (H, W, 3) RGB
    boxes: list[NDArray[np.float32]]  # x1, y1, x2, y2 of every face
    clear: list[bool]  # True: must be detected; False: may be detected or not


class CompositeMaker:
    """Makes images; all randomness comes from the given generator.

    Args:
        cutouts: Images of people.
        backgrounds: Background images, as the bytes of JPEG files.
        rng: Source of randomness.
    """

    def __init__(
        self,
        cutouts: Sequence[Cutout],
        backgrounds: Sequence[NDArray[np.uint8]],
        rng: np.random.Generator,
    ) -> None:
        self._backgrounds, self._rng = backgrounds, rng
        self._people: dict[str, list[Cutout]] = {}
        for cutout in cutouts:
            self._people.setdefault(cutout.identity, []).append(cutout)
        self._names = sorted(self._people)
        self._hard = [cutout for cutout in cutouts if cutout.hard]

    def compose(self) -> Composite:
        """Return an image: three in four have faces, most of the others people without a face."""
        rng = self._rng
        composite = Composite(self._background(), [], [])
        kind = rng.random()
        if kind < 0.1:
            return composite
        number = int(rng.choice([1, 2, 3, 4, 6], p=[0.3, 0.3, 0.2, 0.1, 0.1]))
        largest = FACE_HEIGHTS[1] if number == 1 else 260.0
        sides = np.exp(rng.uniform(np.log(FACE_HEIGHTS[0]), np.log(largest), number))
        for side in sorted(sides, key=float):
            faceless = kind < 0.25 or rng.random() < 0.15
            self._add_person(composite, side * composite.image.shape[1] / 640, faceless)
        for _ in range(rng.integers(0, 3)):
            self._draw_shape(composite.image)
        return composite

    def _background(self) -> NDArray[np.uint8]:
        rng = self._rng
        width = int(rng.choice(WIDTHS))
        height = round(width / rng.choice(ASPECTS))
        width, height = (width, height) if height <= 640 else (round(width * 640 / height), 640)
        if rng.random() < 0.1:
            return self._texture(width, height)
        encoded = self._backgrounds[int(rng.integers(len(self._backgrounds)))]
        image = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR_RGB), np.uint8)
        part = rng.uniform(0.3, 1.0)
        room = min(image.shape[1] / width, image.shape[0] / height) * part
        wide, high = max(1, int(width * room)), max(1, int(height * room))
        x = rng.integers(image.shape[1] - wide + 1)
        y = rng.integers(image.shape[0] - high + 1)
        image = image[y : y + high, x : x + wide]
        method = cv2.INTER_AREA if wide > width else cv2.INTER_LINEAR
        image = np.asarray(cv2.resize(image, (width, height), interpolation=method), np.uint8)
        if rng.random() < 0.5:
            image = image[:, ::-1]
        return recolour(np.ascontiguousarray(image), rng, 0.5)

    def _texture(self, width: int, height: int) -> NDArray[np.uint8]:
        """Return noise of several scales in random colours, sometimes with shapes and text."""
        rng = self._rng
        image = np.zeros((height, width, 3), np.float32)
        for cell in (2, 8, 32, 128):
            shape = (height // cell + 2, width // cell + 2, 3)
            coarse = rng.normal(0, 1, shape).astype(np.float32)
            image += np.float32(rng.uniform(0, 30)) * np.asarray(
                cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), np.float32
            )
        image += rng.uniform(20, 235, 3).astype(np.float32)
        textured = np.clip(image, 0, 255).astype(np.uint8)
        for _ in range(int(rng.choice([0, 0, 4, 20]))):
            self._draw_shape(textured)
        return textured

    def _draw_shape(self, image: NDArray[np.uint8]) -> None:
        """Draw text, a line or an ellipse, half of them in skin colour."""
        rng = self._rng
        height, width = image.shape[:2]
        colour = tuple(int(value) for value in rng.integers(0, 256, 3))
        if rng.random() < 0.5:
            light = rng.uniform(0.3, 1.0)
            colour = (int(240 * light), int(190 * light), int(160 * light))
        position = (int(rng.integers(width)), int(rng.integers(height)))
        kind = rng.integers(3)
        if kind == 0:
            letters = "".join(chr(code) for code in rng.integers(48, 123, rng.integers(1, 12)))
            font = int(rng.integers(0, 8))
            size = rng.uniform(0.4, 3)
            cv2.putText(image, letters, position, font, size, colour, 2, cv2.LINE_AA)
        elif kind == 1:
            target = (int(rng.integers(width)), int(rng.integers(height)))
            cv2.line(image, position, target, colour, int(rng.integers(1, 12)), cv2.LINE_AA)
        else:
            axes = (int(rng.integers(4, 60)), int(rng.integers(4, 60)))
            angle = int(rng.integers(180))
            cv2.ellipse(image, position, axes, angle, 0, 360, colour, -1, cv2.LINE_AA)

    def _add_person(self, composite: Composite, side: float, faceless: bool) -> None:
        """Add a person to the image, with a face `side` pixels high."""
        rng = self._rng
        image, matte, face = self._person()
        person = recolour(image, rng, 1.0)
        if faceless:
            person = hide_face(person, face, rng)
        hidden = 0.0 if faceless else cover_face(person, matte, face, rng)
        height, width = composite.image.shape[:2]
        centre = (rng.uniform(0.0, 1.0) * width, rng.uniform(0.05, 0.95) * height)
        matrix = _random_transform(face, side, centre, rng)
        scale = side / (face[3] - face[1])
        if scale < 0.6:
            person = np.asarray(cv2.GaussianBlur(person, (0, 0), 0.4 / scale), np.uint8)
        alpha = _blend(composite.image, person, matte, matrix)
        _update_covered(composite, alpha)
        if faceless:
            return
        corners = np.array([[(face[0] + face[2]) / 2, (face[1] + face[3]) / 2, 1.0]])
        x, y = (corners @ matrix.T)[0]
        half = side * (face[2] - face[0]) / (face[3] - face[1]) / 2
        box = np.array([x - half, y - side / 2, x + half, y + side / 2], np.float32)
        inside = np.clip(box, 0, [width, height, width, height])
        outside = 1 - np.prod(inside[2:] - inside[:2]) / np.prod(box[2:] - box[:2])
        if outside < GONE:
            composite.boxes.append(box)
            composite.clear.append(bool(outside < HIDDEN and hidden < HIDDEN))

    def _person(
        self,
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8], tuple[float, float, float, float]]:
        """Return a person's image, matte and face, often mirrored or blended with another."""
        rng = self._rng
        cutout = self._draw()
        image, matte = cutout.decode()
        other = self._draw() if rng.random() < 0.33 else None
        if other is not None and not (cutout.modelled or other.modelled):
            image = blend_face(image, cutout.face, other, rng)
        if rng.random() < 0.5:
            left, top, right, bottom = cutout.face
            width = image.shape[1]
            mirrored = (width - right, top, width - left, bottom)
            return image[:, ::-1].copy(), matte[:, ::-1].copy(), mirrored
        return image, matte, cutout.face

    def _draw(self) -> Cutout:
        """Draw a person uniformly, or one of those that are hard to detect."""
        if self._hard and self._rng.random() < HARD:
            return self._hard[self._rng.integers(len(self._hard))]
        cutouts = self._people[self._names[self._rng.integers(len(self._names))]]
        return cutouts[self._rng.integers(len(cutouts))]


def _random_transform(
    face: tuple[float, float, float, float],
    side: float,
    centre: tuple[float, float],
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Return the (2, 3) matrix that moves a face to a centre, scaled, rotated and sheared."""
    scale = side / (face[3] - face[1])
    turn = np.deg2rad(np.clip(rng.normal(0, 12), -35, 35))
    cosine, sine = np.cos(turn), np.sin(turn)
    shear = np.array([[rng.uniform(0.88, 1.12), rng.normal(0, 0.06)], [rng.normal(0, 0.03), 1.0]])
    linear = scale * np.array([[cosine, -sine], [sine, cosine]]) @ shear
    middle = np.array([(face[0] + face[2]) / 2, (face[1] + face[3]) / 2])
    return np.column_stack([linear, np.array(centre) - linear @ middle])


def _blend(
    image: NDArray[np.uint8],
    person: NDArray[np.uint8],
    matte: NDArray[np.uint8],
    matrix: NDArray[np.float64],
) -> NDArray[np.float32]:
    """Blend a person into an image, in place; return the covered share of each pixel, (H, W)."""
    height, width = image.shape[:2]
    alpha = np.zeros((height, width), np.float32)
    corners = np.array([(x, y, 1) for x in (0, person.shape[1]) for y in (0, person.shape[0])])
    moved_corners = corners @ matrix.T
    x1, y1 = np.clip(np.floor(moved_corners.min(axis=0)), 0, (width, height)).astype(int)
    x2, y2 = np.clip(np.ceil(moved_corners.max(axis=0)) + 1, 0, (width, height)).astype(int)
    if x2 <= x1 or y2 <= y1:
        return alpha
    local = matrix - np.array([[0, 0, x1], [0, 0, y1]])
    size = (int(x2 - x1), int(y2 - y1))
    warped = cv2.warpAffine(person, local, size, flags=cv2.INTER_LINEAR)
    part = alpha[y1:y2, x1:x2]
    part[:] = np.asarray(cv2.warpAffine(matte, local, size), np.float32) / 255
    under = image[y1:y2, x1:x2]
    mixed = under + (warped.astype(np.float32) - under) * part[..., None]
    under[:] = np.clip(mixed, 0, 255).astype(np.uint8)
    return alpha


def _update_covered(composite: Composite, alpha: NDArray[np.float32]) -> None:
    """Update the faces that the last person covers."""
    for number in range(len(composite.boxes) - 1, -1, -1):
        x1, y1, x2, y2 = np.clip(composite.boxes[number], 0, 10_000).astype(int)
        covered = float(alpha[y1 : y2 + 1, x1 : x2 + 1].mean()) if x2 >= x1 and y2 >= y1 else 1.0
        if covered > GONE:
            del composite.boxes[number], composite.clear[number]
        elif covered > HIDDEN:
            composite.clear[number] = False
