"""Find where the eyes, nose and mouth lie in a detector's boxes.

python -m benchmarks.face_points DIR ...

DIR holds videos. Points are YuNet's, for boxes that meet one of YuNet's with an IoU of at least
0.5; printed are the means as fractions of the box, as model/embedding.py keeps them. Each face
counts as it is and mirrored: nobody knows where the next one looks.
"""

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np

from model.detection import load_detector
from model.shipped.face_embedder_faces import sample
from model.shipped.tiny_fcos_marks import look
from utils.boxes import iou
from utils.datasets.face_pictures.cutouts import find_videos

SAME = 0.5  # IoU
MIRRORED = [1, 0, 2, 4, 3]  # the points of a mirrored face
EACH = 6  # images of a person


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("videos", type=Path, nargs="+", help="folders of videos")
    parser.add_argument("--detectors", default="yunet,tiny_fcos", help="with commas between")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    reference = load_detector("yunet")
    for name in options.detectors.split(","):
        detector = load_detector(name)
        found = []
        for paths in find_videos(options.videos).values():
            for picture in sample([path for path in paths if path.stat().st_size], EACH):
                known, own = look(reference, picture), look(detector, picture)
                overlap = iou(own.boxes[:, None], known.boxes[None])
                for box, row in zip(own.boxes, overlap, strict=True):
                    if row.max(initial=0) >= SAME and known.landmarks is not None:
                        points = known.landmarks[int(row.argmax())]
                        found.append((points - box[:2]) / (box[2:] - box[:2]))
        means = np.mean(found, axis=0)
        both = (means + np.abs(means[MIRRORED] - (1, 0))) / 2  # (5, 2) x, y
        print(name, len(found), tuple(map(tuple, both.round(3).tolist())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
