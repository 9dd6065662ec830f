"""Change clips while training, as published; every choice comes from the generator given."""

import cv2
import numpy as np
from numpy.typing import NDArray

from utils.structures import SAMPLE_RATE

SNR_DB = (-5.0, 5.0)
NOISE_PROBABILITY = 0.5
MIN_CROP = 0.7  # of the side
MAX_TURN = 15.0  # degrees
SHIFT_S = (0.3, 2.0)  # how far sound is moved from its lips
POWER_FLOOR = 1e-4


def mix_noise(
    waveform: NDArray[np.int16], noise: NDArray[np.int16], rng: np.random.Generator
) -> NDArray[np.int16]:
    """Return the sound, in half of the cases with another clip's sound at -5 to 5 dB over it.

    Powers are taken in float and the sum is clipped; the published code let both wrap around.
    """
    wanted = rng.random() < NOISE_PROBABILITY
    snr_db = rng.uniform(*SNR_DB)
    if not wanted or not len(noise) or not len(waveform):
        return waveform
    return add_noise(waveform, noise, snr_db)


def add_noise(
    waveform: NDArray[np.int16], noise: NDArray[np.int16], snr_db: float
) -> NDArray[np.int16]:
    """Return the sound with noise, repeated or cut to its length, `snr_db` below it."""
    own = waveform.astype(np.float32)
    other = np.resize(noise, len(waveform)).astype(np.float32)
    gain = 10 ** ((_power_db(own) - _power_db(other) - snr_db) / 20)
    mixed = np.rint(own + other * np.float32(gain))
    return np.clip(mixed, -32768, 32767).astype(np.int16)


def _power_db(samples: NDArray[np.float32]) -> float:
    return float(10 * np.log10(np.mean(np.square(samples, dtype=np.float64)) + POWER_FLOOR))


def change_faces(faces: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return the clip as it is, flipped, cropped or turned, a quarter of the cases each.

    Args:
        faces: (T, H, W) or (T, H, W, 3); all pictures of a clip are changed alike.
        rng: Chooses.
    """
    choice = rng.integers(4)
    size = faces.shape[1]
    if choice == 1:
        return np.ascontiguousarray(faces[:, :, ::-1])
    if choice == 2:
        side = max(1, int(size * rng.uniform(MIN_CROP, 1)))
        top, left = rng.integers(0, max(1, size - side), 2)
        return crop(faces, int(top), int(left), side)
    if choice == 3:
        return turn(faces, rng.uniform(-MAX_TURN, MAX_TURN))
    return faces


def crop(faces: NDArray[np.uint8], top: int, left: int, side: int) -> NDArray[np.uint8]:
    """Return a square part of each picture, resized to the whole."""
    size = faces.shape[1]
    changed = np.empty_like(faces)
    for face, out in zip(faces, changed, strict=True):
        cv2.resize(face[top : top + side, left : left + side], (size, size), dst=out)
    return changed


def turn(faces: NDArray[np.uint8], degrees: float) -> NDArray[np.uint8]:
    """Return the pictures turned anticlockwise about their middle; what comes in is black."""
    size = faces.shape[1]
    matrix = cv2.getRotationMatrix2D((size / 2, size / 2), degrees, 1)
    changed = np.empty_like(faces)
    for face, out in zip(faces, changed, strict=True):
        cv2.warpAffine(face, matrix, (size, size), dst=out)
    return changed


def can_shift(waveform: NDArray[np.int16]) -> bool:
    """Tell whether a sound is long enough to be moved by the least shift in both directions."""
    return len(waveform) >= 2 * SHIFT_S[0] * SAMPLE_RATE


def shift_sound(waveform: NDArray[np.int16], rng: np.random.Generator) -> NDArray[np.int16]:
    """Return the sound moved by 0.3 to 2 s, earlier or later; what leaves comes in at the end.

    Half of the clip is the furthest, as a sound that goes round is then furthest from its lips.
    """
    assert can_shift(waveform)
    furthest = min(SHIFT_S[1], len(waveform) / SAMPLE_RATE / 2)
    shift = round(rng.uniform(SHIFT_S[0], furthest) * SAMPLE_RATE)
    return np.roll(waveform, shift if rng.random() < 0.5 else -shift)
