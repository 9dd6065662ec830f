"""Compare face embedders with labelled clips: `python -m benchmarks.face_embedding CLIPS`.

CLIPS holds NAME.mp4 and NAME.json as docs/data.md describes them. Tracks are found as in the demo,
with cuts as labelled; a track is of the person whose labelled faces it meets most. Given is the
probability that two tracks of one person are more similar than two tracks of two people: for pairs
within a clip, and for all pairs. Pairs of equal names in different clips are left out of the
latter: nobody says whether they are one person.
"""

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import report
from model.detection import detect_faces, load_detector
from model.embedding import load_embedder, places_of
from utils.boxes import iou
from utils.media.container import ReadOptions, ReadReport, probe
from utils.media.video import VideoSpan
from utils.metrics.verification import same_person_auc
from utils.structures import FPS, CropPiece, FaceCrops, Frame
from utils.tracking.crops import CropOptions, crop_faces
from utils.tracking.face_choice import FaceChoice
from utils.tracking.greedy_tracker import GreedyTracker, TrackOptions
from utils.tracking.shots import ShotOptions, mark_shots

FOUND = 0.4  # IoU of a track's box with a labelled face
SHARE = 0.8  # of a track's labelled frames that must be of one person


@dataclass(frozen=True, eq=False)
class LabelledTrack:
    """A track, its crops, and who it is."""

    clip: str
    person: str
    faces: FaceCrops


def tracks_of(clip: Path, detector_name: str, points: bool) -> Iterator[LabelledTrack]:
    """Yield the tracks of a clip that are of one labelled person."""
    labels = json.loads(clip.with_suffix(".json").read_text("utf-8"))
    rows = [
        (name, row) for name, person in labels.get("persons", {}).items() for row in person["faces"]
    ]
    if not rows:
        return
    detector = load_detector(detector_name)
    video = probe(clip)
    size = detector.image_size(video.width, video.height)
    read = VideoSpan(video, ReadOptions()).read_frames(size, ReadReport())
    frames = detect_faces(mark_shots(read, ShotOptions(), labels["cuts"]), detector, 2)
    if not points:
        frames = map(_without_points, frames)
    choice = FaceChoice(places_of(detector_name))
    pieces = crop_faces(frames, GreedyTracker(TrackOptions(), 2), CropOptions(), choice=choice)
    for piece in pieces:
        if isinstance(piece, CropPiece) and piece.faces is not None:
            person = _person_of(piece, rows)
            if person is not None:
                yield LabelledTrack(clip.stem, person, piece.faces)


def _without_points(frame: Frame) -> Frame:
    if frame.faces is None:
        return frame
    return replace(frame, faces=replace(frame.faces, landmarks=None))


def _person_of(piece: CropPiece, rows: list[tuple[str, list[float]]]) -> str | None:
    """Return whose labelled faces a track meets, if nearly all are one person's."""
    met: Counter[str] = Counter()
    for index, box in enumerate(piece.boxes):
        time_s = (piece.start + index) / FPS
        for name, (start_s, stop_s, *corners) in rows:
            if start_s <= time_s < stop_s:
                met[name] += bool(iou(np.array(corners), box) >= FOUND)
    ((name, count),) = met.most_common(1) or [("", 0)]
    return name if count and count >= SHARE * sum(met.values()) else None


def aucs(tracks: list[LabelledTrack], vectors: NDArray[np.float32]) -> tuple[float, float, int]:
    """Return the AUC of pairs within a clip, of all pairs, and the number of pairs alike."""
    first, second = np.triu_indices(len(tracks), 1)
    similar = (vectors[first] * vectors[second]).sum(axis=1)
    clips, people = (
        np.array([getattr(one, name) for one in tracks]) for name in ("clip", "person")
    )
    within = clips[first] == clips[second]
    same = within & (people[first] == people[second])
    usable = within | (people[first] != people[second])
    return (
        same_person_auc(similar[within], same[within]),
        same_person_auc(similar[usable], same[usable]),
        int(same.sum()),
    )


def main() -> int:
    """Measure each embedder and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", type=Path, help="folder of labelled clips")
    parser.add_argument("--embedders", default="face_reid,bundled", help="with commas between")
    parser.add_argument("--detector", default="yunet", help="finds the faces")
    parser.add_argument("--boxOnly", action="store_true", help="align by the box alone")
    parser.add_argument("--leaveOut", default="", help="clips, with commas between")
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    options = parser.parse_args()
    tracks = [
        track
        for clip in sorted(options.clips.glob("*.mp4"))
        if clip.with_suffix(".json").is_file() and clip.stem not in options.leaveOut.split(",")
        for track in tracks_of(clip, options.detector, not options.boxOnly)
    ]
    rows: list[dict[str, object]] = []
    for name in options.embedders.split(","):
        embedder = load_embedder(name)
        begun = time.perf_counter()
        means = [embedder.embed(one.faces.crops).mean(axis=0) for one in tracks]
        seconds = time.perf_counter() - begun
        vectors = np.stack([mean / np.linalg.norm(mean) for mean in means])
        within, overall, pairs = aucs(tracks, vectors)
        num_crops = sum(len(one.faces.crops) for one in tracks)
        rows.append(
            {
                "embedder": name,
                "tracks": len(tracks),
                "same_pairs": pairs,
                "auc_within_clips": round(within, 4),
                "auc_all": round(overall, 4),
                "ms_a_crop": round(1000 * seconds / num_crops, 2),
            }
        )
    report(rows, options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
