"""Small images of faces: as text within result.json, and as files."""

import base64
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from utils.files import replacing
from utils.structures import Person

JPEG_QUALITY = 90


def to_text(image: NDArray[np.uint8], quality: int = JPEG_QUALITY) -> str:
    """Return a grey or RGB image as JPEG in base64."""
    return base64.b64encode(_jpeg(image, quality)).decode("ascii")


def from_text(text: str, owner: str, colour: bool = False) -> NDArray[np.uint8]:
    """Return the image that `to_text` wrote.

    Args:
        text: JPEG in base64.
        owner: Whose it is, for the TypeError if it is no image.
        colour: Return RGB instead of grey.
    """
    content = np.frombuffer(base64.b64decode(text), np.uint8)
    image = cv2.imdecode(content, cv2.IMREAD_COLOR_RGB if colour else cv2.IMREAD_GRAYSCALE)
    if image is None:
        raise TypeError(f"the thumbnail of {owner} is not an image")
    return np.asarray(image, np.uint8)


def write_thumbnails(people: Iterable[Person], folder: Path) -> dict[int, str]:
    """Write the thumbnail of each person; return the file names by person.

    Numbered files of an earlier run that are not written again are removed.
    """
    names = {}
    for person in people:
        if person.thumbnail is not None:
            folder.mkdir(exist_ok=True)
            names[person.id] = f"{person.id}.jpg"
            with replacing(folder / names[person.id]) as temporary:
                temporary.write_bytes(_jpeg(person.thumbnail))
    for path in folder.glob("*.jpg"):
        if path.stem.isdecimal() and path.name not in names.values():
            path.unlink()
    return names


def _jpeg(image: NDArray[np.uint8], quality: int = JPEG_QUALITY) -> bytes:
    stored = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    done, content = cv2.imencode(".jpg", stored, (cv2.IMWRITE_JPEG_QUALITY, quality))
    assert done, "OpenCV encodes any image"
    return content.tobytes()
