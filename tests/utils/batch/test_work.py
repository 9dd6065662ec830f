"""What a result is made of, and which outputs a finished video has."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest

from demoTalkNet import make_parser
from utils.batch.work import VideoWork, digests
from utils.demo_options import DemoOptions
from utils.flags import read_groups
from utils.output.results import ModelRecord

TABLES = ("result.json", "scores.csv", "speech.csv", "speech.rttm", "speech.vtt", "timeline.png")


def unused(*_: object) -> NoReturn:
    raise AssertionError("nothing is loaded or analysed here")


def work(*flags: str) -> VideoWork[Any]:
    options = read_groups(make_parser().parse_args(flags), DemoOptions)
    return VideoWork(options, unused, unused, digests(options))


def identity(*flags: str, network: str = "ab", embedder: str | None = None) -> dict[str, Any]:
    models = SimpleNamespace(
        network_record=ModelRecord("lr_asd", "a.model", network, "why", ModelRecord("encoder")),
        detector_record=ModelRecord("yunet", "y.onnx", "cd", "because"),
        embedder_record=embedder and ModelRecord("face_reid", "f.bin", embedder),
        device="cpu",
    )
    return work(*flags).describe(models)[0]


@pytest.mark.parametrize(
    "flags",
    [
        ("--noVideo",),
        ("--officialTree",),
        ("--noReport",),
        ("--outputFolder", "elsewhere"),
        ("--nDataLoaderThread", "3"),
        ("--pretrainModel", "the_same_under_another_name.model"),
        ("--detectEvery", "2"),  # what it is on this device anyway
    ],
    ids=" ".join,
)
def test_what_does_not_count(flags: tuple[str, ...]) -> None:
    assert identity(*flags) == identity()


@pytest.mark.parametrize(
    ("flags", "changed"),
    [
        (("--minTrack", "11"), {"minTrack"}),
        (("--windows", "2"), {"windows"}),
        (("--start", "1"), {"start"}),
        (("--detectEvery", "1"), {"detectEvery"}),
        (("--precision", "bf16"), {"precision"}),
    ],
    ids=str,
)
def test_what_counts(flags: tuple[str, ...], changed: set[str]) -> None:
    before, after = identity(), identity(*flags)
    assert {key for key in before if before[key] != after[key]} == changed


def test_weights_count() -> None:
    assert identity(network="ef")["network"] == {
        "name": "lr_asd",
        "sha256": "ef",
        "encoder": {"name": "encoder", "sha256": None, "encoder": None},
    }
    assert "embedder" not in identity() or identity()["embedder"] == "auto"
    assert identity(embedder="12")["embedder"]["sha256"] == "12"


def test_files_count_by_their_content(tmp_path: Path) -> None:
    cuts, people = tmp_path / "cuts.txt", tmp_path / "people"
    people.mkdir()
    flags = ("--cuts", str(cuts), "--people", str(people))
    found = []
    for text, name in (("1", "ann.jpg"), ("1", "ann.jpg"), ("2", "ann.jpg"), ("2", "bob.jpg")):
        cuts.write_text(text)
        for path in people.iterdir():
            path.unlink()
        (people / name).write_text("image")
        found.append(tuple(identity(*flags)[key] for key in ("cuts", "people")))
    assert found[0] == found[1]
    assert [found[1][1] == found[2][1], found[1][0] == found[2][0]] == [True, False]
    assert [found[2][1] == found[3][1], found[2][0] == found[3][0]] == [False, True]


def test_outputs() -> None:
    assert work("--noVideo", "--noReport").outputs == TABLES
    assert work("--officialTree").outputs == (
        *(*TABLES, "video_out.mp4", "pywork/scores.pckl", "report.html"),
    )
