"""Pictures with known faces, and without any, made of people cut out and other pictures."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from utils.datasets.face_pictures.augmentation import blend_face, cover_face, hide_face, recolour
from utils.datasets.face_pictures.cutouts import Cutout

WIDTHS = (640, 640, 512, 400)  # of a picture, pixels
ASPECTS = (16 / 9, 16 / 9, 4 / 3, 1.0, 3 / 4, 9 / 16)
FACE_SIDES = (14.0, 500.0)  # height of a face at a width of 640, drawn on a log scale
HIDDEN = 0.35  # share of a face covered from which on it is neither a face nor none
HARD = 0.35  # share of people drawn from those that are hard to find
GONE = 0.8  # share covered from which on it is none


@dataclass(eq=False)
class Composite:
    """A picture under construction."""

    picture: NDArray[np.uint8]  # (H, W, 3) RGB
    boxes: list[NDArray[np.float32]]  # x1, y1, x2, y2 of every face put in
    clear: list[bool]  # whether it is to be found; else it may or may not


class CompositeMaker:
    """Makes pictures; every choice comes from the generator given.

    Args:
        cutouts: People, by identity.
        backgrounds: JPEG files' bytes of pictures to put them into.
        rng: Chooses.
    """

    def __init__(
        self,
        cutouts: Sequence[Cutout],
        backgrounds: Sequence[NDArray[np.uint8]],
        rng: np.random.Generator,
    ) -> None:
        self._backgrounds, self._rng = backgrounds, rng
        self._people: dict[str, list[Cutout]] = {}
        for one in cutouts:
            self._people.setdefault(one.identity, []).append(one)
        self._names = sorted(self._people)
        self._hard = [one for one in cutouts if one.hard]

    def compose(self) -> Composite:
        """Return a picture: three in four have faces, most of the others people without any."""
        rng = self._rng
        made = Composite(self._background(), [], [])
        kind = rng.random()
        if kind < 0.1:
            return made
        number = int(rng.choice([1, 2, 3, 4, 6], p=[0.3, 0.3, 0.2, 0.1, 0.1]))
        largest = FACE_SIDES[1] if number == 1 else 260.0
        sides = np.exp(rng.uniform(np.log(FACE_SIDES[0]), np.log(largest), number))
        for side in sorted(sides, key=float):
            faceless = kind < 0.25 or rng.random() < 0.15
            self._put(made, side * made.picture.shape[1] / 640, faceless)
        for _ in range(rng.integers(0, 3)):
            self._draw_shape(made.picture)
        return made

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
        how = cv2.INTER_AREA if wide > width else cv2.INTER_LINEAR
        image = np.asarray(cv2.resize(image, (width, height), interpolation=how), np.uint8)
        if rng.random() < 0.5:
            image = image[:, ::-1]
        return recolour(np.ascontiguousarray(image), rng, 0.5)

    def _texture(self, width: int, height: int) -> NDArray[np.uint8]:
        """Return noise of several scales, in colours of any kind, at times with letters."""
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
        """Draw a word, a line or an ellipse, which may have the colour of skin."""
        rng = self._rng
        height, width = image.shape[:2]
        colour = tuple(int(value) for value in rng.integers(0, 256, 3))
        if rng.random() < 0.5:
            light = rng.uniform(0.3, 1.0)
            colour = (int(240 * light), int(190 * light), int(160 * light))
        place = (int(rng.integers(width)), int(rng.integers(height)))
        kind = rng.integers(3)
        if kind == 0:
            letters = "".join(chr(code) for code in rng.integers(48, 123, rng.integers(1, 12)))
            font = int(rng.integers(0, 8))
            cv2.putText(image, letters, place, font, rng.uniform(0.4, 3), colour, 2, cv2.LINE_AA)
        elif kind == 1:
            target = (int(rng.integers(width)), int(rng.integers(height)))
            cv2.line(image, place, target, colour, int(rng.integers(1, 12)), cv2.LINE_AA)
        else:
            axes = (int(rng.integers(4, 60)), int(rng.integers(4, 60)))
            turned = int(rng.integers(180))
            cv2.ellipse(image, place, axes, turned, 0, 360, colour, -1, cv2.LINE_AA)

    def _put(self, made: Composite, side: float, faceless: bool) -> None:
        """Put a person into the picture, the face `side` pixels high."""
        rng = self._rng
        image, matte, face = self._person()
        change = recolour(image, rng, 1.0)
        if faceless:
            change = hide_face(change, face, rng)
        hidden = 0.0 if faceless else cover_face(change, matte, face, rng)
        height, width = made.picture.shape[:2]
        centre = (rng.uniform(0.0, 1.0) * width, rng.uniform(0.05, 0.95) * height)
        matrix = _placing(face, side, centre, rng)
        reduced = side / (face[3] - face[1])
        if reduced < 0.6:
            change = np.asarray(cv2.GaussianBlur(change, (0, 0), 0.4 / reduced), np.uint8)
        alpha = _mix(made.picture, change, matte, matrix)
        _cover_others(made, alpha)
        if faceless:
            return
        corners = np.array([[(face[0] + face[2]) / 2, (face[1] + face[3]) / 2, 1.0]])
        x, y = (corners @ matrix.T)[0]
        half = side * (face[2] - face[0]) / (face[3] - face[1]) / 2
        box = np.array([x - half, y - side / 2, x + half, y + side / 2], np.float32)
        inside = np.clip(box, 0, [width, height, width, height])
        outside = 1 - np.prod(inside[2:] - inside[:2]) / np.prod(box[2:] - box[:2])
        if outside < GONE:
            made.boxes.append(box)
            made.clear.append(bool(outside < HIDDEN and hidden < HIDDEN))

    def _person(
        self,
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8], tuple[float, float, float, float]]:
        """Return a person, half of them mirrored, some with features of another."""
        rng = self._rng
        one = self._draw()
        image, matte = one.decode()
        other = self._draw() if rng.random() < 0.33 else None
        if other is not None and not (one.modelled or other.modelled):
            image = blend_face(image, one.face, other, rng)
        if rng.random() < 0.5:
            left, top, right, bottom = one.face
            width = image.shape[1]
            mirrored = (width - right, top, width - left, bottom)
            return image[:, ::-1].copy(), matte[:, ::-1].copy(), mirrored
        return image, matte, one.face

    def _draw(self) -> Cutout:
        """Return a person: people count alike, but for some who are hard to find."""
        if self._hard and self._rng.random() < HARD:
            return self._hard[self._rng.integers(len(self._hard))]
        pictures = self._people[self._names[self._rng.integers(len(self._names))]]
        return pictures[self._rng.integers(len(pictures))]


def _placing(
    face: tuple[float, float, float, float],
    side: float,
    centre: tuple[float, float],
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Return the (2, 3) matrix that puts a face at a centre, scaled, turned and sheared."""
    scale = side / (face[3] - face[1])
    turn = np.deg2rad(np.clip(rng.normal(0, 12), -35, 35))
    cosine, sine = np.cos(turn), np.sin(turn)
    shear = np.array([[rng.uniform(0.88, 1.12), rng.normal(0, 0.06)], [rng.normal(0, 0.03), 1.0]])
    linear = scale * np.array([[cosine, -sine], [sine, cosine]]) @ shear
    middle = np.array([(face[0] + face[2]) / 2, (face[1] + face[3]) / 2])
    return np.column_stack([linear, np.array(centre) - linear @ middle])


def _mix(
    picture: NDArray[np.uint8],
    image: NDArray[np.uint8],
    matte: NDArray[np.uint8],
    matrix: NDArray[np.float64],
) -> NDArray[np.float32]:
    """Put an image into the picture, in place; return what share of each pixel it covers."""
    height, width = picture.shape[:2]
    alpha = np.zeros((height, width), np.float32)
    corners = np.array([(x, y, 1) for x in (0, image.shape[1]) for y in (0, image.shape[0])])
    placed = corners @ matrix.T
    x1, y1 = np.clip(np.floor(placed.min(axis=0)), 0, (width, height)).astype(int)
    x2, y2 = np.clip(np.ceil(placed.max(axis=0)) + 1, 0, (width, height)).astype(int)
    if x2 <= x1 or y2 <= y1:
        return alpha
    moved = matrix - np.array([[0, 0, x1], [0, 0, y1]])
    size = (int(x2 - x1), int(y2 - y1))
    warped = cv2.warpAffine(image, moved, size, flags=cv2.INTER_LINEAR)
    part = alpha[y1:y2, x1:x2]
    part[:] = np.asarray(cv2.warpAffine(matte, moved, size), np.float32) / 255
    under = picture[y1:y2, x1:x2]
    mixed = under + (warped.astype(np.float32) - under) * part[..., None]
    under[:] = np.clip(mixed, 0, 255).astype(np.uint8)
    return alpha


def _cover_others(made: Composite, alpha: NDArray[np.float32]) -> None:
    """Take note of the faces that the last person hides."""
    for number in range(len(made.boxes) - 1, -1, -1):
        x1, y1, x2, y2 = np.clip(made.boxes[number], 0, 10_000).astype(int)
        covered = float(alpha[y1 : y2 + 1, x1 : x2 + 1].mean()) if x2 >= x1 and y2 >= y1 else 1.0
        if covered > GONE:
            del made.boxes[number], made.clear[number]
        elif covered > HIDDEN:
            made.clear[number] = False
