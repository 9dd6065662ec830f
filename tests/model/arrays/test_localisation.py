"""The published learning rate, the loss, and localisation in chunks for several cameras."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from model.arrays.localisation import (
    hear,
    hear_views,
    load_localizer,
)
from model.arrays.objective import LocalisationObjective, learning_rate, localisation_loss
from model.localizers.tragic_crnn import TragicCRNN
from tests.made_array import write_wav
from tests.parity import filled
from tests.parity.fill import fill
from utils.arrays.sound import ArraySound, SoundChecks, open_array
from utils.datasets.tragic_talkers.layout import CameraView, TragicTalkers
from utils.datasets.tragic_talkers.loader import ChunkBatch
from utils.datasets.tragic_talkers.scaler import Scaler
from utils.datasets.tragic_talkers.synthetic_scene import SceneOptions, make_data, plan
from utils.features.gcc_phat import gcc_phat

SCHEDULE: dict[str, Any] = json.loads(
    Path(filled.__file__).with_name("tragic_schedule.json").read_text()
)
SCALER = Scaler("gcc_phat", np.zeros((16, 1, 64), np.float32), np.ones((16, 1, 64), np.float32))


def small() -> TragicCRNN:
    network = TragicCRNN(width=2)
    fill(network)
    return network.eval()


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> ArraySound:
    samples = np.random.default_rng(0).normal(0, 0.1, (48000 * 3, 16))
    return open_array(write_wav(tmp_path_factory.mktemp("sound") / "a.wav", samples), 16)


def test_the_rate_is_the_published_one() -> None:
    found = [learning_rate(SCHEDULE["lr_start"], epoch) for epoch in range(1, 51)]
    np.testing.assert_allclose(found, SCHEDULE["lr_by_epoch"], rtol=1e-12)
    plain = [learning_rate(1.0, epoch, compounding=False) for epoch in (1, 30, 31, 33)]
    np.testing.assert_allclose(plain, [1, 1, 0.9, 0.729])


def test_the_loss_of_one_frame() -> None:
    found = torch.tensor([[0.3, 0.8], [0.3, 0.8], [0.3, 0.8], [0.3, 0.8]])[None, None]
    known = [torch.tensor(row)[None, None] for row in ([1, 1, 0, 0], [1, 0, 1, 0])]
    batch = ChunkBatch(
        torch.empty(0),
        torch.empty(0),
        torch.full((1, 1, 4), 0.7),
        known[0] > 0,
        known[1] > 0,
        torch.ones(1, 1, dtype=torch.bool),
    )
    expected = (0.04 + 0.16) + 0.64 + 0.04 + 0.64
    assert localisation_loss(found, batch).item() == pytest.approx(expected, rel=1e-6)
    gone = batch._replace(counted=torch.zeros(1, 1, dtype=torch.bool))
    assert localisation_loss(found, gone).item() == 0


def test_grouped_cameras_learn_as_single_views() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(2, 16, 96, 64, generator=generator)
    xs = torch.rand(2, 3, 6, generator=generator)
    cameras = torch.tensor([[0, 4, 10], [1, 2, 0]])
    counted = torch.tensor([[True, True, True], [True, True, False]])
    batch = ChunkBatch(features, cameras, xs, xs > 0.3, xs > 0.5, counted)
    objective = LocalisationObjective(small())
    loss, right = objective(batch)
    single = [(row, column) for row in range(2) for column in range(3) if counted[row, column]]
    total, agreed = 0.0, 0
    for row, column in single:
        parts = (tensor[row : row + 1, column : column + 1] for tensor in batch[1:])
        alone, good = objective(ChunkBatch(features[row : row + 1], *parts))
        total += alone.item()
        agreed += int(good)
    assert loss.item() == pytest.approx(total, rel=1e-5)
    assert int(right) == agreed


def test_hearing_goes_chunk_by_chunk(sound: ArraySound) -> None:
    network = small()
    found = hear(network, sound, SCALER, [3, 7], 100)
    assert [len(heard) for heard in found] == [100, 100]
    for number, camera in enumerate((3, 7)):
        for chunk in range(2):
            samples = sound.read(96000 * chunk, 96000 * (chunk + 1))
            with torch.inference_mode():
                features = torch.from_numpy(gcc_phat(samples))[None]
                expected = network(features, torch.tensor([camera]))[0].numpy()
            rows = slice(60 * chunk, min(60 * (chunk + 1), 100))
            heard = found[number]
            there = np.stack((heard.positions[rows], heard.confidences[rows]), axis=1)
            np.testing.assert_allclose(there, expected[: len(there)], atol=1e-5)


def test_other_sound_is_an_error(tmp_path: Path, sound: ArraySound) -> None:
    stereo = open_array(write_wav(tmp_path / "a.wav", np.zeros((96000, 2))), 2)
    with pytest.raises(ValueError, match="16 microphones, found 2"):
        hear(small(), stereo, SCALER, [0], 60)
    short = open_array(write_wav(tmp_path / "b.wav", np.zeros((48000, 16))), 16)
    with pytest.raises(ValueError, match=r"at least 2 s of audio \(one chunk\), found 1\.00 s"):
        hear(small(), short, SCALER, [0], 30)
    assert sound.num_microphones == 16


def test_views_of_the_data_set(tmp_path: Path) -> None:
    make_data(tmp_path, plan("walk", 0, 1, SceneOptions(3, "noise")))
    layout = TragicTalkers(tmp_path)
    views = [CameraView("walk1", 9), CameraView("walk1", 2)]
    found = dict(hear_views(small(), layout, views, SCALER, SoundChecks()))
    assert list(found) == sorted(views)
    assert {len(heard) for heard in found.values()} == {90}
    alone = hear(small(), layout.audio("test", "walk1", 1), SCALER, [8], 90)[0]
    np.testing.assert_allclose(found[views[0]].positions, alone.positions, atol=1e-6)


@pytest.mark.parametrize("wrapped", [False, True], ids=["published", "own"])
def test_checkpoints_are_loaded(tmp_path: Path, wrapped: bool) -> None:
    state = small().state_dict()
    path = tmp_path / "model_050.ckpt"
    torch.save({"state_dict": state, "format": 1} if wrapped else state, path)
    found = load_localizer(path)
    assert not found.training
    torch.testing.assert_close(found.state_dict(), state)
    torch.save({"fc1.weight": torch.zeros(32, 16)}, path)
    with pytest.raises(ValueError, match="tragic_crnn"):
        load_localizer(path)
