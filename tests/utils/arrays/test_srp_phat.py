"""Steering localises a generated moving speaker, and reports nothing in silence."""

import numpy as np
import pytest

from tests.made_array import write_wav
from utils.arrays.sound import ArraySound, open_array
from utils.arrays.srp_phat import steer
from utils.datasets.tragic_talkers.evaluation import compare
from utils.datasets.tragic_talkers.labels import ViewTruth
from utils.datasets.tragic_talkers.synthetic_room import Room
from utils.datasets.tragic_talkers.synthetic_scene import SceneOptions, make_scene, synthetic_rig
from utils.metrics.localisation import WIDTH, errors

RIG = synthetic_rig()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> ArraySound:
    scene = make_scene(RIG, SceneOptions(6, "noise", Room(order=1)), 3)
    return open_array(write_wav(tmp_path_factory.mktemp("scene") / "a.wav", scene.signals), 16)


@pytest.mark.parametrize("camera", [0, 5], ids=["at the side", "in the middle"])
def test_a_walker_is_found(folder: ArraySound, camera: int) -> None:
    scene = make_scene(RIG, SceneOptions(6, "noise", Room(order=1)), 3)
    eye = RIG.cameras[camera]
    truth = ViewTruth(eye.place(scene.path)[None] * WIDTH, scene.speaking[None])
    heard = steer(folder, RIG, eye, 180)
    found = errors([compare("walk", truth, heard)])
    assert found.distance < 44  # a degree
    assert found.detection < 10


def test_silence_is_no_speech(folder: ArraySound) -> None:
    heard = steer(folder, RIG, RIG.cameras[5], 400)
    assert heard.confidences[200:].max() < 0.1
    assert heard.confidences[:180].max() > 0.9


def test_another_array_is_an_error(folder: ArraySound) -> None:
    fewer = ArraySound(folder.files)
    fewer.num_microphones = 4
    with pytest.raises(ValueError, match=r"expected 16 channels.* found 4"):
        steer(fewer, RIG, RIG.cameras[0], 10)
    assert len(steer(folder, RIG, RIG.cameras[0], 0)) == 0
    assert np.isfinite(steer(folder, RIG, RIG.cameras[0], 1).positions).all()
