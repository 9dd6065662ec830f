"""Custom data: reading and checking of tables, and preparation with the crops of the demo."""

import json
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.made_video import write_video
from utils.datasets.custom.check import check
from utils.datasets.custom.prepare import CustomPrepareOptions, prepare
from utils.datasets.custom.tables import CustomOptions, TableProblem, make_tracks, read_table
from utils.datasets.splits import DataOptions, custom_store, prepare_split
from utils.datasets.storage.entity_store import EntityStore
from utils.errors import UserError
from utils.media.container import ReadOptions, probe
from utils.media.video import read_frames
from utils.structures import CropPiece, FaceTrack
from utils.tracking.crops import CropOptions, crop_faces
from utils.tracking.tracks import GivenTracks

HEADER = "video,entity,time_s,x1,y1,x2,y2,label"
RATE = 16000


def pictures(count: int) -> Iterator[NDArray[np.uint8]]:
    """Smooth images, 160 x 120, that change slowly."""
    y, x = np.mgrid[:120, :160]
    for index in range(count):
        grey = 128 + 80 * np.sin((x + 2 * index) / 14) * np.cos(y / 11)
        yield np.repeat(grey[..., None], 3, axis=2).astype(np.uint8)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds at 30 frames/s with a tone."""
    path: Path = tmp_path_factory.mktemp("own") / "a.mp4"
    tone = (8000 * np.sin(np.arange(2 * RATE) / 8)).astype(np.int16)
    write_video(path, pictures(60), Fraction(30), tone)
    return path


def write_table(path: Path, rows: Sequence[str], header: str = HEADER) -> Path:
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def dense(video: str, entity: str, stop_s: float = 1.6, label: int = 1) -> list[str]:
    return [
        f"{video},{entity},{t / 10},{40 + t},30,{90 + t},80,{label}"
        for t in range(int(stop_s * 10) + 1)
    ]


@pytest.mark.parametrize(
    ("row", "kind", "part"),
    [
        ("a.mp4,x,0.5,1,2,3,4", "columns", "8 values"),
        ("a.mp4,x,zero,1,2,3,4,1", "value", "a number"),
        ("a.mp4,x,-1,1,2,3,4,1", "time", "0 or more"),
        ("a.mp4,x,nan,1,2,3,4,1", "time", "0 or more"),
        ("a.mp4,x,0.5,3,2,1,4,1", "box", "x1 < x2"),
        ("a.mp4,x,0.5,nan,2,3,4,1", "box", "pixels within"),
        ("a.mp4,x,0.5,1,2,3,4,2", "label", "unlabelled"),
        (",x,0.5,1,2,3,4,1", "value", "names of both"),
        ("a.mp4,x,0,5,6,7,8,1", "duplicate", "one row per time"),
    ],
    ids=["short", "text", "early", "no time", "reversed", "nan", "label", "unnamed", "twice"],
)
def test_invalid_rows_are_reported_and_skipped(
    tmp_path: Path, row: str, kind: str, part: str
) -> None:
    good = ["a.mp4,x,0,1,2,3,4,1", "a.mp4,x,1,1,2,3,4,0"]
    table = write_table(tmp_path / "train.csv", [good[0], row, good[1]])
    problems: list[TableProblem] = []
    (entity,) = read_table(table, None, problems)
    (problem,) = problems
    assert (problem.file, problem.line, problem.kind) == (str(table), 3, kind)
    assert part in problem.expected
    assert entity.times.tolist() == [0.0, 1.0]
    assert entity.labels.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "an empty file"),
        (b"video,entity,time,x1,y1,x2,y2,label\n", "video,entity,time,x1,y1,x2,y2,label"),
        (b"\xff\xfe\x00", "bytes that are not utf-16"),
        (HEADER.encode() + b"\na.mp4,\x8d,0,1,2,3,4,1\n", "bytes that are not utf-8-sig or cp1252"),
        (f"{HEADER}\n{'x' * 200_000},x,0,1,2,3,4,1\n".encode(), "field larger than field limit"),
    ],
    ids=["empty", "names", "half UTF-16", "no text", "endless"],
)
def test_invalid_tables(tmp_path: Path, content: bytes, found: str) -> None:
    table = tmp_path / "train.csv"
    table.write_bytes(content)
    problems: list[TableProblem] = []
    assert read_table(table, None, problems) == []
    assert [problem.kind for problem in problems] == ["table"]
    assert problems[0].found.startswith(found)


@pytest.mark.parametrize(
    ("encoding", "separator", "decimal", "lead"),
    [
        ("utf-8", ",", ".", ""),
        ("utf-8-sig", ";", ",", ""),
        ("utf-8-sig", ";", ".", "sep=;\r\n"),
        ("utf-16", "\t", ".", ""),
        ("utf-16-le", ";", ",", ""),
        ("utf-16-be", "\t", ",", ""),
        ("cp1252", ";", ",", ""),
        ("cp1252", "\t", ".", ""),
    ],
)
def test_tables_of_spreadsheets(
    tmp_path: Path, encoding: str, separator: str, decimal: str, lead: str
) -> None:
    rows = [
        HEADER + ",person,,",
        "a.mp4,Zoë,0.25,1.5,2,3.5,4,1,Jürgen,,",
        "a.mp4,Zoë,1,1,2,3,4,0,Jürgen",
    ]
    text = lead + "\r\n".join(rows).replace(",", separator).replace("0.25", f"0{decimal}25")
    text = text.replace("1.5", f"1{decimal}5").replace("3.5", f"3{decimal}5") + "\r\n"
    (tmp_path / "train.csv").write_bytes(text.encode(encoding))
    problems: list[TableProblem] = []
    (entity,) = read_table(tmp_path / "train.csv", None, problems)
    assert problems == []
    assert (entity.video, entity.name, entity.person) == ("a.mp4", "Zoë", "Jürgen")
    assert entity.times.tolist() == [0.25, 1.0]
    assert entity.boxes.tolist() == [[1.5, 2, 3.5, 4], [1, 2, 3, 4]]
    assert entity.labels.tolist() == [1, 0]
    assert entity.lines.tolist() == [2 + bool(lead), 3 + bool(lead)]


def test_mixed_decimal_separators(tmp_path: Path) -> None:
    rows = ["a.mp4;x;0,5;1;2;3;4;1", "a.mp4;x;1.000;1;2;3;4;1", "a.mp4;x;one,two;1;2;3;4;1"]
    table = write_table(tmp_path / "train.csv", rows, HEADER.replace(",", ";"))
    problems: list[TableProblem] = []
    (entity,) = read_table(table, None, problems)
    assert entity.times.tolist() == [0.5]
    assert [(problem.line, problem.found, problem.expected) for problem in problems] == [
        (3, "time_s '1.000'", "',' as the decimal separator, as in earlier rows"),
        (4, "time_s 'one,two'", "a number"),
    ]


def test_split_from_column_or_file_name(tmp_path: Path) -> None:
    rows = ["a.mp4,x,0,1,2,3,4,1,train", "a.mp4,y,0,1,2,3,4,1,val"]
    table = write_table(tmp_path / "all.csv", rows, HEADER + ",split")
    problems: list[TableProblem] = []
    assert [entity.name for entity in read_table(table, "val", problems)] == ["y"]
    plain = write_table(tmp_path / "val.csv", ["a.mp4,x,0,1,2,3,4,1"])
    assert [entity.split for entity in read_table(plain, None, problems)] == ["val"]
    assert read_table(plain, "train", problems) == []
    assert problems == []


def test_tracks_are_interpolated_and_split_at_gaps(tmp_path: Path) -> None:
    rows = ["a,x,0,0,0,10,10,1", "a,x,0.2,10,0,20,10,0", "a,x,2,50,0,60,10,-1"]
    (entity,) = read_table(write_table(tmp_path / "t.csv", rows), None, [])
    first, second = make_tracks(entity, CustomOptions())
    assert (first.face.start, second.face.start, second.line) == (0, 50, 4)
    np.testing.assert_allclose(first.face.boxes[:, 0], [0, 2, 4, 6, 8, 10])
    assert first.labels.tolist() == [1, 1, 1, 0, 0, 0]
    assert second.labels.tolist() == [-1]


def test_crops_are_those_of_the_demo(tmp_path: Path, video: Path) -> None:
    write_table(tmp_path / "train.csv", dense("a.mp4", "x"))
    report = prepare(tmp_path, "train", tmp_path / "store", video.parent)
    assert (report.problems, report.videos, report.entities, report.frames) == ([], 1, 1, 41)
    store = EntityStore(tmp_path / "store")
    (info,) = store.entities
    assert (info.name, info.num_frames, info.num_speaking) == ("a.mp4:x:0", 41, 41)
    times = np.arange(41) / 2.5
    boxes = np.stack([40 + times, 30 + 0 * times, 90 + times, 80 + 0 * times], axis=1)
    frames = read_frames(probe(video), None, ReadOptions())
    track = FaceTrack(0, boxes.astype(np.float32))
    (piece,) = (
        one
        for one in crop_faces(frames, GivenTracks([track]), CropOptions())
        if isinstance(one, CropPiece)
    )
    part = store.read(0)
    assert np.abs(part.faces.astype(int) - piece.crops).mean() < 1.5  # JPEG
    assert part.waveform.shape == (41 * 640,)
    assert np.abs(part.waveform[640:]).max() > 7000
    np.testing.assert_allclose(part.timestamps, np.arange(41) / 25)


def test_prepare_resumes_and_updates(tmp_path: Path, video: Path) -> None:
    table = write_table(tmp_path / "train.csv", [*dense("a.mp4", "x"), *dense("gone.mp4", "y")])
    store = tmp_path / "store"
    first = prepare(table, None, store, video.parent)
    assert [(p.kind, p.line) for p in first.problems] == [("video missing", 19)]
    assert (first.videos, first.skipped) == (1, 1)
    (file,) = store.glob("??/*.face")
    written = file.stat().st_mtime_ns
    again = prepare(table, None, store, video.parent, CustomPrepareOptions(num_processes=2))
    assert (again.videos, again.skipped, again.entities) == (1, 1, 1)
    assert file.stat().st_mtime_ns == written
    write_table(table, dense("a.mp4", "z", label=0))
    changed = prepare(table, None, store, video.parent)
    assert (changed.problems, changed.entities) == ([], 1)
    assert [info.name for info in EntityStore(store).entities] == ["a.mp4:z:0"]
    with pytest.raises(ValueError, match=r"expected --minLength 0\.4, .* remove the folder"):
        prepare(
            table, None, store, video.parent, CustomPrepareOptions(CustomOptions(min_length=0.1))
        )


def test_entities_missing_from_the_tables_are_removed(tmp_path: Path, video: Path) -> None:
    (tmp_path / "b.mp4").write_bytes(video.read_bytes())
    (tmp_path / "a.mp4").write_bytes(video.read_bytes())
    table = write_table(tmp_path / "train.csv", [*dense("a.mp4", "x"), *dense("b.mp4", "y")])
    seen: list[tuple[float, float]] = []
    how = CustomPrepareOptions(num_processes=2)
    prepare(table, None, tmp_path / "s", None, how, lambda done, total: seen.append((done, total)))
    assert seen == [(1, 2), (2, 2)]
    write_table(table, dense("b.mp4", "y"))
    report = prepare(table, None, tmp_path / "s")
    assert (report.videos, report.entities) == (1, 1)
    assert [info.name for info in EntityStore(tmp_path / "s").entities] == ["b.mp4:y:0"]
    write_table(table, [*dense("a.mp4", "x"), *dense("b.mp4", "y")])
    assert prepare(table, None, tmp_path / "s").entities == 2


UNREADABLE = {
    "missing column": f"{HEADER.replace('label', 'speaks')}\na.mp4,x,0,1,2,3,4,1\n".encode(),
    "no text": b"\x8d" * 40,
    "half UTF-16": HEADER.encode("utf-16")[:-1],
    "empty": b"",
    "endless row": f"{HEADER}\na.mp4,{'x' * 200_000},0,1,2,3,4,1\n".encode(),
}


@pytest.mark.parametrize("content", UNREADABLE.values(), ids=UNREADABLE)
def test_unreadable_table_removes_nothing(tmp_path: Path, video: Path, content: bytes) -> None:
    table = write_table(tmp_path / "train.csv", dense("a.mp4", "x"))
    assert prepare(table, "train", tmp_path / "store", video.parent).entities == 1
    before = {path: path.read_bytes() for path in (tmp_path / "store").rglob("*.*")}
    table.write_bytes(content)
    with pytest.raises(UserError, match=r"train\.csv.*: table: .*Nothing was changed in .*store"):
        prepare(table, "train", tmp_path / "store", video.parent)
    assert {path: path.read_bytes() for path in (tmp_path / "store").rglob("*.*")} == before


def test_a_table_without_rows_removes_nothing(tmp_path: Path, video: Path) -> None:
    table = write_table(tmp_path / "train.csv", dense("a.mp4", "x"))
    prepare(table, "train", tmp_path / "store", video.parent)
    write_table(table, [])
    report = prepare(table, "train", tmp_path / "store", video.parent)
    assert (report.videos, report.entities, report.removed) == (0, 0, 0)
    assert [info.name for info in EntityStore(tmp_path / "store").entities] == ["a.mp4:x:0"]


def test_unreadable_rows_remove_nothing(tmp_path: Path, video: Path) -> None:
    """Entities whose rows may be unreadable are kept until all rows can be read."""
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).write_bytes(video.read_bytes())
    good = [*dense("a.mp4", "x"), *dense("a.mp4", "y"), *dense("b.mp4", "z")]
    table = write_table(tmp_path / "train.csv", good)
    prepare(table, None, tmp_path / "store")
    x = dense("a.mp4", "x")
    wrong = [*x, "a.mp4,y,0,1,2,3,4,speaks", "b.mp4,z,0,1,2,3,4,speaks"]
    write_table(table, wrong)
    for _ in range(2):
        report = prepare(table, None, tmp_path / "store")
        assert (report.videos, report.entities, report.removed) == (1, 1, 0)
        assert [problem.kind for problem in report.problems] == ["kept", "label", "label"]
        assert report.problems[0].found.startswith("2 stored faces ")
        there = {info.name for info in EntityStore(tmp_path / "store").entities}
        assert there == {"a.mp4:x:0", "a.mp4:y:0", "b.mp4:z:0"}
    write_table(table, x)
    report = prepare(table, None, tmp_path / "store")
    assert (report.problems, report.entities, report.removed) == ([], 1, 2)
    assert [info.name for info in EntityStore(tmp_path / "store").entities] == ["a.mp4:x:0"]
    assert prepare(table, None, tmp_path / "store").removed == 0


def test_removals_are_logged(tmp_path: Path, video: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = DataOptions("own", tmp_path, video.parent, num_processes=1)
    table = write_table(tmp_path / "train.csv", [*dense("a.mp4", "x"), *dense("a.mp4", "y")])
    prepare_split(data, CustomOptions(), "train")
    assert "removed" not in caplog.text
    write_table(table, dense("a.mp4", "x"))
    prepare_split(data, CustomOptions(), "train")
    assert "1 stored faces were removed: the tables do not have them any more" in caplog.text
    table.write_bytes(b"")
    with pytest.raises(UserError, match=r"train\.csv, line 1: table: found an empty file"):
        prepare_split(data, CustomOptions(), "train")
    assert len(EntityStore(custom_store(tmp_path, "train"))) == 1


def test_entity_in_two_tables(tmp_path: Path, video: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(video.read_bytes())
    for name, label in (("one", 1), ("two", 0)):
        rows = [f"{row},train" for row in dense("a.mp4", "x", label=label)]
        write_table(tmp_path / f"{name}.csv", rows, HEADER + ",split")
    report = prepare(tmp_path, "train", tmp_path / "store")
    assert [(p.kind, Path(p.file).name) for p in report.problems] == [("duplicate", "two.csv")]
    assert (report.entities, EntityStore(tmp_path / "store").entities[0].num_speaking) == (1, 41)
    (tmp_path / "two.csv").unlink()
    report = prepare(tmp_path, "train", tmp_path / "store")
    assert (report.problems, report.removed) == ([], 0)
    assert len(EntityStore(tmp_path / "store")) == 1


def test_missing_faces_are_prepared_again(tmp_path: Path, video: Path) -> None:
    table = write_table(tmp_path / "train.csv", dense("a.mp4", "x"))
    prepare(table, None, tmp_path / "store", video.parent)
    (file,) = (tmp_path / "store").glob("??/*.face")
    content = file.read_bytes()
    file.unlink()
    report = prepare(table, None, tmp_path / "store", video.parent)
    assert (report.entities, report.removed, file.read_bytes()) == (1, 0, content)


def test_changed_person(tmp_path: Path, video: Path) -> None:
    for person in ("ann", "bob"):
        rows = [f"{row},{person}" for row in dense("a.mp4", "x")]
        table = write_table(tmp_path / "train.csv", rows, HEADER + ",person")
        prepare(table, None, tmp_path / "store", video.parent)
        assert [info.person for info in EntityStore(tmp_path / "store").entities] == [person]


def test_table_of_another_split_is_ignored(tmp_path: Path, video: Path) -> None:
    write_table(tmp_path / "train.csv", ["a.mp4,x,0.5,3,2,1,4,1"])
    write_table(tmp_path / "val.csv", dense("a.mp4", "x"))
    report = prepare(tmp_path, "val", tmp_path / "store", video.parent)
    assert (report.problems, report.entities) == ([], 1)
    assert [problem.kind for problem in check(tmp_path, video.parent).problems] == ["box"]


def test_two_entities_with_identical_boxes(tmp_path: Path, video: Path) -> None:
    rows = [*dense("a.mp4", "x"), *dense("a.mp4", "y", label=0)]
    write_table(tmp_path / "train.csv", rows)
    prepare(tmp_path, "train", tmp_path / "store", video.parent)
    found = {info.name: info.num_speaking for info in EntityStore(tmp_path / "store").entities}
    assert found == {"a.mp4:x:0": 41, "a.mp4:y:0": 0}
    (problem,) = check(tmp_path, video.parent).problems
    assert (problem.kind, problem.line) == ("overlap", 19)


def test_check_reports_problems_of_videos(tmp_path: Path, video: Path) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"no video at all")
    (tmp_path / "a.mp4").write_bytes(video.read_bytes())
    rows = [
        *dense("a.mp4", "x"),  # lines 2 to 18
        "a.mp4,x,7,1,1,20,20,1",  # after the end
        "a.mp4,x,1.7,200,1,220,20,1",  # beside the picture
        "a.mp4,short,0,1,1,20,20,1",
        "a.mp4,blank,0,100,1,120,20,",
        "a.mp4,blank,1,100,1,120,20,",
        "gone.mp4,x,0,1,1,20,20,1",
        "broken.mp4,x,0,1,1,20,20,1",
    ]
    write_table(tmp_path / "train.csv", rows)
    seen: list[tuple[float, float]] = []
    report = check(tmp_path, decode=True, progress=lambda done, total: seen.append((done, total)))
    found = sorted((problem.line, problem.kind) for problem in report.problems)
    assert found == [
        (19, "time"),
        (20, "box"),
        (21, "short"),
        (22, "unlabelled"),
        (24, "video missing"),
        (25, "video broken"),
    ]
    assert seen == [(1, 3), (2, 3), (3, 3)]
    facts = json.loads(json.dumps(report.as_dict()))
    assert facts["counts"] == dict.fromkeys(sorted(kind for _, kind in found), 1)
    summary = facts["splits"]["train"]
    assert (summary["videos"], summary["entities"], summary["frames"]) == (1, 2, 67)
    assert (summary["labelled"], summary["share_speaking"]) == (41, 1.0)
    assert list(report.lines())[-1].startswith("6 problems: 1 x box, 1 x short")


def test_check_reports_leaks_between_splits(tmp_path: Path, video: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(video.read_bytes())
    for split, entity in (("train", "x"), ("val", "x")):
        rows = [f"{row},ann" for row in dense("a.mp4", entity)]
        write_table(tmp_path / f"{split}.csv", rows, HEADER + ",person")
    report = check(tmp_path)
    assert [(p.kind, Path(p.file).name) for p in report.problems] == [
        ("duplicate", "val.csv"),
        ("leak", "val.csv"),
    ]
    assert report.splits["val"].persons == 1


def test_no_tables(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no \.csv file"):
        check(tmp_path)
