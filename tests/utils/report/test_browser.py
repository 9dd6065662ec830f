"""The report in a real browser: it shows what the result says, and corrects it as Python does.

All in Debian's Chromium from file://, with pages and videos that are made here.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from demoTalkNet import main
from tests.made_report import Page, browser_of_system, made_result, random_scores, tracked_video
from utils.boxes import iou
from utils.output.exports import write_rttm, write_speech_csv, write_vtt
from utils.output.results import Result
from utils.report.corrections import apply_edits
from utils.report.edits import Edits
from utils.report.page import write_report
from utils.report.page_video import PageVideo
from utils.structures import Shot

pytestmark = pytest.mark.slow
FPS = 25
OFF = "offscreen"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with browser_of_system() as started:
        yield started


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a video of 5 s, its result.json and its report."""
    root = tmp_path_factory.mktemp("report")
    tracked_video(root / "a.mp4").write_json(root / "a" / "result.json")
    assert main([str(root / "a" / "result.json"), "--noVideo"]) == 0
    return root / "a"


@pytest.fixture
def opened(browser: Any, folder: Path) -> Iterator[Page]:
    page = Page(browser, folder / "report.html")
    page.load_video()
    yield page
    page.close()
    assert page.faults == []


@pytest.fixture(scope="module")
def people(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Page, Result]]:
    """Open the report of four people, without its video; with the result as it was read."""
    root = tmp_path_factory.mktemp("people")
    made_result().write_json(root / "result.json")
    result = Result.read_json(root / "result.json")
    write_report(result, root, PageVideo("source", root / "a.mp4"), Edits())
    page = Page(browser, root / "report.html")
    yield page, result
    page.close()


def tables(result: Result, folder: Path) -> list[str]:
    """Return the tables that the command writes."""
    writers = {"rttm": write_rttm, "vtt": write_vtt, "csv": write_speech_csv}
    for name, write in writers.items():
        write(result, folder / name)
    return [(folder / name).read_text(encoding="utf-8") for name in writers]


SHOWN = "[exportsOf.rttm(), exportsOf.vtt(), exportsOf.csv()]"


def test_only_files_are_asked_for(opened: Page) -> None:
    opened.seek(2.0)
    assert len(opened.requests) >= 2
    assert {one.partition(":")[0] for one in opened.requests} <= {"file", "data", "blob"}


@pytest.mark.parametrize("share", [0.0, 0.5, 0.83])
def test_a_click_goes_to_its_time(opened: Page, share: float) -> None:
    canvas = opened.page.locator(".lane-canvas").first
    size = canvas.bounding_box()
    canvas.click(position={"x": size["width"] * share, "y": size["height"] / 2})
    opened.wait("!player.video.seeking")
    assert abs(opened.run("player.video.currentTime") - 5 * share) <= 1 / FPS


def test_dragging_goes_along(opened: Page) -> None:
    size = opened.page.locator(".lane-canvas").first.bounding_box()
    mouse = opened.page.mouse
    mouse.move(size["x"] + 10, size["y"] + 20)
    mouse.down()
    mouse.move(size["x"] + 0.8 * size["width"], size["y"] + 20, steps=4)
    mouse.up()
    assert abs(opened.run("player.video.currentTime") - 4) <= 2 / FPS


CLIPS = {
    "25": {"fps": 25},
    "23.976": {"fps": Fraction(24000, 1001)},
    "60": {"fps": 60},
    "late": {"fps": 25, "late_s": 0.72},
    "late by half a frame": {"fps": 25, "late_s": 0.7},
}


@pytest.mark.parametrize("clip", CLIPS.values(), ids=CLIPS)
def test_boxes_lie_on_the_faces(browser: Any, tmp_path: Path, clip: dict[str, Any]) -> None:
    """In 20 images: the box is that of the result, and of what the image itself shows."""
    result = tracked_video(tmp_path / "a.mp4", **clip)
    write_report(result, tmp_path, PageVideo("source", tmp_path / "a.mp4"), Edits(), embed=True)
    page = Page(browser, tmp_path / "report.html")
    page.load_video()
    (track,) = result.tracks
    first_s = track.start / FPS
    for time_s in np.linspace(first_s, 4.9, 20).tolist():
        shown_s = page.seek(time_s)
        assert abs(shown_s - time_s) <= float(1 / result.video.fps) + 0.03
        (mark,) = page.run("overlay.marks")
        frame = int(shown_s * FPS + 0.501)  # times of images come in microseconds
        index = min(max(frame, track.start), track.stop - 1) - track.start
        box = np.array(mark["box"], np.float32)
        if clip["fps"] <= FPS:
            assert iou(box, track.boxes[index]) >= 0.99
        seen = np.array(page.run(SEEN), np.float32)
        # Of a source with more than 25 images/s, the analysis saw only some.
        assert iou(box, seen) >= (0.9 if clip["fps"] <= FPS else 0.75), (shown_s, box, seen)
        assert mark["speaking"] is (1 <= frame / FPS < 3)
    page.close()
    assert page.faults == []


SEEN = """() => {
  const { video } = player;
  const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight);
  const context = canvas.getContext("2d");
  context.drawImage(video, 0, 0);
  const { data, width, height } = context.getImageData(0, 0, canvas.width, canvas.height);
  let box = [width, height, 0, 0];
  for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) {
    if (data[4 * (y * width + x) + 1] < 128) continue;
    const [left, top, right, bottom] = box;
    box = [Math.min(left, x), Math.min(top, y), Math.max(right, x + 1), Math.max(bottom, y + 1)];
  }
  return box;
}"""


def test_boxes_are_drawn_where_they_are(opened: Page) -> None:
    opened.seek(2.0)
    opened.run("overlay.setMode('all')")
    edge = """() => {
      const canvas = format.byId("overlay");
      const scale = canvas.width / model.data.video.width;
      const [x1, y1, x2, y2] = overlay.marks[0].box.map(value => Math.round(value * scale));
      const context = canvas.getContext("2d");
      const alpha = (x, y) => context.getImageData(x, y, 1, 1).data[3];
      const middle = [(x1 + x2) >> 1, (y1 + y2) >> 1];
      return [alpha(x1, middle[1]), alpha(x2, middle[1]), alpha(...middle), alpha(middle[0], y2)];
    }"""
    left, right, middle, bottom = opened.run(edge)
    assert min(left, right, bottom) > 200 and middle == 0


def test_modes_of_the_boxes(opened: Page) -> None:
    found = {}
    for name in ("off", "speaking", "all"):
        opened.page.locator(f"input[value={name}]").check(force=True)
        counts = []
        for time_s in (0.5, 2.0):
            opened.seek(time_s)
            counts.append(len(opened.run("overlay.marks")))
        found[name] = counts
    assert found == {"off": [0, 0], "speaking": [0, 1], "all": [1, 1]}


def test_the_marked_video_has_boxes_already(browser: Any, folder: Path, tmp_path: Path) -> None:
    result = Result.read_json(folder / "result.json")
    write_report(result, tmp_path, PageVideo("marked", folder.parent / "a.mp4"), Edits())
    page = Page(browser, tmp_path / "report.html")
    page.load_video()
    page.seek(2.0)
    assert page.run("overlay.marks") == []
    assert page.page.locator("input[value=off]").is_checked()
    page.close()
    assert page.faults == []


def test_the_page_finds_the_segments_of_the_result(people: tuple[Page, Result]) -> None:
    page, result = people
    page.run("model.load([], 0)")
    found = page.run("model.segments")
    assert [
        (one["track"], one["start"] / FPS, one["stop"] / FPS, one["score"]) for one in found
    ] == [
        (
            one.track,
            one.start_s,
            one.stop_s,
            None if one.score is None else round(one.score * 10000),
        )
        for one in result.segments
    ]


@pytest.mark.parametrize("value", [-1.5, -0.05, 0.0, 0.35, 2.0])
def test_the_threshold_in_the_page_and_in_the_command(
    people: tuple[Page, Result], tmp_path: Path, value: float
) -> None:
    page, result = people
    page.run("model.load([], 0)")
    page.page.locator("#threshold").fill(str(value))
    assert page.run(SHOWN) == tables(apply_edits(result, Edits(threshold=value)), tmp_path)


def random_edits(rng: np.random.Generator, length: int) -> list[dict[str, Any]]:
    """Return edits that can be applied to the made result one after the other."""
    owners: dict[int, set[int]] = {0: {0, 2}, 1: {1, 4}, 2: {3}, 3: {5}}
    made: list[dict[str, Any]] = []
    for number in range(length):
        kind = rng.choice(["rename", "merge", "split", "move", "draw", "trim"])
        person, other = (int(one) for one in rng.choice(list(owners), 2))
        start = int(rng.integers(0, 1500))
        stop = start + int(rng.integers(1, 200))
        whose = "offscreen" if rng.random() < 0.2 else person
        edit: dict[str, Any] = {"edit": str(kind), "person": whose, "start": start, "stop": stop}
        if kind == "rename":
            names = [None, "Ann", " Bob\tLee ", '<b> "é", 日本']
            name = names[int(rng.integers(len(names)))]
            edit = {"edit": "rename", "person": person, "name": name}
        elif kind == "merge":
            if person == other:
                continue
            edit = {"edit": "merge", "person": person, "into": other}
            owners[other] |= owners.pop(person)
        elif kind == "split":
            if len(owners[person]) < 2:
                continue
            track = int(rng.choice(sorted(owners[person])))
            owners[person].remove(track)
            owners[10 + number] = {track}
            edit = {"edit": "split", "track": track, "person": 10 + number}
        elif kind == "move":
            edit["to"] = [other, "offscreen", "nobody"][int(rng.integers(3))]
        elif kind == "trim":
            first = int(rng.integers(0, 1500))
            edit |= {"new_start": first, "new_stop": first + int(rng.integers(1, 100))}
        made.append(edit)
    return made


def test_edits_in_the_page_and_in_the_command(people: tuple[Page, Result], tmp_path: Path) -> None:
    """A hundred lists of every kind of edit give the same tables here and there."""
    page, result = people
    rng = np.random.default_rng(3)
    lists = [random_edits(rng, int(rng.integers(1, 9))) for _ in range(100)]
    values = [float(one) for one in rng.choice([0, 0.5, -0.5], len(lists))]
    shown = page.run(
        f"([lists, values]) => lists.map((list, i) => (model.load(list, values[i]), {SHOWN}))",
        [lists, values],
    )
    for edits, value, found in zip(lists, values, shown, strict=True):
        path = tmp_path / "edits.json"
        path.write_text(json.dumps({"version": 1, "threshold": value, "edits": edits}))
        assert found == tables(apply_edits(result, Edits.read_json(path)), tmp_path), edits


def test_the_keyboard_alone(browser: Any, folder: Path, tmp_path: Path) -> None:
    """Go along, select, trim, draw, move and rename; save; the command writes the same tables."""
    page = Page(browser, folder / "report.html")
    page.load_video()
    press = page.page.keyboard.press
    press("ArrowDown")
    press("Enter")
    page.page.keyboard.type("Ann Lee")
    press("Enter")
    press("]")
    assert page.run("[player.video.currentTime, lanes.findSelected().stop]") == [1, 75]
    page.wait("!player.video.seeking && player.shown === 1")
    press("ArrowRight")
    page.wait("!player.video.seeking && player.shown > 1.03")
    assert page.run("Math.round(player.shown * 25)") == 26
    press("i")
    assert page.run("lanes.findSelected().start") == 26
    press("End")
    press("Shift+ArrowLeft")
    page.wait("!player.video.seeking")
    press("n")
    assert page.run("model.segments.map(one => [one.start, one.stop])") == [[26, 75], [100, 125]]
    press("m")
    press("ArrowDown")
    press("Enter")  # off-screen
    assert page.run("model.segments.map(one => one.speaker)") == [0, "offscreen"]
    press("Control+z")
    assert page.run("model.segments.map(one => one.speaker)") == [0, 0]
    press("Control+Shift+z")
    press("ArrowUp")
    assert page.run("document.activeElement.dataset.speaker") == "0"
    press("?")
    assert page.run("format.byId('help-dialog').open") is True
    press("Escape")
    with page.page.expect_download() as saved:
        press("Control+s")
    saved.value.save_as(tmp_path / "edits.json")
    shown = page.run(SHOWN)
    page.close()
    assert page.faults == []
    assert "Ann_Lee" in shown[0] and "offscreen" in shown[0]
    result = str(folder / "result.json")
    flags = ["--edits", str(tmp_path / "edits.json"), "--outputFolder", str(tmp_path), "--noVideo"]
    assert main([result, *flags]) == 0
    names = ("speech.rttm", "speech.vtt", "speech.csv")
    assert [(tmp_path / "a" / name).read_text() for name in names] == shown
    again = Page(browser, tmp_path / "a" / "report.html")
    assert again.run(SHOWN) == shown
    assert again.run("model.list.length") == 4
    again.close()


def test_exports_are_what_is_shown(people: tuple[Page, Result], tmp_path: Path) -> None:
    page, _ = people
    page.run("model.load([{edit: 'rename', person: 1, name: 'Zoë'}], 0.5)")
    shown = page.run(SHOWN)
    for place, name in enumerate(("speech.rttm", "speech.vtt", "speech.csv")):
        page.page.locator("#export").click()
        with page.page.expect_download() as saved:
            page.page.get_by_role("menuitem", name=name).click()
        saved.value.save_as(tmp_path / name)
        assert (tmp_path / name).read_text(encoding="utf-8") == shown[place]


def test_a_link_leads_back(browser: Any, folder: Path) -> None:
    page = Page(browser, folder / "report.html", "#t=3.2&threshold=3")
    page.load_video()
    page.wait("!player.video.seeking && player.video.currentTime === 3.2")
    assert page.run("[model.segments.length, format.byId('threshold').value]") == [0, "3"]
    page.run("player.seek(1.6)")
    page.page.locator("#threshold").fill("2.5")
    page.wait("location.hash === '#t=1.60&threshold=2.5'")
    page.close()


def test_edits_survive_a_reload(browser: Any, folder: Path) -> None:
    page = Page(browser, folder / "report.html")
    page.run("model.add({edit: 'rename', person: 0, name: 'Ann'})")
    page.page.reload(wait_until="commit")
    page.wait_ready()
    assert page.run("model.speakerName(0)") == "Ann"
    page.page.locator("#reset").click()
    assert page.run("[model.speakerName(0), model.canRedo]") == ["Face 0", True]
    page.close()


def test_trimming_and_drawing_with_the_mouse(opened: Page) -> None:
    opened.run("lanes.select(model.segments[0])")
    size = opened.page.locator(".lane-canvas").first.bounding_box()
    mouse, middle = opened.page.mouse, size["y"] + size["height"] / 2

    def drag(start_s: float, stop_s: float) -> None:
        mouse.move(size["x"] + size["width"] * start_s / 5, middle)
        mouse.down()
        mouse.move(size["x"] + size["width"] * stop_s / 5, middle, steps=3)
        mouse.up()

    opened.run(
        "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
    )
    drag(3.0, 3.4)
    opened.page.keyboard.down("Alt")
    drag(4.0, 4.6)
    opened.page.keyboard.up("Alt")
    found = opened.run("model.segments.map(one => [one.start, one.stop])")
    np.testing.assert_allclose(found, [[25, 85], [100, 115]], atol=1)
    kinds = opened.run("model.list.map(one => one.edit)")
    assert kinds == ["trim", "draw"]


def test_speech_is_dragged_to_another_lane(people: tuple[Page, Result], tmp_path: Path) -> None:
    """To a person, off-screen, to nobody; back by undo; nowhere by Escape or in its own lane."""
    page, result = people
    page.page.set_viewport_size({"width": 1280, "height": 1100})  # all lanes are in view
    page.run("model.load([], 0)")
    part = page.run("model.segments.find(one => one.speaker === 0 && one.stop - one.start > 50)")
    moved = {"edit": "move", "person": 0, "start": part["start"], "stop": part["stop"]}
    mouse = page.page.mouse

    def drag(target: str) -> None:
        size = page.page.locator('[data-speaker="0"] .lane-canvas').bounding_box()
        share = (part["start"] + part["stop"]) / 2 / FPS / result.video.duration_s
        mouse.move(size["x"] + size["width"] * share, size["y"] + size["height"] / 2)
        mouse.down()
        mouse.move(size["x"] + size["width"] * share, size["y"] - 30, steps=2)
        place = page.page.locator(target).bounding_box()
        mouse.move(place["x"] + place["width"] * 0.8, place["y"] + place["height"] / 2, steps=2)

    for attribute, to in (("speaker", 1), ("speaker", OFF), ("to", OFF), ("to", "nobody")):
        drag(f'[data-{attribute}="{to}"]')
        mouse.up()
        assert page.run("model.list") == [{**moved, "to": to}]
        shown, path = page.run(SHOWN), tmp_path / "edits.json"
        path.write_text(page.run("exportsOf.editsJson()"), encoding="utf-8")
        edits = Edits.read_json(path)
        edits.check(result, path)
        assert shown == tables(apply_edits(result, edits), tmp_path)
        page.page.keyboard.press("Control+z")
        assert page.run("model.list") == []
    drag('[data-speaker="1"]')
    page.page.keyboard.press("Escape")
    mouse.up()
    drag('[data-speaker="0"]')
    mouse.up()
    assert page.run("[model.list.length, laneDrop.isOpen()]") == [0, False]
    assert page.page.locator("#drop-zones").is_hidden()
    page.run("model.load([], 0)")


def test_an_hour_with_sixty_tracks(browser: Any, tmp_path: Path) -> None:
    """Six faces at any time; the file stays small, and the lanes are there."""
    result = hour_result()
    write_report(result, tmp_path, PageVideo("source", tmp_path / "a.mp4"), Edits())
    assert (tmp_path / "report.html").stat().st_size < 20e6
    page = Page(browser, tmp_path / "report.html")
    assert page.run("document.querySelectorAll('.lane').length") == 60
    assert page.run("model.segments.length") == len(result.segments)
    page.run("lanes.zoom(64, 1800)")
    page.close()


def hour_result() -> Result:
    rng = np.random.default_rng(0)
    length = 9000
    base = made_result(formed=False)
    tracks = []
    for number in range(60):
        start = number // 6 * length
        walk = rng.normal(0, 2, (length, 4)).cumsum(axis=0)
        boxes = np.clip(walk + np.array([300, 300, 420, 440]), 0, 1080).astype(np.float32)
        scores = np.array(random_scores(rng, length), np.float32)
        one = replace(base.tracks[0], id=number, start=start, boxes=boxes, scores=scores)
        tracks.append(replace(one, probabilities=scores))
    facts = replace(base.video, duration_s=3600.0)
    return replace(base, tracks=tracks, video=facts, shots=[Shot(0, 90_000)])


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everything_has_a_name(browser: Any, folder: Path, scheme: str) -> None:
    """What can be operated has an accessible name, and text stands out from its background."""
    page = Page(browser, folder / "report.html", color_scheme=scheme)
    nameless = """() => [...document.querySelectorAll("button, input, select, [role=listitem]")]
      .filter(one => !(one.getAttribute("aria-label") || one.innerText.trim() || one.labels?.length
                       || one.hidden))
      .map(one => one.outerHTML)"""
    assert page.run(nameless) == []
    contrast = """() => {
      const probe = document.createElement("canvas").getContext("2d");
      const style = getComputedStyle(document.documentElement);
      const light = name => {
        probe.fillStyle = style.getPropertyValue(name).trim();
        const parts = probe.fillStyle.match(/\\w\\w/g).map(hex => parseInt(hex, 16) / 255);
        const [r, g, b] = parts.map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05;
      };
      const ratio = (a, b) => Math.max(light(a), light(b)) / Math.min(light(a), light(b));
      return [["--ink", "--paper"], ["--faint", "--paper"], ["--faint", "--raised"],
              ["--accent", "--paper"], ["--on-accent", "--accent"]].map(pair => ratio(...pair));
    }"""
    assert min(page.run(contrast)) >= 4.5
    page.close()
