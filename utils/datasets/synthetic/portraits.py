"""Two public-domain portraits with their mattes and the parts that move in speech.

The images are from scikit-image (Eileen Collins, NASA) and matplotlib (Grace Hopper, US Navy).
All positions and lengths are in pixels of the image.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Mouth:
    """Outline of the lips, and the parts that move with them."""

    upper: Points  # lower edge of the upper lip, from corner to corner
    lower: Points  # upper edge of the lower lip, the same corners
    nose: float  # y of the nose's base, which does not move
    chin: float  # y of the chin, which moves with the jaw
    jaw: float  # half width of the jaw
    widest: float  # maximum distance between the lips
    teeth: bool  # whether teeth are visible between the lips


@dataclass(frozen=True)
class Eye:
    """An eye as an ellipse."""

    x: float
    y: float
    width: float  # half axes
    height: float


@dataclass(frozen=True)
class Portrait:
    """A person's photograph, its matte, and the parts that move."""

    name: str
    description: str
    image: NDArray[np.uint8]  # (H, W, 3) RGB
    matte: NDArray[np.uint8]  # (H, W), 0 for the background
    face: tuple[float, float, float, float]  # x1, y1, x2, y2 as of a face detector
    head: tuple[float, float, float, float]  # rigid ellipse: centre, half axes
    neck: tuple[float, float]  # centre of rotation of the head
    mouth: Mouth
    eyes: tuple[Eye, Eye]


def cut_out(image: NDArray[np.uint8], outline: Points) -> NDArray[np.uint8]:
    """Return the soft matte of a person: the outline, moved to edges of the image near it."""
    filled = np.zeros(image.shape[:2], np.uint8)
    cv2.fillPoly(filled, [np.array(outline, np.int32)], 255)
    brush = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (9, 9))
    sure, maybe = cv2.erode(filled, brush, borderValue=255), cv2.dilate(filled, brush)
    marks = np.where(sure > 0, cv2.GC_FGD, np.where(filled > 0, cv2.GC_PR_FGD, cv2.GC_PR_BGD))
    marks = np.where(maybe > 0, marks, cv2.GC_BGD).astype(np.uint8)
    cv2.setRNGSeed(0)  # grabCut initialises its clusters with OpenCV's generator
    cv2.grabCut(image, marks, None, np.zeros((1, 65)), np.zeros((1, 65)), 3, cv2.GC_INIT_WITH_MASK)
    hard = np.where((marks == cv2.GC_FGD) | (marks == cv2.GC_PR_FGD), 255, 0).astype(np.uint8)
    hard = cv2.medianBlur(hard, 7)
    return np.asarray(cv2.GaussianBlur(cv2.erode(hard, np.ones((4, 4))), (5, 5), 1.2), np.uint8)


def collins() -> Portrait:
    """Return Eileen Collins, astronaut: NASA photograph, public domain."""
    import skimage.data

    image = np.asarray(skimage.data.astronaut(), np.uint8)
    outline = (
        *((36, 511), (28, 469), (24, 436), (23, 375), (26, 328), (35, 300), (45, 277), (61, 248)),
        *((89, 220), (113, 206), (114, 188), (131, 164), (155, 151), (180, 149), (180, 131)),
        *((173, 129), (171, 117), (157, 98), (154, 70), (164, 52), (185, 37), (197, 26)),
        *((225, 16), (253, 19), (277, 35), (291, 52), (301, 80), (300, 94), (291, 112)),
        *((277, 129), (270, 137), (266, 136), (262, 155), (257, 171), (272, 180), (291, 202)),
        *((302, 230), (307, 237), (328, 248), (347, 277), (361, 323), (363, 347), (398, 344)),
        *((431, 352), (469, 380), (492, 417), (498, 450), (511, 464), (511, 511)),
    )
    mouth = Mouth(
        upper=((203, 139.5), (210, 141.3), (220, 143), (227, 143.5), (235, 142.5), (244, 140.5)),
        lower=(
            *((203, 139.5), (207, 145), (212, 148), (220, 149.7), (228, 149.7)),
            *((235, 148), (240, 145), (244, 140.5)),
        ),
        nose=130.0,
        chin=177.0,
        jaw=40.0,
        widest=15.0,
        teeth=True,
    )
    return Portrait(
        "collins",
        "woman with short fair hair in an orange space suit",
        image,
        cut_out(image, outline),
        face=(178.0, 63.0, 268.0, 176.0),
        head=(226.0, 95.0, 62.0, 88.0),
        neck=(222.0, 195.0),
        mouth=mouth,
        eyes=(Eye(201, 101.5, 8.5, 4.6), Eye(247, 103.5, 8.5, 4.6)),
    )


def hopper() -> Portrait:
    """Return Grace Hopper, computer scientist: US Navy photograph, public domain."""
    import matplotlib.cbook

    path = matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)
    photo = cv2.imread(str(path))
    if photo is None:
        raise FileNotFoundError(f"expected matplotlib's sample image at {path}; reinstall it")
    image = np.asarray(cv2.cvtColor(photo, cv2.COLOR_BGR2RGB), np.uint8)
    outline = (
        *((8, 599), (16, 520), (28, 427), (38, 400), (61, 381), (100, 362), (140, 353), (185, 330)),
        *((203, 318), (202, 303), (177, 284), (161, 272), (158, 244), (155, 213), (153, 190)),
        *((147, 175), (146, 147), (146, 117), (152, 97), (173, 86), (175, 79), (183, 61)),
        *((218, 41), (228, 30), (259, 23), (295, 31), (304, 41), (335, 56), (353, 76), (353, 87)),
        *((362, 86), (370, 99), (372, 137), (368, 180), (376, 190), (373, 218), (363, 239)),
        *((362, 259), (360, 284), (345, 305), (330, 309), (333, 317), (350, 335), (381, 350)),
        *((421, 365), (457, 376), (490, 388), (500, 406), (511, 447), (511, 599)),
    )
    line = (
        *((228, 280), (240, 279), (250, 277.5), (258, 278), (265, 279.3), (272, 278)),
        *((290, 277.5), (300, 279), (309, 280)),
    )
    mouth = Mouth(line, line, nose=248.0, chin=326.0, jaw=68.0, widest=25.0, teeth=False)
    return Portrait(
        "hopper",
        "elderly woman with glasses in a dark navy uniform and cap",
        image,
        cut_out(image, outline),
        face=(183.0, 120.5, 353.0, 333.0),
        head=(263.0, 175.0, 122.0, 155.0),
        neck=(265.0, 350.0),
        mouth=mouth,
        eyes=(Eye(223, 190, 15, 8), Eye(304, 188, 15, 8)),
    )


PORTRAITS: dict[str, Callable[[], Portrait]] = {"collins": collins, "hopper": hopper}
