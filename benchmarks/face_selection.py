"""Choose weights and settings of the bundled face detector.

python -m benchmarks.face_selection IMAGES --videos DIR,DIR --people NAME,NAME

Unlabelled videos of people whom no weights were trained on are marked by YuNet at 640 pixels;
where it loses a face for up to a second, the box is interpolated. The marked frames are kept in
IMAGES. A marked face is found if a box has an IoU of at least 0.4 with it; a box is false if
neither a mark nor anything that YuNet finds with 0.3 or more is there. Faces are *turned* if
the eyes are near each other, or if YuNet is not sure of them. People count equally; turned faces
are pooled. Look at the marks: YuNet's false ones do not count once the last number of the box in
IMAGES/pictures.csv is 0.
"""

import argparse
import csv
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import report
from model.checkpoints.files import read_weights
from model.checkpoints.registry import find_file, get_weights
from model.contract import FaceDetector
from model.detectors import tiny_fcos, yunet
from model.detectors.tiny_fcos import TinyFcos, TinyFcosNetwork
from model.detectors.yunet import YuNet
from model.shipped.tiny_fcos_marks import SAME, SURE, MarkedFrame, look, mark_video
from utils.boxes import iou
from utils.datasets.face_pictures.cutouts import find_videos
from utils.datasets.face_pictures.images import AnnotatedImage, ImageFolder
from utils.files import replacing

FACES = "faces.csv"  # in IMAGES, a line for each image: person, then 1 for each turned face, else 0
SIDE = 640  # pixels of the longer side at which YuNet marks
LOWEST = 0.3  # YuNet's confidence from which on a box is not false
MOST = 120  # frames of a video
PROFILE = 0.2  # distance of the eyes in heights of the face below which it is turned
DRAWS = 2000  # of the bootstrap over people


@dataclass(frozen=True, eq=False)
class Seen:
    """What one detector does in one image."""

    person: str
    turned: NDArray[np.bool_]  # (N,) of the marked faces
    best: NDArray[np.float64]  # (N,) the confidence at which each is found, 0 if never
    false: NDArray[np.float64]  # (M,) confidences of false boxes


def find_turned(frame: MarkedFrame, landmarks: cv2.FaceDetectorYN) -> list[bool]:
    """Return whether each face of a frame is seen from the side, or hard to see."""
    image = frame.image[..., ::-1]
    landmarks.setInputSize((image.shape[1], image.shape[0]))
    _, rows = landmarks.detect(np.ascontiguousarray(image))
    rows = np.zeros((0, 15), np.float32) if rows is None else np.asarray(rows, np.float32)
    boxes = np.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:4]], axis=1)
    eyes = np.hypot(rows[:, 6] - rows[:, 4], rows[:, 7] - rows[:, 5]) / rows[:, 3]
    turned = []
    for box, confidence in zip(frame.boxes, frame.confidences, strict=True):
        overlap = iou(boxes, box[None])
        unsure = confidence < SURE or not len(overlap)
        turned.append(bool(unsure or eyes[int(overlap.argmax())] < PROFILE))
    return turned


def prepare(folder: Path, videos: Sequence[Path], people: Sequence[str]) -> None:
    """Write the marked frames of people's videos, unless they are there."""
    if (folder / FACES).exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    weights = get_weights(YuNet.name)
    teacher = YuNet(weights, LOWEST, SIDE)
    content, empty = np.frombuffer(weights.content, np.uint8), np.zeros(0, np.uint8)
    landmarks = cv2.FaceDetectorYN.create("onnx", content, empty, (SIDE, SIDE), LOWEST)
    images = ImageFolder(folder)
    lines: list[list[str | int]] = []
    for name, paths in find_videos(videos).items():
        for path in paths if name in people or not people else []:
            frames = mark_video(teacher, path, MOST)
            for frame in frames:
                images.add(AnnotatedImage(frame.image, frame.boxes, frame.clear))
                lines.append([name, *(int(one) for one in find_turned(frame, landmarks))])
            print(f"{path.name}: {len(frames)} images")
    text = "".join(",".join(str(one) for one in line) + "\n" for line in lines)
    with replacing(folder / FACES) as temporary:
        temporary.write_text(text, encoding="utf-8")


def observe(detector: FaceDetector, folder: Path, every: int = 1) -> list[Seen]:
    """Return what a detector does in the marked frames, or in each `every`-th."""
    images = ImageFolder(folder)
    with (folder / FACES).open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    seen = []
    for index in range(0, len(rows), every):
        person, *turned = rows[index]
        marked = images.read(index)
        found = look(detector, marked.image)
        overlap = iou(marked.boxes[:, None], found.boxes[None])  # (N, M)
        hit = np.where(overlap >= SAME, found.confidences[None], 0.0)
        is_false = overlap.max(axis=0, initial=0) < SAME
        seen.append(
            Seen(
                person,
                np.array(turned, np.int64)[marked.clear] > 0,
                hit.max(axis=1, initial=0)[marked.clear],
                found.confidences[is_false].astype(np.float64),
            )
        )
    return seen


def totals(seen: Sequence[Seen], confidence: float) -> dict[str, NDArray[np.float64]]:
    """Return by person images, faces, found faces, turned faces, found ones, and false boxes."""
    people: dict[str, NDArray[np.float64]] = {}
    for one in seen:
        hit = one.best >= confidence
        row = [
            1,
            len(hit),
            hit.sum(),
            one.turned.sum(),
            (hit & one.turned).sum(),
            (one.false >= confidence).sum(),
        ]
        people[one.person] = people.get(one.person, np.zeros(6)) + np.array(row, np.float64)
    return people


def shares(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return recall, recall of turned faces and false boxes an image.

    People count equally, but the few turned faces are pooled; nan if there are none.

    Args:
        rows: (..., P, 6) totals of people.
    """
    images, faces, found, turned, turned_found, false = np.moveaxis(rows, -1, 0)
    shown = np.maximum(faces, 1)
    people = np.maximum((faces > 0).sum(axis=-1), 1)
    num_turned = turned.sum(axis=-1)
    measures = [
        (found / shown).sum(axis=-1) / people,
        np.where(num_turned > 0, turned_found.sum(axis=-1) / np.maximum(num_turned, 1), np.nan),
        (false / images).mean(axis=-1),
    ]
    return np.stack(measures, axis=-1)


def summary(seen: Sequence[Seen], confidence: float) -> dict[str, object]:
    """Return the measures at a confidence with intervals of 95 %, drawn over people."""
    rows = np.stack(list(totals(seen, confidence).values()))
    draws = np.random.default_rng(0).integers(len(rows), size=(DRAWS, len(rows)))
    drawn = shares(rows[draws])  # (DRAWS, 3)
    drawn = drawn[~np.isnan(drawn).any(axis=1)]  # without draws that have no turned face
    low, high = np.quantile(drawn if len(drawn) else shares(rows)[None], [0.025, 0.975], axis=0)
    record: dict[str, object] = {"confidence": confidence}
    names = ("recall", "recall_turned", "false_an_image")
    for name, value, first, last in zip(names, shares(rows), low, high, strict=True):
        record[name] = f"{value:.3f} ({first:.3f} to {last:.3f})"
    return record


def main() -> int:
    """Mark the frames if needed, measure the detectors in them and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=Path, help="folder of the marked frames")
    parser.add_argument("--videos", default="", help="folders of videos, with commas between")
    parser.add_argument("--people", default="", help="people in them to use; default: all")
    parser.add_argument("--detectors", default="yunet,tiny_fcos", help="names or weights files")
    parser.add_argument("--sides", help="longer sides of images, pixels; default: their own")
    parser.add_argument("--confidences", default="0.52,0.6", help="to compare")
    parser.add_argument("--every", type=int, default=1, help="use only each image of this multiple")
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    confidences = [float(one) for one in options.confidences.split(",")]
    people = [name for name in options.people.split(",") if name]
    if options.videos:
        prepare(options.images, [Path(one) for one in options.videos.split(",")], people)
    rows: list[dict[str, object]] = []
    for name in options.detectors.split(","):
        own = yunet.LONGER_SIDE if name == YuNet.name else tiny_fcos.LONGER_SIDE
        for side in [int(one) for one in options.sides.split(",")] if options.sides else [own]:
            for confidence in confidences:  # which boxes suppress others depends on it
                detector = open_detector(name, confidence, side)
                seen = observe(detector, options.images, options.every)
                rows.append({"detector": name, "side": side, **summary(seen, confidence)})
    report(rows, options.output)
    return 0


def open_detector(name: str, confidence: float, side: int) -> FaceDetector:
    """Return YuNet, or tiny_fcos with its own or with other weights, at a size and confidence."""
    if name == YuNet.name:
        return YuNet(get_weights(name), confidence, side)
    weights = get_weights(name) if name == TinyFcos.name else find_file(name)
    network = TinyFcosNetwork()
    network.load_state_dict(read_weights(weights).state)
    return TinyFcos(network, weights.file, confidence, side)


if __name__ == "__main__":
    sys.exit(main())
