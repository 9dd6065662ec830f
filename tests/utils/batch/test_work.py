"""What results depend on, of models and files: what changes makes them anew, nothing else does."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from demoTalkNet import load_models, make_outputs, make_parser
from utils.batch.work import VideoWork, digests
from utils.demo_options import DemoOptions
from utils.flags import read_groups
from utils.output.results import ModelRecord


@dataclass(frozen=True)
class LoadedRecords:
    """The records of loaded models."""

    network_record: ModelRecord = ModelRecord("lr_asd", "a.model", "aa", "the first choice")
    detector_record: ModelRecord = ModelRecord("yunet", "b.onnx", "bb", "on a CPU")
    embedder_record: ModelRecord | None = ModelRecord("face_reid", "c.bin", "cc", "as asked for")
    device: str = "cpu"


def work_of(*flags: str) -> VideoWork[Any]:
    options = read_groups(make_parser().parse_args(flags), DemoOptions)
    return VideoWork(options, load_models, make_outputs, digests(options))


def identity(*flags: str, models: LoadedRecords | None = None) -> dict[str, Any]:
    return work_of(*flags).describe(models or LoadedRecords())[0]


def changed(*flags: str, models: LoadedRecords | None = None) -> set[str]:
    """Return the keys in which the identity differs from that of no flags."""
    before, now = identity(), identity(*flags, models=models)
    return {key for key in {*before, *now} if before.get(key) != now.get(key)}


def test_the_embedder_counts_by_its_weights() -> None:
    record = {"name": "face_reid", "sha256": "cc", "encoder": None}
    assert identity()["embedder"] == record
    lines = work_of().describe(LoadedRecords())[1]
    assert lines[2] == "embedder: as asked for"
    for sha256, keys in (("dd", {"embedder"}), ("cc", set())):
        other = ModelRecord("face_reid", "other.bin", sha256)
        assert changed(models=LoadedRecords(embedder_record=other)) == keys
    assert changed(models=LoadedRecords(embedder_record=None)) == {"embedder"}


@pytest.mark.parametrize(
    ("flags", "keys"),
    [
        (["--noOffscreen"], {"noOffscreen"}),
        (["--saveEmbeddings"], {"saveEmbeddings"}),
        (["--perTrack"], {"perTrack"}),
        (["--noVideo", "--noReport"], set()),
    ],
    ids=str,
)
def test_options_of_people_count(flags: list[str], keys: set[str]) -> None:
    assert changed(*flags) == keys


def add(folder: Path) -> None:
    (folder / "Bob.jpg").write_bytes(b"b")


def alter(folder: Path) -> None:
    (folder / "Ann" / "1.jpg").write_bytes(b"c")


def rename(folder: Path) -> None:
    (folder / "Ann").rename(folder / "Eve")


@pytest.mark.parametrize("change", [add, alter, rename])
def test_names_count_by_the_content_of_their_folder(
    tmp_path: Path, change: Callable[[Path], None]
) -> None:
    folder, moved = tmp_path / "faces", tmp_path / "moved"
    (folder / "Ann").mkdir(parents=True)
    (folder / "Ann" / "1.jpg").write_bytes(b"a")
    before = identity("--people", str(folder))
    assert before != identity()
    folder.rename(moved)
    assert identity("--people", str(moved)) == before
    change(moved)
    assert identity("--people", str(moved)) != before


def test_names_count_by_the_content_of_their_table(tmp_path: Path) -> None:
    table = tmp_path / "names.csv"
    table.write_text("person,name\n0,Ann\n")
    before = identity("--people", str(table))
    table.write_text("person,name\n0,Eve\n")
    assert identity("--people", str(table)) != before


def test_outputs(monkeypatch: pytest.MonkeyPatch) -> None:
    segments = ("speech.csv", "speech.rttm", "speech.vtt")
    tables = ("result.json", "scores.csv", *segments, "people.csv", "timeline.png")
    assert work_of("--noVideo", "--noReport").outputs == tables
    assert work_of().outputs == (*tables, "video_out.mp4", "report.html")
    monkeypatch.setenv("TALKNET_OFFICIAL_TREE", "1")
    assert work_of("--noVideo", "--noReport").outputs == (*tables, "pywork/scores.pckl")
