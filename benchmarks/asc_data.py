"""Time ASC's audio features and size its store: `python -m benchmarks.asc_data --json FILE`.

"published" computes MFCC with python_speech_features, one clip at a time; "here" is what the
project runs. Sizes are bytes per row of features, in the authors' tables and in the project's
store.

The authors of ASC and ASDNet write one table per video, VIDEO.csv without a header. An encoder's
columns: video, timestamp, entity, label, two logits, "[embedding]"; a context network's: entity,
timestamp, two logits.
"""

import argparse
import csv
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import measure, parse, report
from utils.datasets.storage.feature_store import FeatureFormat, FeatureStoreWriter, VideoFeatures
from utils.errors import UserError
from utils.features.asc_mfcc import asc_mfcc
from utils.files import replacing
from utils.tracking.contexts import rows_around

# With NumPy 2, the published writer writes np.float32(0.5), which the published reader rejects.
NUMPY_TEXT = re.compile(r"np\.float\d+\(([^)]*)\)")


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, time everything, print the table."""
    options = parse(argparse.ArgumentParser(description=__doc__), arguments)
    report([time_sound(options.repeats), size_of_store()], options.json)
    return 0


def time_sound(repeats: int) -> dict[str, object]:
    """Return the time of the MFCC of 50 consecutive clips."""
    from python_speech_features import mfcc

    sound = np.random.default_rng(0).normal(0, 1000, 60 * 640).astype(np.int16)
    rows = rows_around(60, np.arange(5, 55), 11, 5)
    starts = rows[:, 0] * 640
    functions: dict[str, Callable[[], object]] = {
        "published": lambda: [mfcc(sound[start : start + 6518], 16000) for start in starts],
        "here": lambda: asc_mfcc(sound, np.arange(60) / 25, rows),
    }
    return row("sound of 50 clips", measure(functions, repeats))


def size_of_store() -> dict[str, object]:
    """Return the bytes per row of random non-negative features, like an encoder's."""
    rng = np.random.default_rng(0)
    embeddings = np.abs(rng.normal(0, 1, (200, 1024))).astype(np.float32)
    logits = rng.normal(0, 1, (200, 2)).astype(np.float32)
    features = VideoFeatures(
        "video", ["video:1"], [200], np.arange(200) / 25, np.zeros(200, np.int8), logits, embeddings
    )
    with TemporaryDirectory() as name:
        folder = Path(name)
        write_feature_table(features, folder / "video.csv")
        FeatureStoreWriter(folder, FeatureFormat("asc_encoder", 1024, 11)).add(features)
        sizes = [(folder / f"video.{suffix}").stat().st_size for suffix in ("csv", "features")]
    return row("bytes of a row", {"published": sizes[0] / 200, "here": sizes[1] / 200})


def row(what: str, found: dict[str, float]) -> dict[str, object]:
    """Return a row of the table: seconds or bytes, and their ratio."""
    ratio = found["published"] / found["here"]
    return {
        "what": what,
        **{name: f"{one:.4g}" for name, one in found.items()},
        "ratio": f"{ratio:.2f}",
    }


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
    """Write a context network's scores of a video: entity, timestamp, two logits."""
    names = np.repeat(np.arange(len(features.entities)), features.counts).tolist()
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        for name, timestamp, pair in zip(names, features.timestamps, logits, strict=True):
            row = (features.entities[name], repr(float(timestamp)), *map(str, pair))
            writer.writerow(row)


if __name__ == "__main__":
    sys.exit(main())
