"""Draw timeline.png: who speaks when, one lane per person, or per track."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from utils.files import replacing
from utils.output.lanes import Lane, find_lanes, offscreen_lane
from utils.output.overlay import drawable
from utils.output.results import Result
from utils.output.time_axis import length_text, tick_step, tick_text
from utils.scores import smooth_scores
from utils.structures import FPS, ScoredTrack

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont, ImageFont

WIDTH = 1600  # pixels of the image
LEFT, RIGHT = 124, 112  # margins beside the lanes
TOP, BOTTOM = 104, 62  # margins above and below them
ZOOM = 2  # drawn larger, then reduced: Pillow draws lines without anti-aliasing

INK, FAINT, PAPER = (31, 41, 51), (107, 119, 133), (255, 255, 255)
GRID, CUT, CUT_FAINT = (236, 239, 243), (199, 160, 122), (241, 229, 217)
PRESENT, SPEAKING, CURVE = (221, 227, 235), (52, 168, 83), (24, 94, 48)
HEARD = (126, 112, 196)  # speech of nobody who is seen
LABEL_WIDTH, NAME_WIDTH = 20, 170  # pixels that numbers have, and more for names at most
MAX_STRONG_CUTS = 60  # more are drawn faintly


def write_timeline(result: Result, path: Path) -> None:
    """Write an image of all people, or tracks, over time; of the 24 that speak most if more."""
    from PIL import Image

    lanes = find_lanes(result)
    heard = offscreen_lane(result)
    rows = [*lanes, heard] if heard else lanes
    height = TOP + BOTTOM + max(1, len(rows)) * _lane_height(len(rows))
    image = Image.new("RGB", (WIDTH * ZOOM, height * ZOOM), PAPER)
    sheet = _Sheet(image, *_span(result), _lane_height(len(rows)))
    sheet.make_room([lane.label for lane in lanes])
    sheet.title(result, _count(result, len(lanes)), heard is not None)
    sheet.grid(result, len(rows))
    if len(lanes) < len(result.people or result.tracks):
        sheet.summary(result, "all people" if result.people else "all tracks")
    for row, lane in enumerate(rows):
        sheet.lane(row, lane)
    if result.people:
        sheet.cuts(result, len(lanes))
    if not rows:
        sheet.text((WIDTH / 2, TOP + sheet.lane_height / 2), "no face found", 18, FAINT, "mm")
    with replacing(path) as temporary:
        image.reduce(ZOOM).save(temporary, optimize=True)


def _count(result: Result, num_lanes: int) -> str:
    """Return how many people and tracks there are, and how many are shown."""
    num_tracks, num_people = len(result.tracks), len(result.people)
    words = f"{num_tracks} face track{'s' * (num_tracks != 1)}"
    if num_people:
        words = f"{num_people} {'person' if num_people == 1 else 'people'} in {words}"
    left_out = (num_people or num_tracks) - num_lanes
    if left_out:
        words += f": the {num_lanes} that speak most are shown, {left_out} are left out"
    return words


def _lane_height(num_lanes: int) -> int:
    """Return the height of a lane in pixels: less where there are many."""
    return 72 if num_lanes <= 6 else 56 if num_lanes <= 12 else 44


def _span(result: Result) -> tuple[float, float]:
    """Return the first and the last second to show."""
    parts = [(shot.start, shot.stop) for shot in result.shots]
    parts += [(track.start, track.stop) for track in result.tracks]
    if not parts:
        return 0.0, max(result.video.duration_s, 1 / FPS)
    start_s = min(start for start, _ in parts) / FPS
    return start_s, max(max(stop for _, stop in parts) / FPS, start_s + 1 / FPS)


@dataclass
class _Sheet:
    """The image being drawn; positions are in pixels of the finished image."""

    image: "Image"
    start_s: float
    stop_s: float
    lane_height: int
    left: float = LEFT

    def __post_init__(self) -> None:
        from PIL import ImageDraw

        self.draw: ImageDraw.ImageDraw = ImageDraw.Draw(self.image)
        self.fonts: dict[int, FreeTypeFont | ImageFont] = {}

    @property
    def coarse(self) -> bool:
        """Whether a pixel is so long that single segments can no longer be told apart."""
        return (self.stop_s - self.start_s) / (WIDTH - self.left - RIGHT) > 0.2

    def at(self, time_s: float) -> float:
        """Return where a time lies across the picture."""
        part = (time_s - self.start_s) / (self.stop_s - self.start_s)
        return self.left + part * (WIDTH - self.left - RIGHT)

    def make_room(self, labels: Sequence[str]) -> None:
        """Widen the left margin for names; numbers fit as it is."""
        widths = [self.draw.textlength(drawable(one), self.font(16)) / ZOOM for one in labels]
        self.left = LEFT + round(min(max(0.0, max(widths, default=0.0) - LABEL_WIDTH), NAME_WIDTH))

    def font(self, size: int) -> "FreeTypeFont | ImageFont":
        """Return Pillow's own font, which needs no file of the system."""
        from PIL import ImageFont

        if size not in self.fonts:
            self.fonts[size] = ImageFont.load_default(size * ZOOM)
        return self.fonts[size]

    def text(
        self,
        place: tuple[float, float],
        words: str,
        size: int,
        colour: tuple[int, int, int] = INK,
        anchor: str = "lm",
    ) -> float:
        """Write words and return how wide they are."""
        x, y = place
        self.draw.text((x * ZOOM, y * ZOOM), words, colour, self.font(size), anchor=anchor)
        return float(self.draw.textlength(words, self.font(size))) / ZOOM

    def bar(self, box: tuple[float, float, float, float], colour: tuple[int, int, int]) -> None:
        """Fill a box with rounded corners, at least a pixel wide."""
        x1, y1, x2, y2 = (edge * ZOOM for edge in box)
        x2 = max(x2, x1 + ZOOM)
        radius = min(5 * ZOOM, (x2 - x1) / 2, (y2 - y1) / 2)
        self.draw.rounded_rectangle((x1, y1, x2 - 1, y2 - 1), radius, colour)

    def line(
        self, points: Sequence[tuple[float, float]], colour: tuple[int, int, int], width: float = 1
    ) -> None:
        """Draw a line through points."""
        scaled = [(x * ZOOM, y * ZOOM) for x, y in points]
        self.draw.line(scaled, colour, max(1, round(width * ZOOM)), joint="curve")

    def title(self, result: Result, count: str, heard: bool) -> None:
        """Write what this is, and what the colours mean; that of off-screen speech if `heard`."""
        name = drawable(Path(result.video.path).name)
        longest = 60 if heard else 70  # characters beside the meanings of the colours
        self.text(
            (self.left, 32), name if len(name) <= longest else f"{name[: longest - 3]}...", 26
        )
        faces = "given" if result.detector.name == "none" else result.detector.name
        words = [f"{result.network.name} on {faces} faces"]
        words.append(length_text(self.stop_s - self.start_s))
        words.append(f"{len(result.shots)} shot{'s' * (len(result.shots) != 1)}")
        words.append(count)
        self.text((self.left, 64), "   ·   ".join(words), 15, FAINT)
        meanings = [(SPEAKING, "speaking"), (PRESENT, "in the image")]
        if heard:
            meanings.insert(1, (HEARD, "off-screen"))
        x = WIDTH - RIGHT - (436.0 if heard else 316.0)
        for colour, word in meanings:
            self.bar((x, 27, x + 22, 39), colour)
            x += 30 + self.text((x + 30, 33), word, 14, FAINT) + 22
        self.line(((x, 25), (x, 41)), CUT, 1.5)
        self.text((x + 9, 33), "cut", 14, FAINT)
        self.text((WIDTH - RIGHT + 14, TOP - 14), "speaks", 13, FAINT)

    def grid(self, result: Result, num_lanes: int) -> None:
        """Draw the time axis and the cuts."""
        bottom = TOP + max(1, num_lanes) * self.lane_height
        step_s = tick_step(self.stop_s - self.start_s)
        for tick in range(int(np.ceil(self.start_s / step_s)), int(self.stop_s / step_s) + 1):
            x = self.at(tick * step_s)
            self.line(((x, TOP), (x, bottom + 6)), GRID)
            words = tick_text(tick * step_s, step_s, self.stop_s)
            self.text((x, bottom + 20), words, 14, FAINT, "mm")
        colour = CUT if len(result.shots) <= MAX_STRONG_CUTS else CUT_FAINT
        for shot in result.shots[1:]:
            x = self.at(shot.start / FPS)
            self.line(((x, TOP - 4), (x, bottom + 2)), colour)
        self.line(((self.left, bottom), (WIDTH - RIGHT, bottom)), FAINT)

    def cuts(self, result: Result, num_lanes: int) -> None:
        """Draw the cuts over the lanes, so that a person's tracks can be told apart."""
        colour = CUT if len(result.shots) <= MAX_STRONG_CUTS else CUT_FAINT
        for shot in result.shots[1:]:
            x = self.at(shot.start / FPS)
            self.line(((x, TOP - 4), (x, TOP + num_lanes * self.lane_height)), colour)

    def lane(self, row: int, lane: Lane) -> None:
        """Draw one person or track: the face, when it is there, and when it speaks."""
        top = TOP + row * self.lane_height
        middle = top + self.lane_height / 2
        self.line(((16, top), (WIDTH - 16, top)), GRID)
        if lane.thumbnail is None:
            self.text((self.left - 18, middle), lane.label, 14, FAINT, "rm")
        else:
            side = self.face(lane.thumbnail, top)
            self.text((self.left - 26 - side, middle), self.fitted(lane.label), 16, INK, "rm")
        y1, y2 = top + self.lane_height * 0.17, top + self.lane_height * 0.83
        colour = SPEAKING if lane.tracks else HEARD
        for track in lane.tracks:
            self.bar((self.at(track.start / FPS), y1, self.at(track.stop / FPS), y2), PRESENT)
        if self.coarse:
            self.shades(lane.speech, (y1, y2), colour)
        else:
            for start_s, stop_s in lane.speech:
                self.bar((self.at(start_s), y1, self.at(stop_s), y2), colour)
            for track in lane.tracks:
                self.curve(track, y1, y2)
        spoken = length_text(lane.speaking_s) if lane.speech else "never"
        self.text((WIDTH - RIGHT + 14, middle), spoken, 14, INK if lane.speech else FAINT)

    def face(self, thumbnail: NDArray[np.uint8], top: float) -> int:
        """Draw a round face at the left of a lane; return how wide it is."""
        from PIL import Image

        side = self.lane_height - 8
        size = (side * ZOOM, side * ZOOM)
        face = Image.fromarray(thumbnail).resize(size, Image.Resampling.LANCZOS)
        mask = Image.new("L", size, 0)
        _disc(mask)
        place = (round((self.left - 18 - side) * ZOOM), round((top + 4) * ZOOM))
        self.image.paste(face, place, mask)
        return side

    def fitted(self, label: str) -> str:
        """Return a label that fits into the left margin."""
        words = drawable(label)
        while self.draw.textlength(words, self.font(16)) / ZOOM > NAME_WIDTH + LABEL_WIDTH:
            words = words[:-4] + "..."
        return words

    def shades(
        self,
        stretches: Sequence[tuple[float, float]],
        edges: tuple[float, float],
        colour: tuple[int, int, int] = SPEAKING,
    ) -> None:
        """Colour each column of pixels by the part of its time that is speech."""
        columns = round((WIDTH - self.left - RIGHT) * ZOOM)
        edges_s = np.linspace(self.start_s, self.stop_s, columns + 1)
        spoken_s = np.zeros(columns + 1)  # speech before each edge
        for start_s, stop_s in stretches:
            spoken_s += np.clip(edges_s, start_s, stop_s) - start_s
        part = np.minimum(np.diff(spoken_s) / np.diff(edges_s), 1.0)
        for column in np.flatnonzero(part > 0.01).tolist():
            mixed = np.array(PRESENT) + part[column] * (np.array(colour) - PRESENT)
            x = round(self.left * ZOOM) + column
            red, green, blue = (round(level) for level in mixed.tolist())
            self.draw.line((x, edges[0] * ZOOM, x, edges[1] * ZOOM - 1), (red, green, blue))

    def summary(self, result: Result, label: str) -> None:
        """Draw a strip above the lanes that shows all speech of faces."""
        self.text((self.left - 18, TOP - 13), label, 13, FAINT, "rm")
        speech = [part for part in result.segments if part.kind == "speech"]
        self.shades([(part.start_s, part.stop_s) for part in speech], (TOP - 19, TOP - 7))

    def curve(self, track: ScoredTrack, y1: float, y2: float) -> None:
        """Draw the smoothed score: the boundary in the middle, bounded towards the edges."""
        left, right = self.at(track.start / FPS), self.at(track.stop / FPS)
        heights = _columns(np.tanh(smooth_scores(track.scores) / 4), max(2, int(right - left)))
        places = np.linspace(left, right, len(heights))
        middle, reach = (y1 + y2) / 2, 0.42 * (y2 - y1)
        points = [
            (float(x), middle - reach * float(y)) for x, y in zip(places, heights, strict=True)
        ]
        self.line(points, CURVE, 1)


def _disc(mask: "Image") -> None:
    """Draw a white disc that fills the mask."""
    from PIL import ImageDraw

    ImageDraw.Draw(mask).ellipse((0, 0, mask.width - 1, mask.height - 1), 255)


def _columns(values: NDArray[np.floating], num_columns: int) -> NDArray[np.floating]:
    """Return the mean of the values of each column, or the values where they are fewer."""
    if len(values) <= num_columns:
        return values if len(values) > 1 else np.repeat(values, 2)
    starts = np.linspace(0, len(values), num_columns, endpoint=False).astype(int)
    counts = np.diff([*starts, len(values)])
    return np.asarray(np.add.reduceat(values, starts) / counts)
