"""Tracks of one person are found again across shots; what is seen together stays apart."""

import numpy as np
import pytest

from tests.made_faces import directions, made_embeddings, made_track
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
        (50, 0.01, 1, [((0,), False), ((1, 2), False)]),
        (50, 0.01, 2, [((0,), False), ((1,), False), ((2,), True)]),
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
