"""The feature store: embeddings and logits of a clip network for every face, one file per video.

    magic | timestamps | logits | boxes | embeddings | labels | header (JSON) | footer

All numbers are little-endian; rows are ordered by face, then by time.
timestamps float64 (N,), logits float32 (N, 2), boxes float32 (N, 4) if known, embeddings float16 or
float32 (N, C), labels int8 (N,). The header holds the format, the video, and its faces with their
numbers of rows. A file appears only when it is complete; embeddings are memory-mapped.
"""

import json
import struct
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from utils.datasets.entities import NOT_SPEAKING, SPEAKING, UNLABELLED
from utils.errors import UserError
from utils.files import check_folder, replacing

MAGIC = b"ASDFEAT1"  # the last character is the version
FOOTER = struct.Struct("<II8s")  # bytes and CRC-32 of the header, magic
SUFFIX = ".features"

Rows = tuple[NDArray[np.int8], NDArray[np.float64]]  # labels and timestamps (T,) of a face


@dataclass(frozen=True)
class FeatureFormat:
    """Encoder and storage format, the same in all files of a store."""

    encoder: str  # name of the network
    num_embedding: int  # C
    clip_length: int  # frames that the encoder reads for a row
    weights: str = ""  # SHA-256 of its weights, if known
    half: bool = True  # embeddings are float16

    def describe(self) -> str:
        """Return a description for error messages."""
        weights = f", weights {self.weights[:12]}" if self.weights else ""
        clips = f"clips of {self.clip_length} frames"
        return f"{self.encoder}, {self.num_embedding} channels, {clips}{weights}"


@dataclass(frozen=True, eq=False)
class VideoFeatures:
    """The rows of one video, ordered by face."""

    video: str
    entities: Sequence[str]  # (E,)
    counts: Sequence[int]  # (E,) number of rows of each
    timestamps: NDArray[np.float64]  # (N,) s
    labels: NDArray[np.int8]  # (N,) -1, 0 or 1
    logits: NDArray[np.float32]  # (N, 2)
    embeddings: NDArray[np.floating]  # (N, C) float16 or float32
    boxes: NDArray[np.float32] | None = None  # (N, 4) x1, y1, x2, y2 in any unit

    def __post_init__(self) -> None:
        count = len(self.timestamps)
        shapes = {
            "labels": (self.labels.shape, (count,)),
            "logits": (self.logits.shape, (count, 2)),
            "embeddings": (self.embeddings.shape[:1], (count,)),
            "boxes": ((count, 4) if self.boxes is None else self.boxes.shape, (count, 4)),
            "counts": ((len(self.counts), sum(self.counts)), (len(self.entities), count)),
        }
        for name, (found, expected) in shapes.items():
            if found != expected:
                raise UserError(f"{self.video}: expected {name} {expected}, got {found}")
        if len(set(self.entities)) != len(self.entities) or min(self.counts, default=1) < 1:
            raise UserError(f"{self.video}: expected distinct entities with at least one row each")
        if not np.isin(self.labels, (NOT_SPEAKING, SPEAKING, UNLABELLED)).all():
            raise UserError(f"{self.video}: expected labels -1, 0 or 1, got {set(self.labels)}")

    def __len__(self) -> int:
        return len(self.timestamps)


class FeatureStoreWriter:
    """Adds videos to a store; several processes may write to one store at once.

    An interrupted job can be restarted: skip the videos that the store already `holds`.
    """

    def __init__(self, folder: Path, form: FeatureFormat) -> None:
        """Open or create the store; raises UserError if it holds features of another format."""
        check_folder(folder)
        self.folder, self.form = folder, form
        existing = next(folder.glob(f"[!.]*{SUFFIX}"), None)
        if existing is not None and (found := _read_header(existing)[0]) != form:
            raise UserError(
                f"{folder}: expected features of {form.describe()}, found {found.describe()}; "
                "write into another folder"
            )

    def holds(self, video: str, entities: Sequence[str], rows: Sequence[Rows]) -> bool:
        """Return whether a video is stored with these faces.

        Args:
            video: Its name.
            entities: (E,) names.
            rows: Labels and timestamps of each.
        """
        path = _path(self.folder, video)
        if not path.exists():
            return False
        found = _read(path)
        counts = [len(labels) for labels, _ in rows]
        if list(found.entities) != list(entities) or list(found.counts) != counts:
            return False
        stops = np.cumsum(counts, dtype=np.int64).tolist()
        return all(
            np.array_equal(found.labels[stop - len(labels) : stop], labels)
            and np.array_equal(found.timestamps[stop - len(labels) : stop], timestamps)
            for stop, (labels, timestamps) in zip(stops, rows, strict=True)
        )

    def add(self, features: VideoFeatures) -> None:
        """Write a video; replaces an existing one of that name.

        Raises:
            UserError: The features do not match the store's format, or are too large for float16.
        """
        dtype = np.float16 if self.form.half else np.float32
        if features.embeddings.shape[1] != self.form.num_embedding:
            raise UserError(
                f"{features.video}: expected embeddings of {self.form.num_embedding} channels, "
                f"got {features.embeddings.shape[1]}"
            )
        with np.errstate(over="ignore"):
            embeddings = np.asarray(features.embeddings, dtype)
        if not np.isfinite(embeddings).all():
            raise UserError(
                f"{features.video}: embeddings are not finite or too large for float16; "
                "store float32"
            )
        boxes = np.empty((0, 4), np.float32) if features.boxes is None else features.boxes
        columns = (features.timestamps, features.logits, boxes, embeddings, features.labels)
        dtypes = _dtypes(self.form)
        parts = [
            np.ascontiguousarray(column, dtype)
            for column, dtype in zip(columns, dtypes, strict=True)
        ]
        header = {
            "form": asdict(self.form),
            "video": features.video,
            "entities": list(features.entities),
            "counts": [int(count) for count in features.counts],
            "has_boxes": features.boxes is not None,
            "checksums": [zlib.crc32(part.data) for part in parts],
        }
        text = json.dumps(header, ensure_ascii=False).encode()
        with replacing(_path(self.folder, features.video)) as path, path.open("wb") as file:
            file.write(MAGIC)
            for part in parts:
                file.write(part.data)
            file.write(text + FOOTER.pack(len(text), zlib.crc32(text), MAGIC))


class FeatureStore:
    """Reads a feature store; files are opened when they are needed."""

    def __init__(self, folder: Path) -> None:
        """Find the videos; raises FileNotFoundError if there are none."""
        if not folder.is_dir():
            raise FileNotFoundError(f"expected a folder with features, found none: {folder}")
        self._paths = sorted(folder.glob(f"[!.]*{SUFFIX}"))
        if not self._paths:
            raise FileNotFoundError(
                f"{folder}: expected files VIDEO{SUFFIX}, found none; run the encoder first"
            )
        headers = [_read_header(path) for path in self._paths]
        self.form = headers[0][0]
        for path, (form, _) in zip(self._paths, headers, strict=True):
            if form != self.form:
                raise UserError(
                    f"{path}: expected features of {self.form.describe()}, as in the other files, "
                    f"found {form.describe()}; run the encoder on this video again"
                )
        self.folder = folder
        self.videos: Sequence[str] = [header["video"] for _, header in headers]
        self.num_rows: Sequence[int] = [sum(header["counts"]) for _, header in headers]

    def __len__(self) -> int:
        return len(self._paths)

    def read(self, index: int) -> VideoFeatures:
        """Return a video; its embeddings are memory-mapped."""
        return _read(self._paths[index])

    def check(self, encoder: str, num_embedding: int) -> None:
        """Raise UserError unless the features fit the context network."""
        if (self.form.encoder, self.form.num_embedding) != (encoder, num_embedding):
            raise UserError(
                f"{self.folder}: expected features of {encoder}, {num_embedding} channels, found "
                f"{self.form.describe()}; run the encoder that the context network reads"
            )

    def verify(self) -> None:
        """Read every byte; raises UserError that names the first damaged file."""
        for path in self._paths:
            _, header = _read_header(path)
            features = _read(path)
            boxes = np.empty(0, "<f4") if features.boxes is None else features.boxes
            columns = (features.timestamps, features.logits, boxes, features.embeddings)
            found = [
                zlib.crc32(np.ascontiguousarray(column).data)
                for column in (*columns, features.labels)
            ]
            if found != header["checksums"]:
                raise UserError(_damaged(path, "its data fails the checksum"))


def _path(folder: Path, video: str) -> Path:
    stem = quote(video, safe=" ()+,=@")
    return folder / (("%2E" + stem[1:] if stem.startswith(".") else stem) + SUFFIX)


def _dtypes(form: FeatureFormat) -> tuple[str, ...]:
    """Return the stored types of timestamps, logits, boxes, embeddings and labels."""
    return "<f8", "<f4", "<f4", "<f2" if form.half else "<f4", "i1"


def _read_header(path: Path) -> tuple[FeatureFormat, dict[str, Any]]:
    """Return format and header of a file; raises UserError if it is damaged or of another kind."""
    with path.open("rb") as file:
        num_bytes = file.seek(0, 2)
        file.seek(max(0, num_bytes - FOOTER.size))
        footer = file.read(FOOTER.size)
        if len(footer) < FOOTER.size or footer[-len(MAGIC) :] != MAGIC:
            raise UserError(_damaged(path, "it does not end like a features file"))
        length, checksum, _ = FOOTER.unpack(footer)
        file.seek(max(0, num_bytes - FOOTER.size - length))
        text = file.read(length)
    if zlib.crc32(text) != checksum:
        raise UserError(_damaged(path, "its header fails the checksum"))
    header: dict[str, Any] = json.loads(text)
    form = FeatureFormat(**header["form"])
    shapes = _shapes(form, header)
    sizes = [
        int(np.prod(shape)) * np.dtype(kind).itemsize
        for shape, kind in zip(shapes, _dtypes(form), strict=True)
    ]
    if len(MAGIC) + sum(sizes) + length + FOOTER.size != num_bytes:
        raise UserError(_damaged(path, "its size does not match its header"))
    return form, header


def _shapes(form: FeatureFormat, header: dict[str, Any]) -> tuple[tuple[int, ...], ...]:
    """Return the shapes of timestamps, logits, boxes, embeddings and labels."""
    count = sum(header["counts"])
    boxes = (count if header["has_boxes"] else 0, 4)
    return (count,), (count, 2), boxes, (count, form.num_embedding), (count,)


def _read(path: Path) -> VideoFeatures:
    form, header = _read_header(path)
    columns = []
    offset = len(MAGIC)
    for shape, kind in zip(_shapes(form, header), _dtypes(form), strict=True):
        size = int(np.prod(shape)) * np.dtype(kind).itemsize
        empty = np.empty(shape, kind)
        columns.append(np.memmap(path, kind, "r", offset, shape) if size else empty)
        offset += size
    timestamps, logits, boxes, embeddings, labels = columns
    return VideoFeatures(
        video=header["video"],
        entities=header["entities"],
        counts=header["counts"],
        timestamps=np.array(timestamps),
        labels=np.array(labels),
        logits=np.array(logits),
        embeddings=embeddings,
        boxes=np.array(boxes) if header["has_boxes"] else None,
    )


def _damaged(path: Path, problem: str) -> str:
    advice = "remove it and run the encoder on the video again"
    return f"{path} is damaged or not a features file ({problem}); {advice}"
