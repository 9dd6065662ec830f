"""Load a localizer and localise speech with it, chunk by chunk."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from model.checkpoints.build import load_released
from model.checkpoints.files import read_weights
from model.checkpoints.registry import find_file
from model.contract import Localizer
from model.localizers.tragic_crnn import Pooling, TragicCRNN
from utils.arrays.sound import ArraySound, SoundChecks, check_levels
from utils.arrays.spectra import FPS
from utils.arrays.speech_positions import Heard
from utils.arrays.speech_positions import num_frames as frames_of
from utils.datasets.tragic_talkers.chunks import CHUNK_FRAMES, CHUNK_S, CHUNK_SAMPLES, first_sample
from utils.datasets.tragic_talkers.labels import read_truth
from utils.datasets.tragic_talkers.layout import CameraView, Split, TragicTalkers
from utils.datasets.tragic_talkers.scaler import FEATURES, Scaler
from utils.errors import UserError


def load_localizer(path: Path, pooling: Pooling = "avg") -> TragicCRNN:
    """Return the network of a published or own checkpoint, in eval mode.

    Args:
        path: The checkpoint; it determines the network's width but not its pooling.
        pooling: The pooling it was trained with.
    """
    state = read_weights(find_file(path)).state
    network = TragicCRNN(pooling, **TragicCRNN.variant_of(state))
    load_released(network, state)
    return network.eval()


@torch.inference_mode()
def hear(
    network: Localizer,
    sound: ArraySound,
    scaler: Scaler,
    cameras: Sequence[int],
    num_frames: int,
) -> list[Heard]:
    """Return localised speech across the view of each camera, in chunks of 2 s.

    The part of the network that is independent of the camera runs once. One chunk is held at a
    time.

    Args:
        network: The localizer, in eval mode; runs on its own device.
        sound: Audio of one rig.
        scaler: Scaler of the network's features.
        cameras: Positions of the cameras in the rig, from 0.
        num_frames: Number of frames of the views, at 30/s.

    Raises:
        UserError: The audio is shorter than a chunk or has another number of microphones.
    """
    _check(network, sound)
    device = next(network.parameters()).device
    places = torch.tensor(list(cameras), device=device)
    found = []
    for features in _chunks(sound, scaler, num_frames):
        encoded = network.encode(torch.from_numpy(features)[None].to(device))
        located = network.locate(encoded.expand(len(places), -1, -1), places)
        found.append(located.float().cpu().numpy())
    whole = np.concatenate(found, axis=1)[:, :num_frames]
    return [Heard(part[:, 0].copy(), part[:, 1].copy()) for part in whole]


def _check(network: Localizer, sound: ArraySound) -> None:
    if sound.num_microphones != network.num_microphones:
        raise UserError(
            f"expected audio of {network.num_microphones} microphones, found "
            f"{sound.num_microphones}; the network works only with the array of its training"
        )
    if sound.num_samples < CHUNK_SAMPLES:
        raise UserError(
            f"expected at least {CHUNK_S} s of audio (one chunk), found {sound.duration_s:.2f} s"
        )


def _chunks(sound: ArraySound, scaler: Scaler, num_frames: int) -> Iterator[NDArray[np.float32]]:
    """Yield the scaled features of each chunk; the last one is padded with silence."""
    for frame in range(0, num_frames, CHUNK_FRAMES):
        start = first_sample(frame / FPS)
        yield scaler(FEATURES[scaler.feature](sound.read(start, start + CHUNK_SAMPLES)))


def hear_views(
    network: Localizer,
    layout: TragicTalkers,
    views: Sequence[CameraView],
    scaler: Scaler,
    checks: SoundChecks,
    split: Split = "test",
) -> Iterator[tuple[CameraView, Heard]]:
    """Yield localised speech in views of the data set; rig by rig, in order.

    A view has as many frames as its ground truth or, without one, as its audio.

    Args:
        network: The localizer, in eval mode.
        layout: Folders of the data set.
        views: Any views of any sequences.
        scaler: Scaler of the network's features.
        checks: When a microphone counts as clipped or silent.
        split: Split of the views.
    """
    for sequence, rig in sorted({(view.sequence, view.rig) for view in views}):
        of_rig = sorted(view for view in views if (view.sequence, view.rig) == (sequence, rig))
        sound = layout.audio(split, sequence, rig)
        check_levels(sound, checks, f"sequence {sequence}, rig {rig:02d}")
        paths = [layout.truth_path(view) for view in of_rig]
        truth = next((path for path in paths if path.is_file()), None)
        count = frames_of(sound.duration_s)
        if truth is not None:
            count = read_truth(truth).positions.shape[1]
        heard = hear(network, sound, scaler, [view.rig_index for view in of_rig], count)
        yield from zip(of_rig, heard, strict=True)
