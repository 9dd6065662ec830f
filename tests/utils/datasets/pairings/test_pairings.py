"""Who speaks in a pairing follows from the sound that was put to the face."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.made_people import QUIET, TONES, make_people
from utils.datasets.entities import EntityPart
from utils.datasets.pairings.pairings import SEAM, Pairer, Pairing

LENGTH = 80
NEVER = {"other", "elsewhere", "shifted", "silent", "faint", "noise"}


@pytest.fixture(scope="module")
def pairer(tmp_path_factory: pytest.TempPathFactory) -> Pairer:
    """Everybody at the own speed, or the tones would be others."""
    return Pairer(*make_people(tmp_path_factory.mktemp("people")), LENGTH, sped_share=0)


def person(pairer: Pairer, pairing: Pairing) -> str:
    people = {pairer.sources[part.source].person for part in pairing.parts}
    assert len(people) == 1
    return people.pop()


def loudness(pairing: Pairing, tone: int) -> NDArray[np.float64]:
    """How strong a tone is in each frame, relative to all of the sound."""
    frames = pairing.waveform.reshape(LENGTH, 640).astype(float)
    times = np.arange(640) / 16000
    found = np.abs(frames @ np.exp(-2j * np.pi * tone * times)) / 320
    return np.asarray(found / (np.sqrt((frames**2).mean()) + 1))


def several(pairer: Pairer, situation: str) -> list[Pairing]:
    return [pairer.draw(np.random.default_rng(seed), situation) for seed in range(12)]


def test_own_voice_is_heard_where_it_speaks(pairer: Pairer) -> None:
    for pairing in several(pairer, "own"):
        own = loudness(pairing, TONES[person(pairer, pairing)])
        assert pairing.own.all()
        assert (pairing.labels == 1).sum() >= 10
        assert np.median(own[pairing.labels == 1]) > 2 * np.median(own[pairing.labels == 0])


@pytest.mark.parametrize("situation", sorted(NEVER))
def test_nobody_speaks_without_the_own_voice(pairer: Pairer, situation: str) -> None:
    for pairing in several(pairer, situation):
        assert (pairing.labels == 0).all()
        assert not pairing.own.any()


def test_another_voice_is_heard(pairer: Pairer) -> None:
    for pairing in several(pairer, "other"):
        own = person(pairer, pairing)
        heard = {name: loudness(pairing, tone).max() for name, tone in TONES.items()}
        assert max(heard, key=lambda name: heard[name]) != own


def test_the_same_voice_is_of_another_recording(pairer: Pairer) -> None:
    """Else it could be the own voice, at the own moment."""
    read = pairer.store.read
    for seed in range(12):
        places: list[int] = []

        def note(place: int, start: int, stop: int, places: list[int] = places) -> EntityPart:
            places.append(place)
            return read(place, start, stop)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pairer.store, "read", note)
            pairing = pairer.draw(np.random.default_rng(seed), "elsewhere")
        seen, heard = places[: len(pairing.parts)], places[len(pairing.parts) :]
        assert heard
        assert not set(seen) & set(heard)


def test_picture_and_sound_are_played_at_one_speed(pairer: Pairer) -> None:
    speeds = set()
    sped = Pairer(pairer.store, pairer.sources, LENGTH)
    for seed in range(30):
        pairing = sped.draw(np.random.default_rng(seed), "own")
        assert sped.crops(pairing).shape == (LENGTH, 112, 112)
        assert pairing.waveform.shape == (LENGTH * 640,)
        for part in pairing.parts:
            speed = (part.stop - part.start) / part.num_frames
            assert 0.75 < speed < 1.33
            assert part.played.min() >= 0
            assert part.played.max() < part.stop - part.start
            assert (np.diff(part.played) >= 0).all()
            speeds.add(round(speed, 3))
        opened = sped.crops(pairing)[:, 80, 56] < 60
        assert set(pairing.labels[opened].tolist()) <= {1, -1}  # who moves the lips is heard
    assert 1.0 in speeds
    assert min(speeds) < 0.9
    assert max(speeds) > 1.1


def test_silence_is_quieter_than_a_voice(pairer: Pairer) -> None:
    for quiet in several(pairer, "silent"):
        whole = np.square(quiet.waveform.astype(float)).reshape(-1, 640).mean(1)
        for tone in TONES.values():
            assert loudness(quiet, tone).max() < 1.5
        assert len(whole) == LENGTH


@pytest.mark.parametrize("situation", ["over", "pauses"])
def test_own_voice_counts_beside_another(pairer: Pairer, situation: str) -> None:
    for pairing in several(pairer, situation):
        assert {0, 1} <= set(pairing.labels.tolist())
        assert pairing.own.all()


def test_edges_are_not_judged(pairer: Pairer) -> None:
    for pairing in several(pairer, "own"):
        known = pairing.labels[pairing.labels >= 0]
        assert (pairing.labels == -1).sum() >= 4
        for before, after in zip(pairing.labels[:-1], pairing.labels[1:], strict=True):
            assert {int(before), int(after)} != {0, 1}
        assert len(known) > LENGTH // 2


def test_mixed_pairings_fit_faces_sounds_and_labels(pairer: Pairer) -> None:
    people, situations = set(), 0
    for seed in range(40):
        pairing = pairer.draw(np.random.default_rng(seed))
        people.add(person(pairer, pairing))
        assert pairer.crops(pairing).shape == (LENGTH, 112, 112)
        assert pairing.waveform.shape == (LENGTH * 640,)
        assert pairing.labels.shape == pairing.own.shape == (LENGTH,)
        situations += len(set(pairing.own.tolist())) > 1
    assert people == {*TONES, QUIET}
    assert situations > 3  # in which the own voice goes or comes


def test_joints_of_parts_are_marked(pairer: Pairer) -> None:
    for seed in range(12):
        pairing = pairer.draw(np.random.default_rng(seed))
        joints = np.cumsum([part.num_frames for part in pairing.parts])[:-1]
        marked = np.flatnonzero(pairing.seams)
        assert len(joints) >= 1  # a pairing is longer than any source
        assert set(joints.tolist()) <= set(marked.tolist())
        assert all(np.abs(joints - frame).min() <= SEAM for frame in marked)


def test_the_seed_decides(pairer: Pairer) -> None:
    first, again = (pairer.draw(np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(first.waveform, again.waveform)
    assert first.parts == again.parts


def test_one_person_is_not_enough(tmp_path: Path) -> None:
    store, sources = make_people(tmp_path)
    own = [source for source in sources if source.person in ("ann", QUIET)]
    with pytest.raises(ValueError, match="at least two people who talk, found 1"):
        Pairer(store, own, LENGTH)
