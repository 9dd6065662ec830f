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
    """Return the network of a checkpoint, published or of this project, ready to hear.

    Args:
        path: The checkpoint; it tells the network's width but not its pooling.
        pooling: That it was trained with.
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
    """Return what a localizer hears across the view of each camera, chunk by chunk of 2 s.

    What cameras have in common is worked out once. The network is run as it is, so put it into
    eval mode; a chunk is held at a time.

    Args:
        network: Hears, on its own device.
        sound: Of one rig.
        scaler: Belongs to the network's features.
        cameras: Their places at the rig, from 0.
        num_frames: How many frames of the views at 30/s are wanted.

    Raises:
        UserError: The sound is shorter than a chunk or of another number of microphones.
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
            f"expected sound of {network.num_microphones} microphones, found "
            f"{sound.num_microphones}; the network hears no other array"
        )
    if sound.num_samples < CHUNK_SAMPLES:
        raise UserError(
            f"expected at least {CHUNK_S} s of sound, a chunk, found {sound.duration_s:.2f} s"
        )


def _chunks(sound: ArraySound, scaler: Scaler, num_frames: int) -> Iterator[NDArray[np.float32]]:
    """Yield the scaled features of each chunk; past its end the sound is silent."""
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
    """Yield what a localizer hears in views of the data set; rig by rig, in order.

    A view has as many frames as its ground truth, or as its sound where there is none.

    Args:
        network: Hears; in eval mode.
        layout: Where the sound lies.
        views: Any, of any sequences.
        scaler: Belongs to the network's features.
        checks: What makes a microphone useless.
        split: Of the views.
    """
    for sequence, rig in sorted({(view.sequence, view.rig) for view in views}):
        own = sorted(view for view in views if (view.sequence, view.rig) == (sequence, rig))
        sound = layout.audio(split, sequence, rig)
        check_levels(sound, checks, f"sequence {sequence}, rig {rig:02d}")
        paths = [layout.truth_path(view) for view in own]
        known = next((path for path in paths if path.is_file()), None)
        count = frames_of(sound.duration_s)
        if known is not None:
            count = read_truth(known).positions.shape[1]
        heard = hear(network, sound, scaler, [view.rig_index for view in own], count)
        yield from zip(own, heard, strict=True)
