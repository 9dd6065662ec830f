"""Pictures to train on are made of videos and backgrounds, marked by a teacher, and resumable."""

from dataclasses import replace
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from model.checkpoints.registry import find_file
from model.detectors.tiny_fcos import TinyFcos, TinyFcosNetwork, load
from model.shipped import tiny_fcos_marks, tiny_fcos_pictures
from model.shipped.tiny_fcos_marks import MarkedFrame, look
from model.shipped.tiny_fcos_pictures import (
    STORED,
    Sources,
    confirmed,
    errs,
    gather,
    mark,
    prepare,
    read_backgrounds,
    turn_heads,
)
from utils.boxes import iou
from utils.datasets.face_pictures.composites import Composite
from utils.datasets.face_pictures.cutouts import pack
from utils.model_options import DetectorOptions

ROOT = Path(__file__).parents[3]
WEIGHTS = ROOT / "pretrain" / "tiny_fcos.safetensors"


@pytest.fixture(scope="module")
def teacher() -> TinyFcos:
    options = DetectorOptions("tiny_fcos", confidence=0.5)
    return load(find_file(WEIGHTS), options, "cpu", "fp32")


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Sources:
    """Make a short video with two faces, cut from the demo clip, and two plain backgrounds."""
    videos = tmp_path_factory.mktemp("videos")
    with (
        av.open(str(ROOT / "demo" / "001.mp4")) as container,
        av.open(str(videos / "pair.mp4"), "w") as target,
    ):
        stream = target.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 640, 360, "yuv420p"
        for number, image in enumerate(islice(container.decode(video=0), 6)):
            small = image.reformat(640, 360)
            small.pts, small.time_base = number, Fraction(1, 25)
            target.mux(stream.encode(small))
        target.mux(stream.encode(None))
    backgrounds = tmp_path_factory.mktemp("backgrounds")
    for level in (60, 200):
        cv2.imwrite(str(backgrounds / f"{level}.png"), np.full((300, 500, 3), level, np.uint8))
    return Sources([videos], backgrounds)


@pytest.fixture(autouse=True)
def _sure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no face be hard: the small detector that teaches here is less certain than YuNet."""
    monkeypatch.setattr(tiny_fcos_pictures, "HARD", 0.0)
    monkeypatch.setattr(tiny_fcos_pictures, "CHOICE", 3)
    monkeypatch.setattr(tiny_fcos_marks, "EVERY", 1)


def test_people_are_gathered_from_videos(teacher: TinyFcos, sources: Sources) -> None:
    material = gather(teacher, sources)
    assert len(material.frames) == len(material.faceless) == 2  # of 6 the hardest of each 3
    assert len(material.cutouts) == 4
    assert {one.identity for one in material.cutouts} == {"pair"}
    for frame, faceless in zip(material.frames, material.faceless, strict=True):
        assert frame.clear.tolist() == [True, True]
        assert max(frame.image.shape) == STORED
        hidden = np.asarray(cv2.imdecode(faceless, cv2.IMREAD_COLOR_RGB), np.uint8)
        small = np.asarray(cv2.resize(hidden, frame.image.shape[1::-1]), np.uint8)
        changed = np.abs(small.astype(int) - frame.image).mean(axis=2)
        for x1, y1, x2, y2 in frame.boxes.astype(int):
            assert changed[y1:y2, x1:x2].mean() > 5
            changed[y1 - 2 : y2 + 3, x1 - 2 : x2 + 3] = 0
        assert changed.mean() < 2


def test_all_frames_are_kept_where_the_teacher_is_not_certain(
    teacher: TinyFcos, sources: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not any(one.hard for one in gather(teacher, sources).cutouts)
    monkeypatch.setattr(tiny_fcos_pictures, "HARD", 1.01)
    material = gather(teacher, sources)
    assert len(material.frames) == 6 and len(material.faceless) == 2
    assert len(material.cutouts) == 12 and all(one.hard for one in material.cutouts)


def test_frames_in_which_the_student_errs_are_kept(teacher: TinyFcos, sources: Sources) -> None:
    blind = TinyFcos(TinyFcosNetwork())
    assert len(gather(teacher, replace(sources, student=teacher)).frames) == 2
    assert len(gather(teacher, replace(sources, student=blind)).frames) == 6


def test_a_student_errs_where_it_misses_a_clear_face_or_finds_a_false_one(
    teacher: TinyFcos,
) -> None:
    image = demo_picture()
    encoded = np.asarray(cv2.imencode(".png", image[..., ::-1])[1], np.uint8)
    found = look(teacher, image)
    seen = MarkedFrame(encoded, found.boxes, found.confidences, np.ones(2, bool))
    assert not errs(teacher, seen)
    one_more = np.concatenate([found.boxes, [[500, 300, 560, 350]]]).astype(np.float32)
    confidences = np.append(found.confidences, 0.9).astype(np.float32)
    for clear in (True, False):
        missed = MarkedFrame(encoded, one_more, confidences, np.array([True, True, clear]))
        assert errs(teacher, missed) == clear
    assert errs(teacher, replace(seen, boxes=found.boxes[:1], clear=np.ones(1, bool)))


def test_turned_heads_have_faces_where_the_teacher_sees_them(
    teacher: TinyFcos, sources: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiny_fcos_pictures, "FRONTAL", 0.0)
    monkeypatch.setattr(tiny_fcos_pictures, "SURE", 0.5)
    three = replace(sources, num_turned=3)
    cutouts = gather(teacher, three).cutouts
    heads = turn_heads(teacher, cutouts, three)
    assert 1 <= len(heads) <= 3
    assert [one.face for one in heads] == [one.face for one in turn_heads(teacher, cutouts, three)]
    assert turn_heads(teacher, cutouts, replace(sources, num_turned=0)) == []
    for one in heads:
        assert one.modelled and one.identity == "pair"
        image, matte = one.decode()
        shown = np.where(matte[..., None] > 127, image, 127).astype(np.uint8)
        assert iou(np.array(one.face, np.float32), look(teacher, shown).boxes).max() > 0.99


def test_a_head_that_shows_no_face_is_not_used(teacher: TinyFcos) -> None:
    plain = np.full((200, 180, 3), 90, np.uint8)
    box = np.array([40, 40, 120, 140], np.float32)
    assert confirmed(teacher, pack("nobody", plain, plain[..., 0], box)) is None


def test_people_held_out_are_left_out(teacher: TinyFcos, sources: Sources) -> None:
    kept = Sources(sources.videos, sources.backgrounds, ("pair",))
    only = Sources(sources.videos, sources.backgrounds, ("pair",), only_held_out=True)
    assert gather(teacher, kept).frames == []
    assert len(gather(teacher, only).frames) == 2


def test_making_goes_on_where_it_stopped(
    teacher: TinyFcos, sources: Sources, tmp_path: Path
) -> None:
    two = replace(sources, num_turned=2)
    told: list[int] = []
    prepare(teacher, two, tmp_path / "a", 5, told.append)
    stopped = prepare(teacher, two, tmp_path / "a", 8, told.append)
    through = prepare(teacher, two, tmp_path / "b", 8, told.append)
    assert told == [*range(1, 9), *range(1, 9)]
    assert len(stopped) == len(through) == 8
    for index in range(8):
        one, other = stopped.read(index), through.read(index)
        assert np.array_equal(one.image, other.image)
        assert np.array_equal(one.boxes, other.boxes)


def demo_picture() -> NDArray[np.uint8]:
    with av.open(str(ROOT / "demo" / "001.mp4")) as container:
        image = next(container.decode(video=0))
        return np.asarray(cv2.resize(image.to_ndarray(format="rgb24"), (640, 360)), np.uint8)


def test_marks_are_where_the_teacher_sees_faces_or_where_they_were_put(teacher: TinyFcos) -> None:
    picture = demo_picture()
    seen = look(teacher, picture).boxes
    assert len(seen) == 2
    near = seen[0] + np.float32(2)
    elsewhere = np.array([10, 10, 30, 34], np.float32)
    marked = mark(teacher, Composite(picture, [near, elsewhere], [True, False]))
    scale = STORED / 640
    np.testing.assert_allclose(marked.boxes[0], seen[0] * scale, rtol=1e-5)
    np.testing.assert_allclose(marked.boxes[1], elsewhere * scale, rtol=1e-5)
    np.testing.assert_allclose(marked.boxes[2], seen[1] * scale, rtol=1e-5)
    assert marked.clear.tolist() == [True, False, True]


def test_backgrounds_are_needed(tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    with pytest.raises(FileNotFoundError, match="expected images"):
        read_backgrounds(tmp_path)
