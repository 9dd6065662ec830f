"""Tables of features and scores as the authors of ASC and ASDNet write them, one for a video.

VIDEO.csv of an encoder: video, timestamp, entity, label, two logits, "[numbers]", no header.
VIDEO.csv of a context network: entity, timestamp, two logits.
"""

import csv
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from utils.datasets.storage.feature_store import VideoFeatures
from utils.errors import UserError
from utils.files import replacing

# The published writer, run with NumPy 2, writes np.float32(0.5), which its own reader cannot read.
NUMPY_TEXT = re.compile(r"np\.float\d+\(([^)]*)\)")


def write_feature_table(features: VideoFeatures, path: Path) -> None:
    """Write a video's features as text, about ten times the size of the store's file."""
    names = np.repeat(np.arange(len(features.entities)), features.counts).tolist()
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        for row, name in enumerate(names):
            writer.writerow(
                (
                    features.video,
                    repr(float(features.timestamps[row])),
                    features.entities[name],
                    float(features.labels[row]),
                    *map(str, features.logits[row]),
                    f"[{', '.join(map(str, features.embeddings[row]))}]",
                )
            )


def read_feature_table(path: Path) -> VideoFeatures:
    """Read a video's features; the rows of a face keep their order."""
    faces: dict[str, list[tuple[float, int, list[float], NDArray[np.float32]]]] = {}
    videos = set()
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.reader(file)
        try:
            for video, timestamp, entity, label, *logits, numbers in reader:
                videos.add(video)
                plain = NUMPY_TEXT.sub(r"\1", numbers).strip("[]")
                embedding = np.array(plain.split(","), np.float32)
                row = (float(timestamp), int(float(label)), [float(one) for one in logits])
                faces.setdefault(entity, []).append((*row, embedding))
        except (ValueError, csv.Error) as error:
            raise UserError(f"{path}, line {reader.line_num}: {error}") from error
    if len(videos) != 1:
        raise UserError(f"{path}: expected the rows of one video, found {len(videos)}")
    rows = [row for of_face in faces.values() for row in of_face]
    widths = {len(row[3]) for row in rows}
    if len(widths) != 1:
        raise UserError(f"{path}: expected embeddings of one width, found {sorted(widths)}")
    return VideoFeatures(
        video=videos.pop(),
        entities=list(faces),
        counts=[len(of_face) for of_face in faces.values()],
        timestamps=np.array([row[0] for row in rows]),
        labels=np.array([row[1] for row in rows], np.int8),
        logits=np.array([row[2] for row in rows], np.float32),
        embeddings=np.stack([row[3] for row in rows]),
    )


def write_score_table(features: VideoFeatures, logits: NDArray[np.float32], path: Path) -> None:
    """Write what a context network says of a video: entity, timestamp, two logits."""
    names = np.repeat(np.arange(len(features.entities)), features.counts).tolist()
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        for name, timestamp, pair in zip(names, features.timestamps, logits, strict=True):
            row = (features.entities[name], repr(float(timestamp)), *map(str, pair))
            writer.writerow(row)
