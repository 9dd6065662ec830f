"""Shots of two faces have the audio and the labels of their kind."""

from pathlib import Path

import numpy as np

from tests.made_people import make_people
from utils.datasets.entities import NOT_SPEAKING
from utils.datasets.pairings.film import FilmPairer
from utils.datasets.pairings.film_shots import SHOT_KINDS, shots_of_two
from utils.structures import SAMPLES_PER_FRAME


def test_shots(tmp_path: Path) -> None:
    pairer = FilmPairer(*make_people(tmp_path), seed=0, max_length=80)
    shots = list(shots_of_two(pairer, 0))
    assert shots
    assert {shot.kind for shot in shots} == set(SHOT_KINDS)
    for shot in shots:
        first, second = shot.faces
        num_frames = len(first.labels)
        assert first.person != second.person
        assert len(second.labels) >= num_frames
        assert shot.waveform.shape == (SAMPLES_PER_FRAME * num_frames,)
        turn = {"one": num_frames, "turns": num_frames // 2, "both": None}[shot.kind]
        own = np.stack([first.labels, second.labels[:num_frames]])
        if turn is not None:
            own[0, turn:] = own[1, :turn] = NOT_SPEAKING
        np.testing.assert_array_equal(shot.labels, own)


def test_voices_are_heard_in_their_turns(tmp_path: Path) -> None:
    """Under one voice the audio is the first face's; in turns it changes to the second's."""
    pairer = FilmPairer(*make_people(tmp_path), seed=0, max_length=80)

    def is_heard(waveform: np.ndarray, voice: np.ndarray) -> bool:
        voice = voice[: len(waveform)].astype(np.float64)
        return bool(np.corrcoef(waveform.astype(np.float64), voice)[0, 1] > 0.99)

    checked = set()
    for shot in shots_of_two(pairer, 0):
        first, second = (face.waveform for face in shot.faces)
        half = len(shot.labels[0]) // 2 * SAMPLES_PER_FRAME
        if not first[:half].any() or not second[half : len(shot.waveform)].any():
            continue
        checked.add(shot.kind)
        if shot.kind == "one":
            assert is_heard(shot.waveform, first)
        elif shot.kind == "turns":
            assert is_heard(shot.waveform[:half], first)
            assert is_heard(shot.waveform[half:], second[half:])
        else:
            assert not is_heard(shot.waveform, first)
    assert checked == set(SHOT_KINDS)
