"""On a real clip, people are found again after a cut, get their names, and a hidden voice shows."""

import csv
import json
import os
from pathlib import Path

import av
import pytest
from PIL import Image

from demoTalkNet import main
from tests.programs import ROOT

DEMO = ROOT / "demo" / "001.mp4"  # Collins on the left, Hopper on the right; after a cut Hopper
PLACES = {"Eileen Collins": (210, 120, 580, 530), "Grace Hopper": (800, 120, 1210, 560)}

pytestmark = [
    pytest.mark.weights,
    pytest.mark.slow,
    pytest.mark.skipif("TALKNET_PRETRAIN" not in os.environ, reason="needs released weights"),
]


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """Make a folder of the two people's faces, cut out of the first image."""
    with av.open(str(DEMO)) as container:
        image: Image.Image = next(container.decode(video=0)).to_image()
    folder = tmp_path / "faces"
    for name, place in PLACES.items():
        (folder / name).mkdir(parents=True)
        image.crop(place).save(folder / name / "1.jpg")
    Image.new("RGB", (200, 200)).save(folder / "Nobody.png")
    return folder


def test_people_of_the_demo(faces: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    flags = ["--model", "lr_asd", "--detector", "yunet", "--embedder", "face_reid", "--noVideo"]
    flags += ["--outputFolder", str(tmp_path / "out"), "--people", str(faces), "--noReport"]
    assert main([str(DEMO), *flags]) == 0
    assert "Nobody.png: expected a face, found none; the image is left out" in caplog.text
    folder = tmp_path / "out" / "001"
    result = json.loads((folder / "result.json").read_text())
    assert [track["person"] for track in result["tracks"]] == [0, 1, 1]
    assert [one["name"] for one in result["people"]] == ["Eileen Collins", "Grace Hopper"]
    assert all(one["similarity"] > 0.5 for one in result["people"])
    assert not any("embeddings" in track for track in result["tracks"])
    assert result["embedder"]["name"] == "face_reid"
    (hidden,) = (part for part in result["segments"] if part.get("kind") == "offscreen")
    assert hidden["start_s"] == pytest.approx(17.4, abs=0.4)  # labelled from 17.37 s
    assert hidden["stop_s"] == pytest.approx(20.8, abs=0.4)
    speakers = {line.split()[7] for line in (folder / "speech.rttm").read_text().splitlines()}
    assert speakers == {"Eileen_Collins", "Grace_Hopper", "offscreen"}
    with (folder / "people.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["tracks"] for row in rows] == ["0", "1 2"]
    assert all((folder / row["thumbnail"]).is_file() for row in rows)
