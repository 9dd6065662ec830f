"""Features of chunks: computed on request, or stored in HDF5."""

import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from utils.arrays.sound import ArraySound, SoundChecks, check_levels
from utils.datasets.tragic_talkers.chunks import CHUNK_FRAMES, CHUNK_SAMPLES, AudioChunk
from utils.datasets.tragic_talkers.layout import CAMERAS_PER_RIG, Split, TragicTalkers
from utils.datasets.tragic_talkers.scaler import FEATURES, Scaler, check_feature, fit
from utils.errors import ResourceError, UserError
from utils.files import publish

if TYPE_CHECKING:
    import h5py

FILE = "development_dataset.h5"
FLUSH_EVERY = 16  # chunks between updates of the stored position


class FeatureSource(Protocol):
    """Provides the features of chunks by their index in a list."""

    feature: str
    groups: Sequence[int]  # a number for each chunk; chunks with equal numbers have equal features

    def read(self, number: int) -> NDArray[np.floating]:
        """Return the features (16, 960, 64) of a chunk; may be called from several threads."""
        ...


def group(chunks: Sequence[AudioChunk]) -> list[int]:
    """Return a number for each chunk; chunks of several cameras with the same audio share it."""
    numbers: dict[tuple[str, int, int], int] = {}
    return [numbers.setdefault(chunk.key, len(numbers)) for chunk in chunks]


class LiveFeatures:
    """Computes features from the audio on request.

    Args:
        layout: Paths of the audio.
        split: Split of the chunks.
        chunks: The chunks, by index.
        feature: A name in FEATURES.
        precision: float64 as published; float32 takes half the time.
        checks: Reject sequences with clipped or silent microphones, which reads all of their
            audio once; None to skip this.
    """

    def __init__(
        self,
        layout: TragicTalkers,
        split: Split,
        chunks: Sequence[AudioChunk],
        feature: str,
        precision: Literal["float64", "float32"] = "float64",
        checks: SoundChecks | None = None,
    ) -> None:
        check_feature(feature)
        self.feature = feature
        self.groups: Sequence[int] = group(chunks)
        self._chunks = chunks
        self._precision = precision
        self._audio: dict[tuple[str, int], ArraySound] = {}
        for chunk in chunks:
            key = chunk.view.sequence, chunk.view.rig
            if key not in self._audio:
                self._audio[key] = audio = layout.audio(split, *key)
                if audio.num_samples < CHUNK_SAMPLES:
                    raise UserError(
                        f"{layout.audio_folder(split, key[0])}: expected at least 2 s of audio, "
                        f"a chunk, found {audio.duration_s:.2f} s; remove the sequence"
                    )
                if checks is not None:
                    check_levels(audio, checks, f"sequence {key[0]}, rig {key[1]:02d}")

    def read(self, number: int) -> NDArray[np.float32]:
        """Return the features (16, 960, 64) of a chunk."""
        chunk = self._chunks[number]
        audio = self._audio[chunk.view.sequence, chunk.view.rig]
        samples = audio.read(chunk.first_sample, chunk.first_sample + CHUNK_SAMPLES)
        return FEATURES[self.feature](samples.astype(self._precision))


@dataclass(frozen=True)
class StoreOptions:
    """How features are stored."""

    layout: Annotated[
        Literal["shared", "published"],
        "shared stores the features that a rig's cameras have in common once: an eleventh in size",
    ] = "shared"
    precision: Annotated[Literal["float32", "float16"], "float16 halves the size"] = "float32"


class StoredFeatures:
    """Features read from an HDF5 file of this project or a published one; must be closed.

    Args:
        path: The file.
        chunks: The expected chunks, in order.
        feature: The expected feature; published files do not name it.

    Raises:
        FileNotFoundError: The file is missing or was not finished.
        UserError: The file contains other chunks or another feature.
    """

    def __init__(self, path: Path, chunks: Sequence[AudioChunk], feature: str) -> None:
        import h5py

        if not path.is_file():
            raise FileNotFoundError(f"expected stored features, found no file {path}; create it")
        self.feature = feature
        self._lock = threading.Lock()  # HDF5 is not thread-safe
        self._file: h5py.File = h5py.File(path, "r")
        stored = str(self._file.attrs.get("feature", feature))
        names = [name.decode() for name in self._file["sequence"][:].ravel().tolist()]
        same_chunks = len(names) == len(chunks) and all(
            name.partition("-cam")[0] == chunk.view.sequence
            for name, chunk in zip(names, chunks, strict=True)
        )
        if stored != feature or not same_chunks:
            self.close()
            raise UserError(
                f"{path}: expected {feature} of {len(chunks)} chunks, found {stored} of "
                f"{len(names)} chunks or other sequences; it was created for other labels: create "
                "it again"
            )
        shared = self._file.get("sound")
        self.groups: Sequence[int] = range(len(chunks)) if shared is None else shared[:].tolist()

    def read(self, number: int) -> NDArray[np.floating]:
        """Return the features (16, 960, 64) of a chunk."""
        with self._lock:
            return np.asarray(self._file["features"][self.groups[number]])

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _ignore(*_: object) -> None:
    pass


def build_store(
    path: Path,
    chunks: Sequence[AudioChunk],
    source: FeatureSource,
    options: StoreOptions,
    num_threads: int = 2,
    progress: Callable[[int, int], None] = _ignore,
) -> None:
    """Write the features and labels of chunks; an interrupted call can be resumed.

    Args:
        path: The file; named PATH.part until it is complete.
        chunks: The chunks, in order.
        source: Computes their features.
        options: How features are stored.
        num_threads: Threads that compute features.
        progress: Called with the number of rows done and in total.
    """
    import h5py

    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    plan = _fingerprint(chunks, source.feature, options)
    if part.is_file() and not _can_resume(part, plan):
        part.unlink()
    rows = _rows(source, options)
    if not part.is_file():
        _create(part, plan, chunks, rows, (source, options))
    with h5py.File(part, "r+") as file:
        done = int(file["done"][0])
        for number, features in enumerate(_compute(source, rows[done:], num_threads), done + 1):
            file["features"][number - 1] = features
            if number % FLUSH_EVERY == 0 or number == len(rows):
                file.flush()
                file["done"][0] = number
                file.flush()
                progress(number, len(rows))
    publish(part, path)


def _rows(source: FeatureSource, options: StoreOptions) -> list[int]:
    """Return the chunk of each stored row: all chunks, or the first one of each group."""
    if options.layout == "published":
        return list(range(len(source.groups)))
    return [source.groups.index(number) for number in range(max(source.groups) + 1)]


def _compute(
    source: FeatureSource, rows: Sequence[int], num_threads: int
) -> Iterator[NDArray[np.floating]]:
    """Yield the features of chunks in order, computing a few ahead."""
    waiting = iter(rows)
    with ThreadPoolExecutor(num_threads) as pool:
        ahead = [pool.submit(source.read, row) for row in islice(waiting, 2 * num_threads)]
        while ahead:
            yield ahead.pop(0).result()
            ahead += [pool.submit(source.read, row) for row in islice(waiting, 1)]


def _fingerprint(chunks: Sequence[AudioChunk], feature: str, options: StoreOptions) -> str:
    """Return a hash of everything that determines the contents of a store."""
    names = "\n".join(f"{chunk.view.name} {chunk.start_s}" for chunk in chunks)
    text = f"{feature} {options.layout} {options.precision}\n{names}"
    return hashlib.sha256(text.encode()).hexdigest()


def _can_resume(part: Path, plan: str) -> bool:
    """Return whether an incomplete file belongs to this plan and can be resumed."""
    import h5py

    try:
        with h5py.File(part, "r") as file:
            return bool(file.attrs["plan"] == plan and "done" in file)
    except BlockingIOError as error:
        raise ResourceError(f"{part} is being written by another process; wait for it") from error
    except (OSError, KeyError):
        return False


def _create(
    part: Path,
    plan: str,
    chunks: Sequence[AudioChunk],
    rows: Sequence[int],
    settings: tuple[FeatureSource, StoreOptions],
) -> None:
    """Create the file in its full size, so that it stays readable if writing is interrupted."""
    import h5py

    source, options = settings
    with h5py.File(part, "w") as file:
        file.attrs["feature"], file.attrs["plan"] = source.feature, plan
        _reserve(file, "features", (len(rows), *source.read(0).shape), options.precision)
        _reserve(file, "done", (1,), "int64")
        file["done"][0] = 0
        file["cams"] = np.stack(
            [
                np.eye(CAMERAS_PER_RIG, dtype=np.float32)[chunk.view.rig_index, None]
                for chunk in chunks
            ]
        )
        for name, field in (
            ("target_coords", "positions"),
            ("pseudo_labels", "located"),
            ("speech_activity", "speaking"),
        ):
            values = np.stack([getattr(chunk, field) for chunk in chunks]).astype(np.float32)
            assert values.shape[1] == CHUNK_FRAMES
            file[name] = values
        file["sequence"] = np.array([chunk.view.name.encode() for chunk in chunks])
        if options.layout == "shared":
            file["sound"] = np.array(source.groups, np.int64)


def _reserve(file: "h5py.File", name: str, shape: tuple[int, ...], kind: str) -> None:
    """Allocate a data set of the file without writing to it."""
    from h5py import h5d, h5p, h5s, h5t

    creation: Any = h5p.create(h5p.DATASET_CREATE)
    creation.set_alloc_time(h5d.ALLOC_TIME_EARLY)
    creation.set_fill_time(h5d.FILL_TIME_NEVER)
    h5d.create(
        file.id, name.encode(), h5t.py_create(np.dtype(kind)), h5s.create_simple(shape), creation
    )


def measure_scaler(source: FeatureSource, num_threads: int = 2) -> Scaler:
    """Return the scaler of all chunks of a source; equal features are computed once."""
    counts = np.bincount(source.groups)
    first = [source.groups.index(number) for number in range(len(counts))]
    weights = counts.tolist()
    return fit(source.feature, zip(_compute(source, first, num_threads), weights, strict=True))
