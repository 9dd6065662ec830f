"""Draw timeline.png: who speaks when, one lane per track."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from utils.files import replacing
from utils.output.results import Result
from utils.scores import smooth_scores
from utils.structures import FPS, ScoredTrack

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont, ImageFont

WIDTH = 1600  # pixels of the image
LEFT, RIGHT = 124, 112  # margins beside the lanes
TOP, BOTTOM = 104, 62  # margins above and below them
MAX_LANES = 24
ZOOM = 2  # drawn larger, then reduced: Pillow draws lines without anti-aliasing
TICKS_S = (0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200)
MAX_TICKS = 14

INK, FAINT, PAPER = (31, 41, 51), (107, 119, 133), (255, 255, 255)
GRID, CUT, CUT_FAINT = (236, 239, 243), (199, 160, 122), (241, 229, 217)
PRESENT, SPEAKING, CURVE = (221, 227, 235), (52, 168, 83), (24, 94, 48)


def write_timeline(result: Result, path: Path) -> None:
    """Write an image of all tracks over time; of the 24 that speak most if there are more."""
    from PIL import Image

    lanes = _lanes(result)
    height = TOP + BOTTOM + max(1, len(lanes)) * _lane_height(len(lanes))
    image = Image.new("RGB", (WIDTH * ZOOM, height * ZOOM), PAPER)
    sheet = _Sheet(image, *_span(result), _lane_height(len(lanes)))
    sheet.title(result, len(lanes))
    sheet.grid(result, len(lanes))
    if len(lanes) < len(result.tracks):
        sheet.summary(result)
    for row, (track, segments) in enumerate(lanes):
        sheet.lane(row, track, segments)
    if not lanes:
        sheet.text((WIDTH / 2, TOP + sheet.lane_height / 2), "no face found", 18, FAINT, "mm")
    with replacing(path) as temporary:
        image.reduce(ZOOM).save(temporary, optimize=True)


Lane = tuple[ScoredTrack, list[tuple[float, float]]]


def _lanes(result: Result) -> list[Lane]:
    """Return the tracks to show and their speech, in order of their first frames."""
    speech: dict[int, list[tuple[float, float]]] = {track.id: [] for track in result.tracks}
    for part in result.segments:
        speech[part.track].append((part.start_s, part.stop_s))
    lanes = [(track, speech[track.id]) for track in result.tracks]
    lanes.sort(key=lambda lane: (_seconds(lane[1]), len(lane[0].boxes)), reverse=True)
    return sorted(lanes[:MAX_LANES], key=lambda lane: (lane[0].start, lane[0].id))


def _seconds(segments: Sequence[tuple[float, float]]) -> float:
    """Return the total length of segments."""
    return sum(stop - start for start, stop in segments)


def _lane_height(num_lanes: int) -> int:
    """Return the height of a lane in pixels; less if there are many."""
    return 72 if num_lanes <= 6 else 56 if num_lanes <= 12 else 44


def _span(result: Result) -> tuple[float, float]:
    """Return the first and the last second to show."""
    parts = [(shot.start, shot.stop) for shot in result.shots]
    parts += [(track.start, track.stop) for track in result.tracks]
    if not parts:
        return 0.0, max(result.video.duration_s, 1 / FPS)
    start_s = min(start for start, _ in parts) / FPS
    return start_s, max(max(stop for _, stop in parts) / FPS, start_s + 1 / FPS)


def _drawable(name: str) -> str:
    """Return a name in the characters of Pillow's font: without accents, others become `?`."""
    plain = unicodedata.normalize("NFKD", name)
    shown = (char for char in plain if not unicodedata.combining(char))
    return "".join(char if " " <= char <= "~" else "?" for char in shown)


def _tick_text(time_s: float, step_s: float, stop_s: float) -> str:
    """Return a time as the axis shows it: 7, 7.5, 1:07 or 1:02:07."""
    if stop_s < 60:
        return f"{time_s:.1f} s" if step_s < 1 else f"{time_s:.0f} s"
    minutes, seconds = divmod(round(time_s, 1), 60)
    tail = f"{seconds:04.1f}" if step_s < 1 else f"{seconds:02.0f}"
    if stop_s < 3600:
        return f"{minutes:.0f}:{tail}"
    hours, minutes = divmod(minutes, 60)
    return f"{hours:.0f}:{minutes:02.0f}:{tail}"


def _length_text(time_s: float) -> str:
    """Return a duration for reading: 7.5 s, 1 min 07 s or 1 h 02 min."""
    if time_s < 59.95:
        return f"{time_s:.1f} s"
    minutes, seconds = divmod(round(time_s), 60)
    if minutes < 60:
        return f"{minutes} min {seconds:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


@dataclass
class _Sheet:
    """The image being drawn; positions are in pixels of the finished image."""

    image: "Image"
    start_s: float
    stop_s: float
    lane_height: int

    def __post_init__(self) -> None:
        from PIL import ImageDraw

        self.draw: ImageDraw.ImageDraw = ImageDraw.Draw(self.image)
        self.fonts: dict[int, FreeTypeFont | ImageFont] = {}

    @property
    def coarse(self) -> bool:
        """Whether a pixel covers too much time to show single segments."""
        return (self.stop_s - self.start_s) / (WIDTH - LEFT - RIGHT) > 0.2

    def at(self, time_s: float) -> float:
        """Return the x coordinate of a time."""
        part = (time_s - self.start_s) / (self.stop_s - self.start_s)
        return LEFT + part * (WIDTH - LEFT - RIGHT)

    def font(self, size: int) -> "FreeTypeFont | ImageFont":
        """Return Pillow's built-in font, which needs no file."""
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
        """Write text and return its width."""
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

    def title(self, result: Result, num_lanes: int) -> None:
        """Write the title and the legend."""
        name = _drawable(Path(result.video.path).name)
        self.text((LEFT, 32), name if len(name) <= 70 else f"{name[:67]}...", 26)
        faces = "given" if result.detector.name == "none" else result.detector.name
        words = [f"{result.network.name} on {faces} faces"]
        words.append(_length_text(self.stop_s - self.start_s))
        words.append(f"{len(result.shots)} shot{'s' * (len(result.shots) != 1)}")
        tracks = f"{len(result.tracks)} face track{'s' * (len(result.tracks) != 1)}"
        left_out = len(result.tracks) - num_lanes
        if left_out:
            tracks += f": the {num_lanes} that speak most are shown, {left_out} are left out"
        words.append(tracks)
        self.text((LEFT, 64), "   ·   ".join(words), 15, FAINT)
        x = WIDTH - RIGHT - 316.0
        for colour, word in ((SPEAKING, "speaking"), (PRESENT, "in the image")):
            self.bar((x, 27, x + 22, 39), colour)
            x += 30 + self.text((x + 30, 33), word, 14, FAINT) + 22
        self.line(((x, 25), (x, 41)), CUT, 1.5)
        self.text((x + 9, 33), "cut", 14, FAINT)
        self.text((WIDTH - RIGHT + 14, TOP - 14), "speaks", 13, FAINT)

    def grid(self, result: Result, num_lanes: int) -> None:
        """Draw the time axis and the cuts."""
        bottom = TOP + max(1, num_lanes) * self.lane_height
        length_s = self.stop_s - self.start_s
        step_s = next((step for step in TICKS_S if length_s / step <= MAX_TICKS), 86400)
        for tick in range(int(np.ceil(self.start_s / step_s)), int(self.stop_s / step_s) + 1):
            x = self.at(tick * step_s)
            self.line(((x, TOP), (x, bottom + 6)), GRID)
            words = _tick_text(tick * step_s, step_s, self.stop_s)
            self.text((x, bottom + 20), words, 14, FAINT, "mm")
        colour = CUT if len(result.shots) <= 60 else CUT_FAINT
        for shot in result.shots[1:]:
            x = self.at(shot.start / FPS)
            self.line(((x, TOP - 4), (x, bottom + 2)), colour)
        self.line(((LEFT, bottom), (WIDTH - RIGHT, bottom)), FAINT)

    def lane(self, row: int, track: ScoredTrack, segments: list[tuple[float, float]]) -> None:
        """Draw one track: its face, when it is visible, and when it speaks."""
        from PIL import Image

        top = TOP + row * self.lane_height
        middle = top + self.lane_height / 2
        side = self.lane_height - 8
        self.line(((16, top), (WIDTH - 16, top)), GRID)
        size = (side * ZOOM, side * ZOOM)
        face = Image.fromarray(track.thumbnail).resize(size, Image.Resampling.LANCZOS)
        mask = Image.new("L", size, 0)
        _disc(mask)
        self.image.paste(face, (round((LEFT - 18 - side) * ZOOM), (top + 4) * ZOOM), mask)
        self.text((LEFT - 26 - side, middle), str(track.id), 16, INK, "rm")
        y1, y2 = top + self.lane_height * 0.17, top + self.lane_height * 0.83
        self.bar((self.at(track.start / FPS), y1, self.at(track.stop / FPS), y2), PRESENT)
        if self.coarse:
            self.shades(segments, y1, y2)
        else:
            for start_s, stop_s in segments:
                self.bar((self.at(start_s), y1, self.at(stop_s), y2), SPEAKING)
            self.curve(track, y1, y2)
        spoken = _length_text(_seconds(segments)) if segments else "never"
        self.text((WIDTH - RIGHT + 14, middle), spoken, 14, INK if segments else FAINT)

    def shades(self, segments: Sequence[tuple[float, float]], y1: float, y2: float) -> None:
        """Colour each column of pixels by the fraction of its time that is speech."""
        columns = (WIDTH - LEFT - RIGHT) * ZOOM
        edges_s = np.linspace(self.start_s, self.stop_s, columns + 1)
        spoken_s = np.zeros(columns + 1)  # speech before each edge
        for start_s, stop_s in segments:
            spoken_s += np.clip(edges_s, start_s, stop_s) - start_s
        part = np.minimum(np.diff(spoken_s) / np.diff(edges_s), 1.0)
        for column in np.flatnonzero(part > 0.01).tolist():
            mixed = np.array(PRESENT) + part[column] * (np.array(SPEAKING) - PRESENT)
            x = LEFT * ZOOM + column
            red, green, blue = (round(level) for level in mixed.tolist())
            self.draw.line((x, y1 * ZOOM, x, y2 * ZOOM - 1), (red, green, blue))

    def summary(self, result: Result) -> None:
        """Draw a strip above the lanes that shows the speech of all tracks."""
        self.text((LEFT - 18, TOP - 13), "all tracks", 13, FAINT, "rm")
        parts = [(part.start_s, part.stop_s) for part in result.segments]
        self.shades(parts, TOP - 19, TOP - 7)

    def curve(self, track: ScoredTrack, y1: float, y2: float) -> None:
        """Draw the smoothed score; 0 is in the middle, large values are compressed."""
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
    """Return the mean of the values of each column, or the values if there are fewer."""
    if len(values) <= num_columns:
        return values if len(values) > 1 else np.repeat(values, 2)
    starts = np.linspace(0, len(values), num_columns, endpoint=False).astype(int)
    counts = np.diff([*starts, len(values)])
    return np.asarray(np.add.reduceat(values, starts) / counts)
