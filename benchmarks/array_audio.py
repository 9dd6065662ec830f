"""Time an array's features and network, and train it on a synthetic scene.

python -m benchmarks.array_audio speed --json FILE     what features, storing and hearing cost
python -m benchmarks.array_audio scene --folder DIR    make sequences, train, test on unseen ones

Both use synthetic sequences of the array in utils/datasets/tragic_talkers/synthetic_scene.py.
`scene` resumes if it is started again with the same folder.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.measure import measure, parse, report
from model.arrays.command import main as array_command
from model.arrays.objective import LocalisationObjective
from model.localizers.tragic_crnn import TragicCRNN
from utils.arrays.geometry import read_geometry
from utils.arrays.spectra import FFT_SIZE, HOP, hann, kept_frames, log_mel
from utils.arrays.speech_positions import read_heard
from utils.arrays.srp_phat import steer
from utils.datasets.tragic_talkers.chunks import CHUNK_S, CHUNK_SAMPLES, cut
from utils.datasets.tragic_talkers.evaluation import compare, compare_all, evaluate
from utils.datasets.tragic_talkers.features import (
    FILE,
    LiveFeatures,
    StoredFeatures,
    StoreOptions,
    build_store,
)
from utils.datasets.tragic_talkers.labels import read_labels, read_truth
from utils.datasets.tragic_talkers.layout import CameraView, TragicTalkers
from utils.datasets.tragic_talkers.loader import ChunkBatch
from utils.datasets.tragic_talkers.scaler import FEATURES
from utils.datasets.tragic_talkers.synthetic_room import Room
from utils.datasets.tragic_talkers.synthetic_scene import (
    CONDITION,
    SceneOptions,
    make_data,
    make_scene,
    plan,
    synthetic_rig,
)

PX_PER_DEGREE = 44.4
ROOMS = {"free": Room(), "echoes": Room(order=1)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, measure, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("speed", "scene"))
    parser.add_argument(
        "--folder", type=Path, default=Path("exps/array_scene"), help="of the scene"
    )
    parser.add_argument("--width", type=int, default=64, help="channels of the first block")
    parser.add_argument("--sequences", type=int, default=8, help="of 30 s, to train on, each room")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--lr", type=float, default=3e-4)
    options = parse(parser, arguments, threads=2)
    if options.what == "scene":
        rows = hear_scene(options)
    else:
        rows = [
            *time_features(options.repeats, options.threads),
            *time_store(options.repeats),
            *time_network(options.repeats, options.width),
        ]
    report(rows, options.json)
    return 0


def time_features(repeats: int, threads: int) -> list[dict[str, object]]:
    """Return a row for each way of working features out of a chunk of 2 s."""
    chunk = make_scene(synthetic_rig(), SceneOptions(2, "noise"), 0).signals
    single = chunk.astype(np.float32)
    ways: dict[str, Callable[[], object]] = {
        "gcc_phat, pair by pair, numpy": partial(plain_gcc_phat, chunk, numpy_spectrum),
        "gcc_phat": partial(FEATURES["gcc_phat"], chunk),
        "gcc_phat, float32": partial(FEATURES["gcc_phat"], single),
        "salsa_lite": partial(FEATURES["salsa_lite"], chunk),
        "array_log_mel": partial(FEATURES["array_log_mel"], chunk),
    }
    if find_spec("librosa"):
        plain = partial(plain_gcc_phat, chunk, librosa_spectrum)
        ways["gcc_phat, pair by pair, librosa"] = plain
    pool = ThreadPoolExecutor(threads)
    for name in ("gcc_phat", "salsa_lite"):
        several = partial(list_of, pool, FEATURES[name], [chunk] * threads)
        ways[f"{name}, {threads} threads"] = several
    seconds = measure(ways, repeats)
    pool.shutdown()
    rows: list[dict[str, object]] = []
    for way, taken in seconds.items():
        count = threads if "threads" in way else 1
        rows.append(
            {
                "what": way,
                "ms_per_chunk": 1000 * taken / count,
                "times_real_time": CHUNK_S * count / taken,
            }
        )
    return rows


def list_of(
    pool: ThreadPoolExecutor,
    work: Callable[[NDArray[np.float64]], object],
    chunks: Sequence[NDArray[np.float64]],
) -> list[object]:
    """Work on chunks side by side."""
    return list(pool.map(work, chunks))


def numpy_spectrum(samples: NDArray[np.float64]) -> NDArray[np.complex128]:
    """Return the spectra (L + 1, 257) of one microphone."""
    padded = np.pad(samples, FFT_SIZE // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, FFT_SIZE)[::HOP]
    return np.fft.rfft(frames * hann(False), axis=1)


def librosa_spectrum(samples: NDArray[np.float64]) -> NDArray[np.complex128]:
    """Return the spectra (L + 1, 257) of one microphone."""
    import librosa  # type: ignore[import-not-found, unused-ignore]

    window = hann(False)
    found = librosa.stft(samples, n_fft=FFT_SIZE, hop_length=HOP, window=window, pad_mode="reflect")
    return np.asarray(found.T)


def plain_gcc_phat(
    chunk: NDArray[np.float64],
    spectrum_of: Callable[[NDArray[np.float64]], NDArray[np.complex128]],
) -> NDArray[np.float32]:
    """Work GCC-PHAT out microphone by microphone and pair by pair, with all 512 lags."""
    spectra = [spectrum_of(samples) for samples in chunk.T]
    channels = []
    for spectrum in spectra[1:]:
        phase = np.exp(1j * np.angle(spectrum * spectra[0].conj()))
        lags = np.fft.irfft(phase, axis=1)
        channels.append(np.concatenate((lags[:, -32:], lags[:, :32]), axis=1))
    channels.append(np.asarray(log_mel(spectra[0])))
    return np.stack(channels)[:, kept_frames(len(chunk) // HOP)].astype(np.float32)


def time_store(repeats: int) -> list[dict[str, object]]:
    """Return a row for each place that features of a chunk can come from."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_data(folder, plan("noise", 1, 0, SceneOptions(6, "noise")))
        layout = TragicTalkers(folder)
        chunks = cut(read_labels(layout.labels_path(CONDITION)))
        live = LiveFeatures(layout, "development", chunks, "gcc_phat")
        ways: dict[str, Callable[[], object]] = {
            "from the sound": partial(live.read, 0),
            "from the sound, float32": partial(
                LiveFeatures(layout, "development", chunks, "gcc_phat", "float32").read, 0
            ),
        }
        stores = []
        for options in (StoreOptions(), StoreOptions(precision="float16")):
            path = folder / options.precision / FILE
            build_store(path, chunks, live, options)
            stores.append(StoredFeatures(path, chunks, "gcc_phat"))
            ways[f"from the store, {options.precision}"] = partial(stores[-1].read, 1)
        seconds = measure(ways, repeats)
        for store in stores:
            store.close()
    return [
        {"what": way, "ms_per_chunk": 1000 * taken, "times_real_time": CHUNK_S / taken}
        for way, taken in seconds.items()
    ]


def time_network(repeats: int, width: int) -> list[dict[str, object]]:
    """Return a row for each thing the network does, counted in chunks of one view."""
    network = TragicCRNN(width=width)
    objective = LocalisationObjective(network)
    sounds = torch.randn(2, 16, CHUNK_SAMPLES // HOP, 64)
    places = torch.arange(11).expand(2, 11)
    ways: dict[str, tuple[int, Callable[[], object]]] = {
        "hear, a view": (1, partial(hear_batch, network, sounds[:1], 1)),
        "hear, 11 views of one sound": (11, partial(hear_batch, network, sounds[:1], 11)),
        "train, single views": (2, partial(learn, objective, sounds, places[:, :1])),
        "train, grouped cameras": (22, partial(learn, objective, sounds, places)),
    }
    seconds = measure({name: way for name, (_, way) in ways.items()}, repeats)
    return [
        {
            "what": f"{name}, width {width}",
            "ms_per_chunk": 1000 * taken / ways[name][0],
            "chunks_per_s": ways[name][0] / taken,
        }
        for name, taken in seconds.items()
    ]


@torch.inference_mode()
def hear_batch(network: TragicCRNN, sounds: torch.Tensor, num_views: int) -> None:
    """Hear one chunk for some cameras."""
    network.eval()
    encoded = network.encode(sounds).expand(num_views, -1, -1)
    network.locate(encoded, torch.arange(num_views))


def learn(objective: LocalisationObjective, sounds: torch.Tensor, places: torch.Tensor) -> None:
    """Work out the gradient of a batch."""
    objective.train()
    known = torch.ones(*places.shape, 60)
    batch = ChunkBatch(sounds, places, known, known > 0, known > 0, torch.ones_like(places) > 0)
    loss, _ = objective(batch)
    loss.backward()


def hear_scene(options: argparse.Namespace) -> list[dict[str, object]]:
    """Make sequences in rooms with and without echoes, train on all of them, test each kind."""
    data, run = options.folder / "data", options.folder / "run"
    made = options.folder / "made"
    if not made.is_file():
        plans = [
            one
            for place, (name, room) in enumerate(ROOMS.items())
            for one in plan(name, options.sequences, 3, SceneOptions(30, room=room), 1000 * place)
        ]
        make_data(data, plans)
        made.touch()
    begun = time.monotonic()
    shared = ["--dataPath", str(data), "--savePath", str(run), "--batchSize", "8"]
    learning = ["--width", str(options.width), "--epochs", str(options.epochs)]
    learning += ["--lr", str(options.lr), "--groupCameras", "--saveInterval", "20"]
    for action, more in (
        ("features", ["--precision", "float16"]),
        ("train", learning),
        ("forward", []),
    ):
        if action == "features" and any((data / "features").glob("*/*.h5")):
            continue
        if array_command([action, *shared, *more]):
            raise RuntimeError(f"the step {action} failed, see above")
    taken = time.monotonic() - begun
    rows = judge_rooms(data, run / "test_forward.csv")
    return [{**row, "minutes": round(taken / 60, 1)} for row in rows]


def judge_rooms(data: Path, table: Path) -> list[dict[str, object]]:
    """Return how well the network hears unseen sequences of each room, and steering does."""
    layout = TragicTalkers(data)
    heard = read_heard(table)
    geometry = read_geometry(data / "geometry.json")
    rows: list[dict[str, object]] = []
    for room in ROOMS:
        views = {name: found for name, found in heard.items() if name.startswith(room)}
        steered = {}
        for name, found in views.items():
            view = CameraView.parse(name)
            sound = layout.audio("test", view.sequence, view.rig)
            camera = geometry.cameras[view.rig_index]
            there = steer(sound, geometry, camera, len(found))
            steered[view] = compare(name, read_truth(layout.truth_path(view)), there)
        for way, frames in (("network", compare_all(layout, views)), ("steering", steered)):
            close, wide = (evaluate(frames, tolerance) for tolerance in (89, 222))
            rows.append(
                {
                    "room": room,
                    "by": way,
                    "aD_px": close.errors.distance,
                    "aD_degrees": close.errors.distance / PX_PER_DEGREE,
                    "detection_error_percent": close.errors.detection,
                    "AP_2deg": close.ap,
                    "F1_2deg": close.f1,
                    "AP_5deg": wide.ap,
                    "F1_5deg": wide.f1,
                }
            )
    return rows


if __name__ == "__main__":
    sys.exit(main())
