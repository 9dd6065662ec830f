"""Compare face detectors with labelled clips: `python -m benchmarks.face_recall CLIPS`.

CLIPS holds NAME.mp4 and NAME.json as docs/data.md describes them. One image per quarter second is
compared. A labelled face is found if a box has an IoU of at least 0.4 with it. Labels are sparse,
so an unlabelled box is a false detection only if YuNet, at 640 pixels and a confidence of 0.3,
finds no face there either.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import report
from model.checkpoints.registry import get_weights
from model.contract import FaceDetector
from model.detection import load_detector
from model.detectors.yunet import YuNet
from model.shipped.tiny_fcos_marks import look
from utils.boxes import iou

STEP_S = 0.25
FOUND = 0.4  # IoU
CERTAIN = 0.8  # from this confidence, the others should find the face too
REFERENCE = (0.3, 640)  # confidence and longer side in pixels


@dataclass
class Sums:
    """Totals over the images of one clip."""

    pictures: int = 0
    faces: int = 0
    found: int = 0
    unlabelled: int = 0  # boxes without a label
    false: int = 0
    reference: int = 0  # faces of which the reference is certain
    agreed: int = 0
    shared: list[float] = field(default_factory=list)  # IoU with those of the reference

    def add(self, other: "Sums") -> None:
        """Take another clip's sums in."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)

    def row(self, clip: str, detector: str) -> dict[str, object]:
        """Return what is shown of them."""
        return {
            "clip": clip,
            "detector": detector,
            "faces": self.faces,
            "recall": round(self.found / max(1, self.faces), 3),
            "unlabelled_a_picture": round(self.unlabelled / max(1, self.pictures), 3),
            "false_a_picture": round(self.false / max(1, self.pictures), 3),
            "recall_of_yunet_640": round(self.agreed / max(1, self.reference), 3),
            "iou_with_yunet_640": round(float(np.mean(self.shared or [0])), 3),
        }


def pictures_of(
    clips: Path, labels: Path
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.float32]]]:
    """Yield a picture of each quarter second of a clip, and the labelled boxes in it."""
    rows = [
        row
        for person in json.loads(labels.read_text("utf-8"))["persons"].values()
        for row in person["faces"]
    ]
    wanted = STEP_S / 2
    with av.open(str(clips / f"{labels.stem}.mp4")) as container:
        for image in container.decode(video=0):
            time_s = float(image.time or 0.0)
            if time_s < wanted:
                continue
            wanted += STEP_S * (1 + int((time_s - wanted) / STEP_S))
            boxes = [row[2:6] for row in rows if row[0] <= time_s < row[1]]
            yield image.to_ndarray(format="rgb24"), np.array(boxes, np.float32).reshape(-1, 4)


def compare(
    detector: FaceDetector,
    reference: FaceDetector,
    picture: NDArray[np.uint8],
    boxes: NDArray[np.float32],
) -> Sums:
    """Return the sums of one picture."""
    found = look(detector, picture).boxes
    known = look(reference, picture)
    labelled = iou(found[:, None], boxes[None]).max(axis=1, initial=0) >= FOUND
    seen = iou(found[:, None], known.boxes[None]).max(axis=1, initial=0) >= FOUND
    best = iou(boxes[:, None], found[None]).max(axis=1, initial=0)
    certain = known.boxes[known.confidences >= CERTAIN]
    agreed = iou(certain[:, None], found[None]).max(axis=1, initial=0)
    return Sums(
        1,
        len(boxes),
        int((best >= FOUND).sum()),
        int((~labelled).sum()),
        int((~labelled & ~seen).sum()),
        len(certain),
        int((agreed >= FOUND).sum()),
        [float(value) for value in agreed[agreed >= FOUND]],
    )


def main() -> int:
    """Measure the detectors clip by clip and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", type=Path, help="folder of labelled clips")
    parser.add_argument("--detectors", default="yunet,tiny_fcos", help="names, with commas between")
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    reference = YuNet(get_weights("yunet"), *REFERENCE)
    detectors = {name: load_detector(name) for name in options.detectors.split(",")}
    totals = {name: Sums() for name in detectors}
    rows: list[dict[str, object]] = []
    for labels in sorted(options.clips.glob("*.json")):
        if not json.loads(labels.read_text("utf-8")).get("persons"):
            continue
        sums = {name: Sums() for name in detectors}
        for picture, boxes in pictures_of(options.clips, labels):
            for name, detector in detectors.items():
                sums[name].add(compare(detector, reference, picture, boxes))
        for name, one in sums.items():
            totals[name].add(one)
            rows.append(one.row(labels.stem, name))
    rows += [one.row("all", name) for name, one in totals.items()]
    report(rows, options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
