"""Time preparing and loading: `python -m benchmarks.loader --output FILE`.

The published way is timed in the same run: it seeks for each face while preparing, and reads a
colour JPEG for each face while loading. `--hours 2` also prepares a video of that length and
measures the peak memory.
"""

import argparse
import multiprocessing
import resource
import shutil
import sys
import tempfile
import time
import wave
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import measure, report
from utils.datasets.ava.dataset import AvaFolder, AvaSplit
from utils.datasets.ava.prepare import AvaPrepareOptions, prepare
from utils.datasets.ava.tables import LabelledFace, LoaderRow, read_labels, read_loader
from utils.datasets.entities import SPEAKING, DataSet, EntityInfo, EntityPart
from utils.datasets.loading.sequence_loader import SequenceLoader, SequenceLoaderOptions
from utils.files import check_folder
from utils.media.audio import Sound
from utils.media.container import ReadOptions, probe
from utils.structures import SAMPLE_RATE, InputSpec

VIDEO = "benchmark_1"  # AVA's names have 11 characters
TIMES = 25  # repetitions of the short data set in loading
BOXES = ((0.1, 0.2, 0.35, 0.65), (0.4, 0.2, 0.6, 0.6), (0.65, 0.15, 0.9, 0.6))
ENTITY_S = 4.0
GAP_S = 0.5  # between two rounds of a video that is repeated: its clock may begin below 0
SHORT_S = 8.0  # labelled of the video where both ways run: the published one is slow


def make_labels(folder: AvaFolder, video: Path, limit_s: float) -> float:
    """Label three faces, in entities of a few seconds; return how many seconds are labelled."""
    facts = probe(video)
    count = int(min(facts.duration_s, limit_s) * facts.fps) - 1
    per_entity = round(ENTITY_S * facts.fps)
    check_folder(folder.root / "csv")
    with folder.labels("train").open("w", encoding="utf-8") as file:
        for place, box in enumerate(BOXES):
            corners = ",".join(map(str, box))
            for frame in range(count):
                label = "SPEAKING_AUDIBLE" if frame // 30 % 2 else "NOT_SPEAKING"
                entity = f"{VIDEO}_{frame // per_entity:05}:{place}"
                time_s = float(frame / facts.fps)
                file.write(f"{VIDEO},{time_s:.4f},{corners},{label},{entity}\n")
    return count / float(facts.fps)


def prepare_ours(root: Path, num_processes: int) -> None:
    """Prepare from nothing."""
    shutil.rmtree(AvaFolder(root).store("train"), ignore_errors=True)
    prepare(root, "train", AvaPrepareOptions(num_processes))


def prepare_published(folder: AvaFolder, video: Path, faces: Sequence[LabelledFace]) -> None:
    """Prepare as published: a seek and a JPEG for each face, a sound file for each entity."""
    sound = Sound(probe(video), ReadOptions(), keep_s=3600)
    capture = cv2.VideoCapture(str(video))
    for face in faces:
        pictures = folder.faces("train") / face.video / face.name
        pictures.mkdir(parents=True, exist_ok=True)
        for time_s, box in zip(face.timestamps, face.boxes, strict=True):
            capture.set(cv2.CAP_PROP_POS_MSEC, time_s * 1000)
            read, picture = capture.read()
            if read:
                height, width = picture.shape[:2]
                x1, y1, x2, y2 = (box * (width, height, width, height)).astype(int)
                cv2.imwrite(str(pictures / f"{time_s:.2f}.jpg"), picture[y1:y2, x1:x2])
        start, stop = (int(face.timestamps[end] * SAMPLE_RATE) for end in (0, -1))
        path = folder.audio("train") / face.video / f"{face.name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        with wave.open(str(path), "wb") as file:
            file.setparams((1, 2, SAMPLE_RATE, 0, "NONE", ""))
            file.writeframes(sound.read(start, stop).tobytes())


class PlainClips:
    """The published layout read as published: every face a JPEG in colour, made grey, resized."""

    def __init__(self, folder: AvaFolder, rows: Sequence[LoaderRow]) -> None:
        self._folder, self._rows = folder, rows
        self.entities: Sequence[EntityInfo] = [
            EntityInfo(
                row.name, row.video, len(row.labels), row.fps, int((row.labels == SPEAKING).sum())
            )
            for row in rows
        ]

    def read(self, index: int, start: int = 0, stop: int | None = None) -> EntityPart:
        """Read frames [start, stop) of an entity."""
        row = self._rows[index]
        pictures = self._folder.faces("train") / row.video / row.name
        files = sorted(pictures.iterdir(), key=lambda file: float(file.stem))[start:stop]
        faces = [cv2.imread(str(file)) for file in files]
        with wave.open(str(self._folder.audio("train") / row.video / f"{row.name}.wav")) as file:
            waveform = np.frombuffer(file.readframes(file.getnframes()), np.int16)
        return EntityPart(
            faces=np.stack([_grey(face) for face in faces]),
            waveform=waveform[int(start * SAMPLE_RATE / row.fps) :],
            labels=row.labels[start:stop],
            timestamps=np.array([float(file.stem) for file in files]),
        )


def _grey(face: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
    assert face is not None
    return np.asarray(cv2.resize(cv2.cvtColor(face, cv2.COLOR_BGR2GRAY), (112, 112)), np.uint8)


class Repeated:
    """A data set several times over, as a short one is loaded before it can be timed."""

    def __init__(self, dataset: DataSet, times: int) -> None:
        self._dataset = dataset
        self.entities: Sequence[EntityInfo] = list(dataset.entities) * times

    def read(self, index: int, start: int = 0, stop: int | None = None) -> EntityPart:
        """Read frames [start, stop) of an entity."""
        return self._dataset.read(index % len(self._dataset.entities), start, stop)


class Epochs:
    """Loads one epoch after the other."""

    def __init__(self, dataset: DataSet, num_workers: int) -> None:
        options = SequenceLoaderOptions(n_data_loader_thread=num_workers, augment=True)
        self._loader = SequenceLoader(dataset, InputSpec(), options)
        self._number = 0

    def __call__(self) -> int:
        """Load the next epoch; return its frames."""
        self._number += 1
        return sum(int(batch.mask.sum()) for batch in self._loader.epoch(self._number))


def loop(video: Path, target: Path, hours: float) -> None:
    """Write a video that repeats another one's packets for so many hours."""
    with av.open(str(target), "w") as out:
        with av.open(str(video)) as source:  # all streams come before the first packet
            streams = [out.add_stream_from_template(stream) for stream in source.streams]
        offset = 0.0
        while offset < hours * 3600:
            end = 0.0
            with av.open(str(video)) as source:
                for packet in source.demux():
                    if packet.dts is None or packet.pts is None:
                        continue
                    end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
                    shift = round(offset / packet.time_base)
                    packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                    packet.stream = streams[packet.stream.index]
                    out.mux(packet)
            offset += end + GAP_S


def peak_mb(root: str) -> float:
    """Prepare in this process; return the most memory it took, MB."""
    prepare(Path(root), "train", AvaPrepareOptions(num_processes=1))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def compare(video: Path, root: Path, repeats: int, num_workers: int) -> list[dict[str, object]]:
    """Return rows for preparing and loading, ours against the published way."""
    folder = AvaFolder(root)
    movie = folder.videos("train") / f"{VIDEO}{video.suffix}"
    check_folder(movie.parent)
    shutil.copyfile(video, movie)
    length_s = make_labels(folder, movie, SHORT_S)
    faces = read_labels([folder.labels("train")])
    start = time.perf_counter()
    prepare_published(folder, movie, faces)  # once: it takes a minute
    seconds = {"published": time.perf_counter() - start}
    seconds |= measure({"ours, 1 process": partial(prepare_ours, root, 1)}, repeats)
    rows: list[dict[str, object]] = [
        {"what": f"prepare, {name}", "times real time": round(length_s / taken, 2)}
        for name, taken in seconds.items()
    ]
    prepare_ours(root, 1)
    clips = PlainClips(folder, read_loader(folder.loader("train")))
    loaders = {
        "published": Epochs(Repeated(clips, TIMES), num_workers),
        "ours": Epochs(Repeated(AvaSplit(root, "train"), TIMES), num_workers),
    }
    seconds = measure(loaders, repeats)
    num_frames = sum(entity.num_frames for entity in clips.entities)
    for name, taken in seconds.items():
        rows.append(
            {
                "what": f"load, {num_workers} workers, {name}",
                "frames/s": round(TIMES * num_frames / taken),
            }
        )
    for name, part in (("published", "clips_*"), ("ours", "store")):
        size = sum(file.stat().st_size for file in root.glob(f"{part}/**/*") if file.is_file())
        rows.append({"what": f"size, {name}", "bytes/frame": round(size / num_frames)})
    return rows


def long_video(video: Path, root: Path, hours: float) -> dict[str, object]:
    """Return a row with the memory that preparing a long video takes."""
    folder = AvaFolder(root)
    movie = folder.videos("train") / f"{VIDEO}.mkv"
    check_folder(movie.parent)
    loop(video, movie, hours)
    make_labels(folder, movie, hours * 3600)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        peak = pool.apply(peak_mb, (str(root),))
    return {"what": f"prepare {hours:g} h, 1 process", "peak memory, MB": round(peak)}


def main() -> int:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    parser.add_argument("--video", type=Path, default=Path("demo/001.mp4"), help="what is prepared")
    parser.add_argument("--repeats", type=int, default=5, help="times each is run")
    parser.add_argument("--workers", type=int, default=2, help="processes that load")
    parser.add_argument("--hours", type=float, default=0.0, help="length of a long video; 0: none")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        rows = compare(options.video, root / "short", options.repeats, options.workers)
        if options.hours:
            rows.append(long_video(options.video, root / "long", options.hours))
    report(rows, options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
