"""Pairings as in films: known labels, the same for the same seed, for every person."""

from collections import Counter

import cv2
import numpy as np
import pytest

from tests.made_people import TONES, make_people
from utils.datasets.pairings.film import (
    FILM_SITUATIONS,
    MUTE_SITUATIONS,
    Conditions,
    FilmPairer,
    FilmPairing,
    coded,
    filmed,
)


@pytest.fixture(scope="module")
def pairer(tmp_path_factory: pytest.TempPathFactory) -> FilmPairer:
    return FilmPairer(*make_people(tmp_path_factory.mktemp("people")), seed=3)


@pytest.fixture(scope="module")
def pairings(pairer: FilmPairer) -> list[FilmPairing]:
    return list(pairer)


def test_every_person_has_all_situations(pairer: FilmPairer, pairings: list[FilmPairing]) -> None:
    assert len(pairer) == len(pairings)
    for person in {one.person for one in pairings}:
        counts = Counter(one.situation for one in pairings if one.person == person)
        assert counts in (Counter(FILM_SITUATIONS), Counter(MUTE_SITUATIONS))
    talking = {one.person for one in pairings if one.situation == "own"}
    assert talking == set(TONES)


def test_shapes_agree(pairings: list[FilmPairing]) -> None:
    for one in pairings:
        num_frames = len(one.labels)
        assert one.crops.shape == (num_frames, 112, 112)
        assert one.waveform.shape == (640 * num_frames,)
        assert one.waveform.dtype == np.int16


def test_only_the_own_voice_is_speech(pairings: list[FilmPairing]) -> None:
    for one in pairings:
        if one.situation not in ("own", "over"):
            assert (one.labels == 0).all()
    spoken = Counter(one.person for one in pairings if (one.labels == 1).any())
    assert set(spoken) == set(TONES)


def test_the_voice_is_late_by_the_offset(pairer: FilmPairer) -> None:
    """The tone of the own voice stands out in frames that are labelled speech, moved by it."""
    for one in pairer:
        late = one.conditions.offset
        if one.situation != "own" or one.conditions.noise_db is not None or late <= 0:
            continue
        assert not one.waveform[: 640 * late].any()


def test_the_seed_decides(pairer: FilmPairer) -> None:
    again = FilmPairer(pairer.store, pairer.sources, seed=3)
    other = FilmPairer(pairer.store, pairer.sources, seed=4)
    first = next(iter(pairer))
    np.testing.assert_array_equal(next(iter(again)).waveform, first.waveform)
    np.testing.assert_array_equal(next(iter(again)).crops, first.crops)
    found = next(iter(other))
    assert found.waveform.shape != first.waveform.shape or (found.waveform != first.waveform).any()


def moving() -> np.ndarray:
    crops = np.zeros((30, 112, 112), np.uint8)
    for frame in range(30):
        crops[frame, 40 : 50 + frame, 30:80] = 200
    return crops


def test_without_conditions_nothing_changes() -> None:
    np.testing.assert_array_equal(filmed(moving(), Conditions()), moving())


@pytest.mark.parametrize(
    ("conditions", "most"),
    [
        (Conditions(crf=38), 12),
        (Conditions(face_size=40), 25),
        (Conditions(face_size=40, crf=38), 30),
    ],
    ids=["codec", "small", "both"],
)
def test_images_get_worse_but_stay_alike(conditions: Conditions, most: float) -> None:
    changed = filmed(moving(), conditions)
    assert changed.shape == (30, 112, 112)
    error = np.abs(changed.astype(float) - moving()).mean()
    assert 0 < error < most


def test_few_images_a_second_repeat() -> None:
    changed = filmed(moving(), Conditions(fps=15))
    different = {one.tobytes() for one in changed}
    assert len(different) == pytest.approx(30 * 15 / 25, abs=1)


def test_one_person_is_not_enough(pairer: FilmPairer) -> None:
    person = next(one for one in pairer.sources if one.talks).person
    with pytest.raises(ValueError, match="at least two people who talk, found 1"):
        FilmPairer(pairer.store, [one for one in pairer.sources if one.person == person])


@pytest.mark.parametrize("side", [112, 96])
def test_coding_is_the_same_each_time(side: int) -> None:
    rng = np.random.default_rng(0)
    rough = rng.integers(0, 256, (60, side, side)).astype(np.uint8)
    images = np.stack([cv2.GaussianBlur(image, (0, 0), 3) for image in rough])
    first = coded(images, 28)
    assert first.shape == images.shape and 0 < np.abs(first.astype(int) - images).mean() < 10
    for _ in range(10):
        np.testing.assert_array_equal(coded(images, 28), first)
