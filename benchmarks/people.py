"""Measure who is recognised over cuts, and speech off screen, against labelled clips.

python -m benchmarks.people FOLDER_OF_LABELLED_CLIPS RESULTS

The folder holds labels, NAME.json or NAME.labels.json; RESULTS holds NAME/result.json of the same
clips. Prints a row per clip and one for all: tracks that could be labelled, pairs of them that show
one person, pairwise precision and recall; diarisation error (DER) with a speaker per person and
with one per track; off-screen speech that is labelled, the share of it that is found and the share
of what is found that is wrong.
"""

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from utils.boxes import iou
from utils.output.results import Result
from utils.people.grouping import form_people
from utils.structures import FPS, ScoredTrack, Segment, TrackEmbeddings

STEP_S = 0.01  # of diarisation
COLLAR_S = 0.2  # around labelled edges nothing is counted
SAMPLE_S, MIN_IOU = 0.25, 0.4  # how tracks are matched to labelled faces
HOUR = 2400  # tracks of an hour with 40 shots a minute

Labels = Mapping[str, Any]
Speech = Mapping[str, NDArray[np.bool_]]  # by speaker, one value a step


@dataclass
class PeopleCounts:
    """What is counted in a clip; sums over clips are counts again."""

    tracks: int = 0
    same_pairs: int = 0  # pairs of tracks of one labelled person
    found_pairs: int = 0  # pairs of tracks of one person of the result
    right_pairs: int = 0
    speech_s: float = 0.0  # of visible people, as labelled
    person_error_s: float = 0.0
    track_error_s: float = 0.0
    offscreen_s: float = 0.0  # as labelled
    offscreen_found_s: float = 0.0
    offscreen_false_s: float = 0.0

    def add(self, other: "PeopleCounts") -> None:
        """Add the counts of another clip."""
        for one in fields(self):
            setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))

    def row(self) -> str:
        """Return the measures as a line."""
        said_s = self.offscreen_found_s + self.offscreen_false_s
        return (
            f"{self.tracks:6} {self.same_pairs:6} "
            f"{_share(self.right_pairs, self.found_pairs)} "
            f"{_share(self.right_pairs, self.same_pairs)} "
            f"{_share(self.person_error_s, self.speech_s)} "
            f"{_share(self.track_error_s, self.speech_s)} {self.offscreen_s:8.1f} "
            f"{_share(self.offscreen_found_s, self.offscreen_s)} "
            f"{_share(self.offscreen_false_s, said_s)}"
        )


HEADER = "tracks  pairs  prec. recall  DER/p  DER/t  off, s  found  false"


@dataclass(frozen=True)
class Clip:
    """The labels and the result of a clip, on a common grid of steps."""

    labels: Labels
    result: Result
    counted: NDArray[np.bool_] = field(init=False)

    def __post_init__(self) -> None:
        skipped = [(start, stop) for start, stop, *_ in self.labels["unsure"]]
        edges = [edge for start, stop, *_ in self.labels["speaking"] for edge in (start, stop)]
        skipped += [(edge - COLLAR_S, edge + COLLAR_S) for edge in edges]
        object.__setattr__(self, "counted", ~self.mask(skipped))

    def mask(self, stretches: Iterable[tuple[float, float]]) -> NDArray[np.bool_]:
        """Return which steps lie in stretches of seconds."""
        steps = np.zeros(round(float(self.labels["duration"]) / STEP_S), bool)
        for start_s, stop_s in stretches:
            steps[max(0, round(start_s / STEP_S)) : max(0, round(stop_s / STEP_S))] = True
        return steps

    def speech(self, segments: Iterable[tuple[str, float, float]]) -> Speech:
        """Return when each speaker speaks, where it is counted."""
        found: dict[str, list[tuple[float, float]]] = {}
        for speaker, start_s, stop_s in segments:
            found.setdefault(speaker, []).append((start_s, stop_s))
        return {name: self.mask(parts) & self.counted for name, parts in found.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the measures of every clip that has a result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("labels", type=Path, help="folder of NAME.json or NAME.labels.json")
    parser.add_argument("results", type=Path, help="folder of NAME/result.json")
    parsed = parser.parse_args(arguments)
    everything = PeopleCounts()
    print(f"{'clip':28} {HEADER}")
    for path in sorted(parsed.labels.glob("*.json")):
        name = path.stem.removesuffix(".labels")
        found = parsed.results / name / "result.json"
        if found.is_file():
            labels = json.loads(path.read_text(encoding="utf-8"))
            counts = measure(Clip(labels, Result.read_json(found)))
            everything.add(counts)
            print(f"{name:28} {counts.row()}")
    print(f"{'all':28} {everything.row()}")
    print(f"people of an hour, {HOUR} tracks: {time_hour():.2f} s of processor time")
    return 0


def measure(clip: Clip) -> PeopleCounts:
    """Return the counts of a clip."""
    counts = PeopleCounts()
    people = label_tracks(clip)
    counts.tracks = len(people)
    found = {track.id: track.person for track in clip.result.tracks}
    for first, second in combinations(sorted(people), 2):
        same = people[first] == people[second]
        together = found[first] is not None and found[first] == found[second]
        counts.same_pairs += same
        counts.found_pairs += together
        counts.right_pairs += same and together
    spoken = [(who, start_s, stop_s) for start_s, stop_s, who, *_ in clip.labels["speaking"]]
    truth = clip.speech(spoken)
    counts.speech_s = STEP_S * sum(int(steps.sum()) for steps in truth.values())
    segments = [part for part in clip.result.segments if part.kind == "speech"]
    by_person = [(f"{part.person}", part.start_s, part.stop_s) for part in segments]
    by_track = [(f"{part.track}", part.start_s, part.stop_s) for part in segments]
    counts.person_error_s = diarisation_error_s(truth, clip.speech(by_person))
    counts.track_error_s = diarisation_error_s(truth, clip.speech(by_track))
    _measure_offscreen(clip, counts)
    return counts


def label_tracks(clip: Clip) -> dict[int, str]:
    """Return the labelled person of each track that shows one for more than half of its samples."""
    votes: dict[int, Counter[str]] = {}
    for name, person in clip.labels["persons"].items():
        for start_s, stop_s, *box in person["faces"]:
            for time_s in np.arange(start_s + SAMPLE_S / 2, stop_s, SAMPLE_S):
                number = _track_at(clip.result.tracks, round(float(time_s) * FPS), box)
                if number is not None:
                    votes.setdefault(number, Counter())[name] += 1
    best = {number: count.most_common(1)[0] for number, count in votes.items()}
    return {
        number: name
        for number, (name, num_votes) in best.items()
        if 2 * num_votes > votes[number].total()
    }


def diarisation_error_s(truth: Speech, found: Speech) -> float:
    """Return missed, false and confused speech, in seconds, of the best match of speakers."""
    from scipy.optimize import linear_sum_assignment

    if not truth or not found:
        return STEP_S * sum(int(steps.sum()) for steps in (*truth.values(), *found.values()))
    labelled, said = np.stack(list(truth.values())), np.stack(list(found.values()))
    shared = labelled.astype(np.int64) @ said.T.astype(np.int64)
    rows, columns = linear_sum_assignment(-shared)
    num_right = int(shared[rows, columns].sum())
    most = np.maximum(labelled.sum(axis=0), said.sum(axis=0))
    return STEP_S * (int(most.sum()) - num_right)


def time_hour() -> float:
    """Return the processor time of forming people from an hour of made tracks, in seconds."""
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(20, 256)) / 16
    tracks, embeddings = [], []
    for number in range(HOUR):
        vectors = directions[number % 20] + rng.normal(size=(2, 256)) / 32
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        frames = np.zeros(37, np.float32)
        boxes, image = np.zeros((37, 4), np.float32), np.zeros((1, 1), np.uint8)
        tracks.append(ScoredTrack(number, number, 37 * number, boxes, frames, frames, image))
        face = np.zeros((1, 1, 3), np.uint8)
        quality = np.array([0.5, 0.4], np.float32)
        embeddings.append(TrackEmbeddings(number, vectors.astype(np.float32), quality, face))
    form_people(tracks[:10], embeddings[:10], 0.65)  # imports
    start = time.process_time()
    form_people(tracks, embeddings, 0.65)
    return time.process_time() - start


def _measure_offscreen(clip: Clip, counts: PeopleCounts) -> None:
    labelled = clip.mask((start, stop) for start, stop, *_ in clip.labels["offscreen_voice"])
    unsure = [(start, stop) for start, stop, who in clip.labels["unsure"] if who == "*"]
    counted = ~clip.mask(unsure)
    parts: Sequence[Segment] = clip.result.offscreen
    found = clip.mask((part.start_s, part.stop_s) for part in parts)
    counts.offscreen_s = STEP_S * int((labelled & counted).sum())
    counts.offscreen_found_s = STEP_S * int((labelled & found & counted).sum())
    counts.offscreen_false_s = STEP_S * int((found & ~labelled & counted).sum())


def _track_at(tracks: Iterable[ScoredTrack], frame: int, box: Sequence[float]) -> int | None:
    """Return the track that best overlaps a box in a frame."""
    best, number = MIN_IOU, None
    for track in tracks:
        if track.start <= frame < track.stop:
            own = track.boxes[frame - track.start].astype(np.float64)
            overlap = float(iou(own, np.array(box, np.float64)))
            if overlap >= best:
                best, number = overlap, track.id
    return number


def _share(part: float, whole: float) -> str:
    return f"{part / whole:6.3f}" if whole else "     -"


if __name__ == "__main__":
    sys.exit(main())
