"""The published procedure prints the published lines; the fixed one corrects its errors."""

import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.parity.references import reference_table
from utils.metrics.columbia import (
    AVERAGED,
    SPEAKERS,
    PublishedTrack,
    SpeakerLabels,
    answer_as_published,
    evaluate,
    format_tables,
    make_table,
)
from utils.structures import ScoredTrack

PARITY: dict[str, Any] = reference_table("columbia")
THUMBNAIL = np.zeros((112, 112), np.uint8)


def speaker_labels(rows: list[list[int]]) -> SpeakerLabels:
    table = np.array(rows, np.float64)
    return SpeakerLabels(table[:, 0].astype(np.int64), table[:, 1:4], table[:, 4] == 1)


def test_published_lines() -> None:
    labels = {name: speaker_labels(rows) for name, rows in PARITY["labels"].items()}
    tracks = [
        PublishedTrack(
            track["frame"][0],
            np.array(track["x"]),
            np.array(track["y"]),
            np.array(track["s"]),
            np.array(scores, np.float64),
        )
        for track, scores in zip(PARITY["tracks"], PARITY["scores"], strict=True)
    ]
    table = make_table(labels, answer_as_published(labels, tracks))
    rows = [(name, table["speakers"][name]) for name in AVERAGED]
    lines = [f"{name}, ACC:{row['accuracy']:.2f}, F1:{row['f1']:.2f}" for name, row in rows]
    assert [*lines, f"Average F1:{table['average_f1']:.2f}"] == PARITY["printed"]


@pytest.mark.parametrize(
    ("faces", "answer"),
    [
        ([(42, 20, 1.0)], (True, True)),
        ([(40, 20, 1.0)], (False, False)),
        ([(41, 20, 1.0)], (False, False)),
        ([(60, 20, 1.0), (60, 20, -1.0)], (True, True)),
        ([(60, 20, -1.0), (60, 20, 1.0)], (True, True)),
        ([(60, 20, -1.0), (50, 20, 1.0)], (False, True)),
        ([(60, 20, 0.0)], (False, True)),
        ([(60, 0, 1.0)], (False, False)),
    ],
    ids=[
        "11 of 20 columns inside",
        "half inside is too little",
        "21 // 2 is 10",
        "higher score of equal overlaps",
        "whatever the order",
        "overlap comes before score",
        "0 is silent",
        "no area",
    ],
)
def test_published_matching(
    faces: list[tuple[float, float, float]], answer: tuple[bool, bool]
) -> None:
    """Each face is (centre x, half side, score); the label's left edge is at column 40 of them."""
    tracks = [
        PublishedTrack(
            0, np.full(5, x), np.full(5, 40.0), np.full(5, float(s)), np.full(4, float(score))
        )
        for x, s, score in faces
    ]
    labels = {"bell": speaker_labels([[1, 20, 0, 90, 1]])}
    found = answer_as_published(labels, tracks)["bell"]
    assert (found.speaking.tolist(), found.matched.tolist()) == ([answer[0]], [answer[1]])


# Six people side by side: 30 labels of 29.97 frames/s are 25 frames; the first 15 speak.
HEADS = {name: (100 * number + 10, 100, 60) for number, name in enumerate(SPEAKERS)}
LABELS = {
    name: speaker_labels([[frame, *head, int(frame < 15)] for frame in range(30)])
    for name, head in HEADS.items()
}
RIGHT = np.where(np.arange(25) < 12, 2.0, -2.0).astype(np.float32)  # labels 0 to 14 are frames 0-11


def track(
    name: str,
    video_height: int,
    scores: NDArray[np.float32],
    side: float = 40,
    shift: float = 0,
) -> ScoredTrack:
    """Return a still face of that side in the middle of a head, `shift` to the right."""
    left, top, head = HEADS[name]
    x, y = left + head / 2 + shift, top + head / 2
    box = np.array([x - 0.4 * side, y - side / 2, x + 0.4 * side, y + side / 2])  # taller than wide
    scaled = (box * video_height / 360).astype(np.float32)
    boxes = np.tile(scaled, (len(scores), 1))
    return ScoredTrack(0, 0, 0, boxes, scores, np.zeros_like(scores), THUMBNAIL)


def panel(video_height: int) -> list[ScoredTrack]:
    """Tracks of the panel with every way to go wrong but one person each."""
    return [
        track("bell", video_height, RIGHT),
        track("abbas", video_height, RIGHT),
        # boll: lost after two frames, which are labels 0 to 2; the published rule has no score
        track("boll", video_height, RIGHT[:2]),
        # lieb: never found
        # long: a badge on the lapel that says the contrary, while the face leans out
        track("long", video_height, RIGHT, shift=15),
        track("long", video_height, -RIGHT, side=10),
        # sick: called speaking throughout
        track("sick", video_height, np.full(25, 2.0, np.float32)),
    ]


def f1_of(table: dict[str, Any]) -> dict[str, float]:
    return {name: round(row["f1"], 2) for name, row in table["speakers"].items()}


MENDED = {"bell": 100, "boll": 33.33, "lieb": 0, "long": 100, "sick": 66.67, "abbas": 100}


@pytest.mark.parametrize("video_height", [720, 360, 1080])
def test_mended_knows_the_video_size(video_height: int) -> None:
    report = evaluate(LABELS, panel(video_height), video_height)
    table = report["mended"]
    assert f1_of(table) == MENDED
    assert table["average_f1"] == pytest.approx((100 + 100 / 3 + 0 + 100 + 200 / 3) / 5)
    found = {name: row["num_not_found"] for name, row in table["speakers"].items()}
    assert found == {"bell": 0, "boll": 27, "lieb": 30, "long": 0, "sick": 0, "abbas": 0}
    speaking = {name: row["num_speaking_not_found"] for name, row in table["speakers"].items()}
    assert speaking == {"bell": 0, "boll": 12, "lieb": 15, "long": 0, "sick": 0, "abbas": 0}
    assert table["speakers"]["boll"]["f1_of_found"] == 100
    assert table["speakers"]["sick"]["accuracy"] == 50


def test_published_has_its_faults() -> None:
    table = evaluate(LABELS, panel(720), 720)["published"]
    assert f1_of(table) == {**MENDED, "boll": 0, "long": 0}
    assert table["speakers"]["lieb"]["accuracy"] == 50  # not found counts as silent
    # half the size, and halved again: no face lies on its label any more
    assert evaluate(LABELS, panel(360), 360)["published"]["average_f1"] == 0


def test_last_frames_count_in_the_mended_table() -> None:
    late = np.where(np.arange(25) < 23, -2.0, 8.0).astype(np.float32)  # speaks in the last two
    frames = np.arange(30)
    labels = {
        name: SpeakerLabels(frames, known.squares, (frames / 29.97 * 25).astype(int) >= 23)
        for name, known in LABELS.items()
    }
    report = evaluate(labels, [track("bell", 720, late)], 720)
    assert report["published"]["speakers"]["bell"]["f1"] == 0
    assert report["mended"]["speakers"]["bell"]["f1"] > 50


def test_one_face_serves_one_label() -> None:
    """Two labels of one frame over one face: the nearer has it, the other was not found."""
    moved = LABELS["boll"].squares.copy()
    moved[:, 0] = HEADS["bell"][0] + 12
    labels = {**LABELS, "boll": SpeakerLabels(np.arange(30), moved, LABELS["boll"].speaking)}
    report = evaluate(labels, [track("bell", 720, RIGHT)], 720)
    published, mended = report["published"]["speakers"], report["mended"]["speakers"]
    assert (published["bell"]["f1"], published["boll"]["f1"]) == (100, 100)
    assert (mended["bell"]["f1"], mended["boll"]["f1"]) == (100, 0)
    assert mended["boll"]["num_not_found"] == 30


def test_no_tracks_and_missing_labels() -> None:
    report = evaluate(LABELS, [], 720)
    assert report["published"]["average_f1"] == report["mended"]["average_f1"] == 0
    assert report["mended"]["speakers"]["sick"]["num_not_found"] == 30
    others = {name: LABELS[name] for name in SPEAKERS if name != "sick"}
    with pytest.raises(ValueError, match=r"expected labels of bell, .*; no sick"):
        evaluate(others, [], 720)
    with pytest.raises(ValueError, match="video's height in pixels, got 0"):
        evaluate(LABELS, [], 0)


def test_report_is_json_and_text() -> None:
    report = evaluate(LABELS, panel(720), 720)
    assert json.loads(json.dumps(report)) == report
    lines = format_tables(report).splitlines()
    assert len(lines) == 2 + len(SPEAKERS) + 1
    boll = next(line for line in lines if line.startswith("boll"))
    assert boll.split() == ["boll", "50.00", "0.00", "60.00", "33.33", "100.00", "30", "27", "(12)"]
    assert lines[-1].split() == ["average", "33.33", "60.00", "(without", "abbas)"]
