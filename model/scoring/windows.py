"""Score face tracks with a network, in windows that share their computations.

The published rule: a track is cut into windows of 1 s, again into windows of 2 s, and so on to
6 s; each window is scored alone, and a frame's logits are the mean over the window lengths. A
window differs from the whole track for the visual encoder only within `radius` frames of its
borders, so the track is encoded once, and again only beside those borders.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.contract import Network
from model.devices import send
from model.scoring.prepared import Precision, inference_copy
from utils.features import feature_function, feature_module
from utils.scores import speaking_probability
from utils.structures import FPS, SAMPLE_RATE, STEPS_PER_FRAME

Voices = dict[tuple[int, int, int], Tensor]  # audio embeddings by start, stop, length of windows

_FUSED_FRAMES = 500  # of all windows that are fused at once, bounds the memory
_GPU_FRAMES = 512  # encoded at once: fills a GPU


class _View(NamedTuple):
    """Frames [start, stop) as embedded where the sequence is [first, last)."""

    first: int
    last: int
    start: int
    stop: int


def scores(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the scores (T,) of logits (T, 2): unbounded, speaking above 0."""
    return np.ascontiguousarray(logits[:, 1])


def probabilities(logits: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return the probabilities (T,) in [0, 1] of logits (T, 2)."""
    return speaking_probability(logits).astype(np.float32)


def score_track(
    network: Network,
    faces: NDArray[np.uint8],
    waveform: NDArray[np.int16],
    fps: float | Fraction = FPS,
    windows: Sequence[int] | None = None,
) -> NDArray[np.float32]:
    """Score every frame of one track: (T,), unbounded, speaking above 0.

    Audio that is more than a frame shorter than the track, or missing, is padded with silence.
    Kept: audio of exactly the track's length gives one frame of features less than the track has
    (the last one is never complete); the last frame gets the score of the one before it.

    Args:
        network: Scores it on the device where its parameters are.
        faces: Grey crops (T, 112, 112).
        waveform: Mono audio at 16 kHz, from the start of the first frame.
        fps: Frame rate of `faces`.
        windows: Lengths to average over, s; by default those of the network.
    """
    feature = network.inputs.feature
    if feature_module(feature).num_rows(len(waveform), fps) < STEPS_PER_FRAME * max(
        len(faces) - 1, 1
    ):
        num_samples = math.ceil(max(len(faces), 2) * SAMPLE_RATE / Fraction(fps))
        waveform = np.pad(waveform, (0, max(0, num_samples - len(waveform))))
    features = feature_function(feature)(waveform, fps)
    return scores(track_logits(network, faces, features, windows))


def track_logits(
    network: Network,
    faces: NDArray[np.uint8],
    features: NDArray[np.float32],
    windows: Sequence[int] | None = None,
    precision: Precision = "fp32",
) -> NDArray[np.float32]:
    """Return the logits (T, 2) of every frame of one track, as `track_outputs` does."""
    return track_outputs(network, faces, features, windows, precision)[:, :2]


def track_outputs(
    network: Network,
    faces: NDArray[np.uint8],
    features: NDArray[np.float32],
    windows: Sequence[int] | None = None,
    precision: Precision = "fp32",
) -> NDArray[np.float32]:
    """Return the logits of every frame of one track, the mean over the window lengths.

    They are (T, 2), or (T, 3) for a network that compares faces: the last column is the match.
    Frames without features at the end get the logits of the last frame that has them. There is
    always one such frame: if it lacks rows, they are repeated from the first on.

    Args:
        network: Scores it on the device where its parameters are; it is not changed.
        faces: Grey crops (T, 112, 112).
        features: At least one row; 4 for each frame, more are ignored.
        windows: Lengths to average over, s; by default those of the network.
        precision: Of the visual encoder; the rest runs in fp32.
    """
    if len(faces) == 0 or len(features) == 0:
        raise ValueError(
            f"expected at least one face and one row of features, found {len(faces)} faces and "
            f"{len(features)} rows; leave empty tracks out, and give the features of silence "
            "where there is no sound"
        )
    with torch.inference_mode():
        prepared = inference_copy(network, precision)
    return prepared_outputs(prepared, faces, features, windows)


def prepared_outputs(
    network: Network,
    faces: NDArray[np.uint8],
    features: NDArray[np.float32],
    windows: Sequence[int] | None = None,
    voices: Voices | None = None,
) -> NDArray[np.float32]:
    """Return the `track_outputs` of a network that is an `inference_copy` already.

    Args:
        network: The copy.
        faces: Grey crops (T, 112, 112), one or more.
        features: At least one row.
        windows: Lengths to average over, s.
        voices: Embeddings of the same features, from tracks seen at the same time; missing ones
            are added.
    """
    lengths = _window_lengths(network.windows if windows is None else windows)
    if len(features) < STEPS_PER_FRAME:
        features = np.pad(features, ((0, STEPS_PER_FRAME - len(features)), (0, 0)), mode="wrap")
    usable = min(len(features) // STEPS_PER_FRAME, len(faces))
    voices = {} if voices is None else voices
    with torch.inference_mode():
        device = next(network.parameters()).device
        audio = send(np.ascontiguousarray(features[: STEPS_PER_FRAME * usable], np.float32), device)
        total = torch.zeros(usable, 3 if network.compares else 2, device=device)
        for length, embedded in _embed(network, faces[:usable], lengths):
            total += _fuse_windows(network, audio, embedded, length, voices)
        logits: NDArray[np.float32] = (total / len(lengths)).cpu().numpy()
    return np.pad(logits, ((0, len(faces) - usable), (0, 0)), mode="edge")


def _window_lengths(windows: Sequence[int]) -> list[int]:
    """Return the window lengths in frames, each once."""
    if not windows or any(window <= 0 or window != int(window) for window in windows):
        raise ValueError(
            f"windows must be one or more whole numbers of seconds above 0, found {windows!r}; "
            "see --windows"
        )
    return [FPS * int(window) for window in dict.fromkeys(windows)]


def _embed(
    network: Network, faces: NDArray[np.uint8], lengths: Sequence[int]
) -> list[tuple[int, Tensor]]:
    """Return, for each window length, the embeddings (T, C) of all its windows in a row."""
    num_frames, radius = len(faces), network.radius
    whole = math.lcm(*lengths)  # where windows of all lengths end, the track falls apart
    shared = _chunks(num_frames, whole, radius, _chunk_size(network))
    fringes = {
        length: [
            view
            for border in range(length, num_frames, length)
            if border % whole
            for view in _border_views(border, length, num_frames, radius)
        ]
        for length in lengths
    }
    views = dict.fromkeys(shared + [view for beside in fringes.values() for view in beside])
    found = _encode_views(network, faces, list(views))
    track = torch.cat([found[view] for view in shared])
    embedded = []
    for length, beside in fringes.items():
        own = track.clone() if beside else track
        for view in beside:
            own[view.start : view.stop] = found[view]
        embedded.append((length, own))
    return embedded


def _chunks(num_frames: int, whole: int, radius: int, size: int) -> list[_View]:
    """Cut the track into sequences of `whole` frames, and these into chunks of about `size`."""
    views = []
    for first in range(0, num_frames, whole):
        last = min(first + whole, num_frames)
        count = math.ceil((last - first) / size)
        edges = [first + (last - first) * index // count for index in range(count + 1)]
        for start, stop in pairwise(edges):
            views.append(_View(max(first, start - radius), min(last, stop + radius), start, stop))
    return views


def _border_views(border: int, length: int, num_frames: int, radius: int) -> list[_View]:
    """Return what windows of one length see differently on either side of their border."""
    first, last = border - length, min(border + length, num_frames)
    return [
        _View(max(first, border - 2 * radius), border, max(first, border - radius), border),
        _View(border, min(last, border + 2 * radius), border, min(last, border + radius)),
    ]


def _chunk_size(network: Network) -> int:
    """Return how many frames to encode at once: few fit the cache, many share more context."""
    on_gpu = next(network.parameters()).device.type != "cpu"
    return _GPU_FRAMES if on_gpu else max(32, 8 * network.radius)


def _encode_views(
    network: Network, faces: NDArray[np.uint8], views: Sequence[_View]
) -> dict[_View, Tensor]:
    """Embed views (stop - start, C), those of equal shape together."""
    groups = defaultdict(list)
    for view in views:
        shape = (view.last - view.first, view.start - view.first, view.stop - view.first)
        groups[shape].append(view)
    device = next(network.parameters()).device
    found: dict[_View, Tensor] = {}
    for (num_read, start, stop), group in groups.items():
        num_clips = max(1, _chunk_size(network) // num_read)
        for index in range(0, len(group), num_clips):
            batch = group[index : index + num_clips]
            clips = np.stack([faces[view.first : view.last] for view in batch])
            embeddings = network.encode_faces(send(clips, device), start, stop)
            found.update(zip(batch, embeddings, strict=True))
    return found


def _fuse_windows(
    network: Network, audio: Tensor, faces: Tensor, length: int, voices: Voices
) -> Tensor:
    """Return the logits (T, 2), and the match, of the windows of one length."""
    num_windows = len(faces) // length
    step = max(1, _FUSED_FRAMES // length)
    edges = [*range(0, num_windows, step), num_windows]
    ranges = [(first * length, last * length) for first, last in pairwise(edges)]
    logits = []
    for start, stop in ranges:
        logits.append(_fuse(network, audio, faces[start:stop], (start, stop, length), voices))
    rest = num_windows * length
    if rest < len(faces):
        window = (rest, len(faces), len(faces) - rest)
        logits.append(_fuse(network, audio, faces[rest:], window, voices))
    return torch.cat(logits)


def _fuse(
    network: Network, audio: Tensor, faces: Tensor, place: tuple[int, int, int], voices: Voices
) -> Tensor:
    """Return the outputs of windows; `place` is their start, stop and common length."""
    start, stop, length = place
    if place not in voices:
        steps = audio[STEPS_PER_FRAME * start : STEPS_PER_FRAME * stop]
        steps = steps.view(-1, STEPS_PER_FRAME * length, steps.shape[1])
        voices[place] = network.encode_audio(steps)
    logits = network.fuse(voices[place], faces.view(-1, length, faces.shape[1]))
    rows = logits.av if logits.match is None else torch.cat((logits.av, logits.match[..., None]), 2)
    return rows.flatten(0, 1)
