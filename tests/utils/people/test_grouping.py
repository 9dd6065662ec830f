"""Tracks of one person are found again across shots; what is seen together stays apart."""

import tracemalloc

import numpy as np
import pytest

from tests.made_faces import SIZE, directions, made_embeddings, made_track
from utils.people import grouping
from utils.people.grouping import form_people

THRESHOLD = 0.7


def formed(*given: tuple[int, int, int], **options: float) -> list[tuple[int, ...]]:
    """Return the tracks of each person, for tracks given as (person, start, length)."""
    people = directions(5)
    tracks = [made_track(i, start, length) for i, (_, start, length) in enumerate(given)]
    embeddings = [made_embeddings(i, people[who], **options) for i, (who, *_) in enumerate(given)]
    return [one.tracks for one in form_people(tracks, embeddings, THRESHOLD)]


@pytest.mark.parametrize(
    ("tracks", "people"),
    [
        ([], []),
        ([(0, 0, 50)], [(0,)]),
        ([(0, 0, 50), (0, 50, 50)], [(0, 1)]),
        ([(0, 0, 50), (1, 50, 50)], [(0,), (1,)]),
        ([(0, 0, 50), (0, 49, 50)], [(0,), (1,)]),
        ([(3, 0, 50), (1, 0, 50), (1, 90, 50), (3, 95, 50)], [(0, 3), (1, 2)]),
        ([(1, 40, 20), (2, 0, 30), (1, 80, 20)], [(1,), (0, 2)]),
    ],
    ids=[
        "nobody",
        "one track",
        "one person in two shots",
        "two people",
        "the same face twice at one time is a mirror or a twin",
        "two people in two shots",
        "in order of first appearance, not of tracks",
    ],
)
def test_form_people(tracks: list[tuple[int, int, int]], people: list[tuple[int, ...]]) -> None:
    assert formed(*tracks) == people


def test_people_have_their_best_thumbnail() -> None:
    person = directions(1)[0]
    tracks = [made_track(number, 50 * number) for number in range(3)]
    qualities = [0.3, 0.9, 0.5]
    embeddings = [made_embeddings(i, person, quality=one) for i, one in enumerate(qualities)]
    (found,) = form_people(tracks, embeddings, THRESHOLD)
    assert found.thumbnail is embeddings[1].thumbnail
    assert (found.id, found.tracks, found.uncertain, found.name) == (0, (0, 1, 2), False, None)


@pytest.mark.parametrize(
    ("length", "quality", "direction", "expected"),
    [
        (4, 0.6, 0, [((0, 2), False), ((1,), False)]),
        (50, 0.005, 1, [((0,), False), ((1, 2), False)]),
        (50, 0.005, 2, [((0,), False), ((1,), False), ((2,), True)]),
        (4, 0.6, 2, [((0,), False), ((1,), False), ((2,), True)]),
    ],
    ids=["short, clearly the first", "blurred, clearly the second", "blurred", "short"],
)
def test_uncertain_tracks(
    length: int, quality: float, direction: int, expected: list[tuple[tuple[int, ...], bool]]
) -> None:
    people = directions(3)
    tracks = [made_track(0, 0), made_track(1, 50), made_track(2, 100, length)]
    embeddings = [made_embeddings(i, people[i]) for i in range(2)]
    embeddings.append(made_embeddings(2, people[direction], quality=quality))
    found = form_people(tracks, embeddings, THRESHOLD)
    assert [(one.tracks, one.uncertain) for one in found] == expected


def test_an_uncertain_track_between_two_people_stays_alone() -> None:
    people = directions(2)
    tracks = [made_track(0, 0), made_track(1, 50), made_track(2, 100, 4)]
    between = (people[0] + people[1]) / np.linalg.norm(people[0] + people[1])
    embeddings = [made_embeddings(i, people[i]) for i in range(2)]
    embeddings.append(made_embeddings(2, between.astype(np.float32), noise=0.1))
    found = form_people(tracks, embeddings, THRESHOLD)
    assert [(one.tracks, one.uncertain) for one in found] == [
        ((0,), False),
        ((1,), False),
        ((2,), True),
    ]


@pytest.mark.parametrize("block", [3000, 100], ids=["at once", "in blocks"])
def test_a_long_video(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """An hour of 40 shots a minute between twelve people: each is found, and again the same."""
    monkeypatch.setattr(grouping, "BLOCK", block)
    rng = np.random.default_rng(3)
    people = directions(12)
    who = rng.integers(0, 12, 2400).tolist()
    tracks = [made_track(number, 37 * number, 37) for number in range(2400)]
    embeddings = [made_embeddings(i, people[one], noise=0.6) for i, one in enumerate(who)]
    found = form_people(tracks, embeddings, THRESHOLD)
    order = list(dict.fromkeys(who))
    assert [one.tracks for one in found] == [
        tuple(i for i, other in enumerate(who) if other == one) for one in order
    ]
    again = form_people(tracks, embeddings, THRESHOLD)
    assert [one.tracks for one in again] == [one.tracks for one in found]


def peak_bytes(num_tracks: int) -> int:
    """Return the most memory that forming people from so many tracks needs at a time."""
    people = directions(12)
    tracks = [made_track(number, 37 * number, 37) for number in range(num_tracks)]
    embeddings = [made_embeddings(i, people[i % 12], noise=0.6) for i in range(num_tracks)]
    tracemalloc.start()
    assert len(form_people(tracks, embeddings, THRESHOLD)) == 12
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_memory_grows_with_embeddings_not_with_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grouping, "BLOCK", 400)
    small, large = peak_bytes(800), peak_bytes(2400)
    assert large < 3 * small  # 9 times as many pairs
    assert large < 400**2 * 20 + 2400 * 6000  # a block of pairs, and 6 kB a track


def test_small_faces_join_the_person_that_is_clearly_nearest() -> None:
    """Beyond the threshold, a face is of the person it resembles if it resembles nobody else."""
    axes = np.eye(SIZE, dtype=np.float32)
    far = np.float32(0.25) * axes[0] + np.float32(np.sqrt(1 - 0.25**2)) * axes[2]
    tracks = [made_track(i, 100 * i) for i in range(4)]
    faces = [axes[0], axes[1], axes[0], far]
    embeddings = [made_embeddings(i, face, noise=0.05) for i, face in enumerate(faces)]
    assert [one.tracks for one in form_people(tracks, embeddings, THRESHOLD)] == [(0, 2, 3), (1,)]
