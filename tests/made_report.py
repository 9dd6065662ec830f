"""Made results and videos for the report, and a real browser to look at it."""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.made_video import write_video
from utils.media.container import ReadOptions, probe
from utils.media.video import read_frames
from utils.output.results import ModelRecord, Result, VideoFacts
from utils.structures import Person, ScoredTrack, Segment, Shot

WIDTH, HEIGHT, SIDE = 640, 360, 120
RED = (200, 30, 40)
TIMEOUT_MS = 600_000  # only against hanging: the machine may be busy


def made_track(number: int, start: int, scores: list[float], person: int | None) -> ScoredTrack:
    """Return a face that moves; its image is a ramp."""
    values = np.array(scores, np.float32)
    place = np.arange(len(scores), dtype=np.float32)[:, None]
    boxes = np.array([40 + 9 * number, 60, 130 + 9 * number, 170], np.float32) + place * 0.37
    ramp = np.tile(np.arange(112, dtype=np.uint8) * 2, (112, 1))
    probabilities = np.asarray(1 / (1 + np.exp(-values)), np.float32)
    return ScoredTrack(number, 0, start, boxes, values, probabilities, ramp, person)


def random_scores(rng: np.random.Generator, length: int) -> list[float]:
    """Return scores that change their sign every second or so, near 0 often enough."""
    steps = np.repeat(rng.normal(0, 1.5, length // 20 + 1), 20)[:length]
    return [float(one) for one in np.round(steps + rng.normal(0, 0.8, length), 4)]


def made_result(seed: int = 0, formed: bool = True, path: str = "videos/a.mp4") -> Result:
    """Return a minute with six tracks in three shots: of four people, or of none."""
    rng = np.random.default_rng(seed)
    places = [(0, 300), (10, 480), (500, 400), (520, 260), (900, 600), (910, 590)]
    owners = [0, 1, 0, 2, 1, 3]
    tracks = [
        made_track(number, start, random_scores(rng, length), owners[number] if formed else None)
        for number, (start, length) in enumerate(places)
    ]
    people = [Person(0, "Ann", (0, 2)), Person(1, None, (1, 4)), Person(2, None, (3,), 0.0, True)]
    people.append(Person(3, "Bob <i> & Co", (5,), thumbnail=np.full((128, 128, 3), RED, np.uint8)))
    offscreen = [Segment(None, 19.6, 20.0, 0.5, None, "offscreen"), Segment(None, 60.0, 61.2, None)]
    offscreen[1] = replace(offscreen[1], kind="offscreen")
    return Result(
        VideoFacts(path, WIDTH, HEIGHT, Fraction(25), 62.0),
        ModelRecord("lr_asd"),
        ModelRecord("yunet"),
        [Shot(0, 490), Shot(490, 900), Shot(900, 1550)],
        tracks,
        {},
        people=people if formed else [],
        embedder=ModelRecord("made") if formed else None,
        offscreen=offscreen if formed else [],
    )


def squares(num_frames: int) -> Iterator[NDArray[np.uint8]]:
    """Yield images with a bright square that moves by several pixels in each."""
    for index in range(num_frames):
        image = np.full((HEIGHT, WIDTH, 3), 25, np.uint8)
        x = 8 + _to_and_fro(index * 7, WIDTH - SIDE - 16)
        y = 8 + _to_and_fro(index * 5, HEIGHT - SIDE - 16)
        image[y : y + SIDE, x : x + SIDE] = 235
        yield image


def _to_and_fro(way: int, length: int) -> int:
    return length - abs(way % (2 * length) - length)


def square_box(image: NDArray[np.uint8]) -> list[float]:
    """Return the box of the bright square in an image."""
    bright = image[..., 1] > 128
    rows, columns = np.flatnonzero(bright.any(axis=1)), np.flatnonzero(bright.any(axis=0))
    return [columns[0], rows[0], columns[-1] + 1.0, rows[-1] + 1.0]


def tracked_video(path: Path, fps: Fraction | int = 25, late_s: float = 0.0) -> Result:
    """Write a video of 5 s whose square is a face that speaks from 1 to 3 s; return its result.

    Args:
        path: Of the video.
        fps: Its rate.
        late_s: How much later than the sound the images start.
    """
    sound = np.random.default_rng(1).integers(-3000, 3000, 16000 * 5, dtype=np.int16)
    write_video(path, squares(round(5 * fps)), fps, sound, video_start_s=late_s)
    video = probe(path)
    found = [(one.index, square_box(one.image)) for one in read_frames(video, None, ReadOptions())]
    start, boxes = found[0][0], np.array([box for _, box in found], np.float32)
    frames = start + np.arange(len(boxes))
    scores = np.where((frames >= 25) & (frames < 75), 2.5, -2.5).astype(np.float32)
    thumbnail = np.full((112, 112), 200, np.uint8)
    track = ScoredTrack(0, 0, start, boxes, scores, scores, thumbnail)
    facts = VideoFacts(str(path), WIDTH, HEIGHT, video.fps, video.duration_s)
    shots = [Shot(start, start + len(boxes))]
    return Result(facts, ModelRecord("lr_asd"), ModelRecord("yunet"), shots, [track], {})


@contextmanager
def browser_of_system() -> Iterator[Any]:
    """Start the system's Chromium; Playwright's own build has no H.264."""
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("needs Debian's chromium: apt-get install chromium")
    with playwright.sync_playwright() as started:
        flags = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
        browser = started.chromium.launch(executable_path=program, args=flags, timeout=TIMEOUT_MS)
        yield browser
        browser.close()


class Page:
    """A page that is open in the browser; remembers what went wrong and what was fetched."""

    def __init__(
        self, browser: Any, place: Path | str, fragment: str = "", **settings: Any
    ) -> None:
        settings = {"viewport": {"width": 1280, "height": 860}, **settings}
        self.context = browser.new_context(accept_downloads=True, **settings)
        self.page = self.context.new_page()
        self.page.set_default_timeout(TIMEOUT_MS)
        self.faults: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        address = place if isinstance(place, str) else place.as_uri()
        self.page.goto(address + fragment, wait_until="commit")
        self.wait_ready()

    def _hear(self, message: Any) -> None:
        if message.type == "error":
            self.faults.append(message.text)

    def run(self, code: str, argument: object = None) -> Any:
        """Return what an expression, or a function of `argument`, gives in the page."""
        return self.page.evaluate(code, argument)

    def wait(self, condition: str) -> None:
        """Wait until an expression is true in the page."""
        while not self.run(condition):
            time.sleep(0.05)

    def wait_ready(self) -> None:
        """Wait until the scripts of the page have run."""
        self.wait("document.documentElement?.dataset.ready === 'true'")

    def load_video(self) -> None:
        """Wait until the first image is shown."""
        self.wait("player.video.readyState >= 2 && player.shown !== null")

    def seek(self, time_s: float) -> float:
        """Go to a time and return that of the image that is shown then."""
        self.run("time_s => { window.before = player.shown; player.seek(time_s); }", time_s)
        self.wait("!player.video.seeking")
        self.run("() => new Promise(done => setTimeout(done, 150))")
        return float(self.run("player.shown"))

    def close(self) -> None:
        self.context.close()
