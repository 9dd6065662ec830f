"""Choose what the timeline shows: a lane for each person, or for each track."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from utils.output.results import Result
from utils.structures import Person, ScoredTrack, Segment

MAX_LANES = 24

Stretch = tuple[float, float]  # start_s, stop_s


@dataclass(frozen=True, eq=False)
class Lane:
    """One row of the timeline."""

    label: str
    tracks: Sequence[ScoredTrack]  # none off-screen
    speech: Sequence[Stretch]
    thumbnail: NDArray[np.uint8] | None = None  # grey (H, W) or RGB (H, W, 3)

    @property
    def speaking_s(self) -> float:
        """Length of all speech together."""
        return sum(stop_s - start_s for start_s, stop_s in self.speech)


def find_lanes(result: Result) -> list[Lane]:
    """Return the people, or tracks, that speak most, in order of their first frames."""
    lanes = _of_people(result) if result.people else _of_tracks(result)
    order = sorted(lanes, key=lambda lane: (lane.speaking_s, _num_frames(lane)), reverse=True)
    shown = {id(lane) for lane in order[:MAX_LANES]}
    return [lane for lane in lanes if id(lane) in shown]


def offscreen_lane(result: Result) -> Lane | None:
    """Return the lane of speech off-screen, if there is any."""
    found = [part for part in result.segments if part.kind == "offscreen"]
    return Lane("off-screen", (), _stretches(found)) if found else None


def _of_people(result: Result) -> list[Lane]:
    tracks = {track.id: track for track in result.tracks}
    speech: dict[int | None, list[Segment]] = {}
    for part in result.segments:
        speech.setdefault(part.person, []).append(part)

    def lane(person: Person) -> Lane:
        own = [tracks[number] for number in person.tracks]
        image = person.thumbnail if person.thumbnail is not None else own[0].thumbnail
        return Lane(person.label, own, _stretches(speech.get(person.id, [])), image)

    return [lane(person) for person in result.people]


def _of_tracks(result: Result) -> list[Lane]:
    speech: dict[int | None, list[Segment]] = {}
    for part in result.segments:
        speech.setdefault(part.track, []).append(part)
    ordered = sorted(result.tracks, key=lambda track: (track.start, track.id))
    return [
        Lane(str(track.id), [track], _stretches(speech.get(track.id, [])), track.thumbnail)
        for track in ordered
    ]


def _stretches(segments: Sequence[Segment]) -> list[Stretch]:
    return [(part.start_s, part.stop_s) for part in segments]


def _num_frames(lane: Lane) -> int:
    return sum(len(track.boxes) for track in lane.tracks)
