"""An array beside the demo clip separates its speakers, by geometry and by a network."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from model.arrays.hearing import listen
from model.localizers.tragic_crnn import TragicCRNN
from tests.made_array import write_wav
from utils.arrays.fusion import ArrayOptions, FusionOptions, fuse
from utils.arrays.geometry import Camera, write_geometry
from utils.arrays.sound import SoundChecks
from utils.arrays.speech_positions import Heard
from utils.datasets.tragic_talkers.scaler import Scaler, write_scaler
from utils.datasets.tragic_talkers.synthetic_room import Room, simulate_room
from utils.datasets.tragic_talkers.synthetic_scene import synthetic_rig
from utils.media.audio_streams.pieces import SoundFormat, read_pieces
from utils.media.container import ReadOptions, ReadReport, probe

DEMO = Path(__file__).parents[3] / "demo"
SECONDS = 13  # both speak in turn; then at once
RATE = 48000


def labels() -> dict[str, Any]:
    content: dict[str, Any] = json.loads((DEMO / "001.labels.json").read_text())
    return content


def face_track(person: str) -> NDArray[np.float64]:
    """Return the person's boxes in each frame at 25/s."""
    boxes = [row[2:] for row in labels()["persons"][person]["faces"] if row[0] < SECONDS]
    return np.repeat(np.array(boxes, float), 25, axis=0)[: 25 * SECONDS]


def speaking(person: str) -> NDArray[np.bool_]:
    found = np.zeros(25 * SECONDS, bool)
    for start_s, stop_s, name, _ in labels()["speaking"]:
        if name == person:
            found[round(25 * start_s) : round(25 * stop_s)] = True
    return found


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> ArrayOptions:
    """Record with the made array where the demo clip's speakers are."""
    folder = tmp_path_factory.mktemp("array")
    geometry = synthetic_rig()
    camera = geometry.camera("cam06")
    sound = np.zeros(SECONDS * RATE)
    options = ReadOptions(duration_s=SECONDS)
    for position, part in read_pieces(
        probe(DEMO / "001.mp4"), options, SoundFormat(RATE), ReadReport()
    ):
        sound[position : position + len(part)] = part[:, 0] / 32768
    array = np.random.default_rng(0).normal(0, 1e-4, (len(sound), 16))
    for person in ("collins", "hopper"):
        boxes = face_track(person)
        places = camera.point(boxes[:, [0, 2]].mean(axis=1) / 1280, 2.0)
        gate = np.repeat(speaking(person).astype(float), RATE // 25)
        array += simulate_room(sound * gate, places, geometry.microphones, Room())
    write_wav(folder / "array.wav", 0.5 * array / np.abs(array).max())
    write_geometry(geometry, folder / "array.json")
    return ArrayOptions(folder / "array.wav", folder / "array.json", "cam06")


def test_the_array_tells_who_speaks(recorded: ArrayOptions) -> None:
    found, camera = listen(recorded, SoundChecks())
    assert camera.name == "cam06"
    right = []
    for person in ("collins", "hopper"):
        boxes = face_track(person)
        looks = np.zeros(len(boxes))  # as if the visual network could not tell
        scores = fuse(looks, boxes, 0, found, (camera, 1280.0), FusionOptions())
        right.append((scores > 0) == speaking(person))
    assert np.mean(right) > 0.93
    assert np.mean([speaking(person) for person in ("collins", "hopper")]) > 0.3


def test_a_trained_localizer_hears_instead(tmp_path: Path, recorded: ArrayOptions) -> None:
    network = TragicCRNN(width=1)
    (tmp_path / "model").mkdir()
    weights = tmp_path / "model" / "last.model"
    torch.save(network.state_dict(), weights)
    options = ArrayOptions(recorded.array, recorded.array_geometry, "cam06", weights)
    with pytest.raises(FileNotFoundError, match="expected a scaler"):
        listen(options, SoundChecks())
    ones = np.ones((16, 1, 64), np.float32)
    scaler = Scaler("gcc_phat", 0 * ones, ones)
    write_scaler(scaler, tmp_path / "feature_scaler.h5")
    found, _ = listen(options, SoundChecks())
    assert isinstance(found, Heard)
    assert len(found) == SECONDS * 30
    assert ((found.positions > 0) & (found.positions < 1)).all()


def test_wrong_input_is_an_error(tmp_path: Path, recorded: ArrayOptions) -> None:
    assert recorded.array is not None
    assert recorded.array_geometry is not None
    with pytest.raises(ValueError, match="require each other"):
        ArrayOptions(recorded.array)
    with pytest.raises(ValueError, match="the camera of the video, one of cam01"):
        listen(ArrayOptions(recorded.array, recorded.array_geometry), SoundChecks())
    stereo = write_wav(tmp_path / "stereo.wav", np.ones((RATE, 2)))
    with pytest.raises(ValueError, match="16 channels, one for each microphone, found 2"):
        listen(ArrayOptions(stereo, recorded.array_geometry, "cam06"), SoundChecks())
    assert isinstance(synthetic_rig().cameras[0], Camera)
