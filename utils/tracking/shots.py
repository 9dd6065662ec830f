"""Find the cuts of a video: mark each frame with the shot it belongs to."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from utils.errors import UserError
from utils.structures import FPS, Frame

WIDTH = 256  # pixels of an image's longer side, as PySceneDetect chooses it
TOLERANCE_S = 1e-3  # cut times are often written with three decimals


@dataclass(frozen=True)
class ShotOptions:
    """When a change between neighbouring frames is a cut."""

    threshold: Annotated[float, "mean change that counts as a cut, in levels from 0 to 255"] = 27.0
    min_shot: Annotated[int, "minimum frames from the start or a cut to the next cut"] = 15

    def __post_init__(self) -> None:
        if not 0 < self.threshold < math.inf:
            raise UserError(f"--threshold must be a number above 0, got {self.threshold}")
        if self.min_shot < 0:
            raise UserError(f"--minShot must be 0 or more frames, got {self.min_shot}")


def mark_shots(
    frames: Iterable[Frame], options: ShotOptions, cuts: Sequence[float] | None = None
) -> Iterator[Frame]:
    """Yield each frame with the number of its shot, from 0, before the next one is read.

    A gap in the frame indices ends a shot.

    Args:
        frames: In order.
        options: When a change is a cut.
        cuts: Known cuts in seconds, in any order; None detects them.
    """
    is_cut = _detected_cuts(options) if cuts is None else _given_cuts(cuts)
    shot = 0
    previous: Frame | None = None
    for frame in frames:
        gap = previous is not None and frame.index > previous.index + 1
        shot += is_cut(frame, previous) or gap
        yield replace(frame, shot=shot) if frame.shot != shot else frame
        previous = frame


def read_cuts(path: Path) -> list[float]:
    """Return the sorted times of a text file with one time in seconds per line.

    Blank lines and comments that begin with # are skipped.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise UserError(
            f"{path}: expected a text file with one time in seconds per line, found no UTF-8 text; "
            "save it as plain text"
        ) from None
    cuts = []
    for number, line in enumerate(lines, start=1):
        text = line.partition("#")[0].strip()
        if text:
            cuts.append(_seconds(text, f"{path}, line {number}"))
    return sorted(cuts)


def _seconds(text: str, place: str) -> float:
    try:
        time_s = float(text)
    except ValueError:
        time_s = math.nan
    if not 0 <= time_s < math.inf:
        raise UserError(
            f"{place}: expected a time in seconds such as 12.48, found {text[:40]!r}; "
            "give one time per line, 0 or later"
        )
    return time_s


def _given_cuts(cuts: Sequence[float]) -> Callable[[Frame, Frame | None], bool]:
    """Return a function that returns whether a frame is the first at or after a given time."""
    firsts = {math.ceil((cut - TOLERANCE_S) * FPS) for cut in cuts}

    def is_cut(frame: Frame, previous: Frame | None) -> bool:
        return previous is not None and frame.index in firsts

    return is_cut


def _detected_cuts(options: ShotOptions) -> Callable[[Frame, Frame | None], bool]:
    """Return a function that detects whether a frame begins a shot; call it on all frames in order.

    Cuts that follow too early are suppressed, not moved, so the result is known at once.
    """
    from scenedetect import FrameTimecode
    from scenedetect.detector import FlashFilter
    from scenedetect.detectors import ContentDetector

    detector = ContentDetector(
        threshold=options.threshold,
        min_scene_len=options.min_shot,
        filter_mode=FlashFilter.Mode.SUPPRESS,
    )

    def is_cut(frame: Frame, previous: Frame | None) -> bool:
        if previous is not None and frame.image is previous.image:
            return False
        found = detector.process_frame(FrameTimecode(frame.index, float(FPS)), _shrink(frame.image))
        return bool(found)

    return is_cut


def _shrink(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a BGR copy whose longer side has about 256 pixels, as PySceneDetect reads it."""
    import cv2

    height, width = image.shape[:2]
    factor = max(height, width) / WIDTH
    if factor > 1:
        size = (max(1, round(width / factor)), max(1, round(height / factor)))
        image = np.asarray(cv2.resize(image, size), np.uint8)
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2BGR), np.uint8)
