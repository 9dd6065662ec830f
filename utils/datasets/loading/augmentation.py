"""Augmentation of faces and audio as in TalkNet; all randomness comes from the given generator."""

import cv2
import numpy as np
from numpy.typing import NDArray

from utils.structures import SAMPLE_RATE

SNR_DB = (-5.0, 5.0)
NOISE_PROBABILITY = 0.5
MIN_CROP = 0.7  # of the side
MAX_ROTATION = 15.0  # degrees
SHIFT_S = (0.3, 2.0)  # offset between audio and lips
POWER_FLOOR = 1e-4


def mix_noise(
    waveform: NDArray[np.int16], noise: NDArray[np.int16], rng: np.random.Generator
) -> NDArray[np.int16]:
    """Return the waveform, in half of the cases mixed with noise at an SNR of -5 to 5 dB.

    Powers are computed in float and the sum is clipped; in the original code both overflow.
    """
    apply = rng.random() < NOISE_PROBABILITY
    snr_db = rng.uniform(*SNR_DB)
    if not apply or not len(noise) or not len(waveform):
        return waveform
    return add_noise(waveform, noise, snr_db)


def add_noise(
    waveform: NDArray[np.int16], noise: NDArray[np.int16], snr_db: float
) -> NDArray[np.int16]:
    """Return the waveform mixed with noise, repeated or cut to its length, at `snr_db`."""
    clean = waveform.astype(np.float32)
    added = np.resize(noise, len(waveform)).astype(np.float32)
    gain = 10 ** ((_power_db(clean) - _power_db(added) - snr_db) / 20)
    mixed = np.rint(clean + added * np.float32(gain))
    return np.clip(mixed, -32768, 32767).astype(np.int16)


def _power_db(samples: NDArray[np.float32]) -> float:
    return float(10 * np.log10(np.mean(np.square(samples, dtype=np.float64)) + POWER_FLOOR))


def augment_faces(faces: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return the faces unchanged, flipped, cropped or rotated, with equal probability.

    Args:
        faces: (T, H, W) or (T, H, W, 3); all frames get the same augmentation.
        rng: Source of randomness.
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
        return rotate(faces, rng.uniform(-MAX_ROTATION, MAX_ROTATION))
    return faces


def crop(faces: NDArray[np.uint8], top: int, left: int, side: int) -> NDArray[np.uint8]:
    """Return a square part of each image, resized to the full size."""
    size = faces.shape[1]
    resized = np.empty_like(faces)
    for face, out in zip(faces, resized, strict=True):
        cv2.resize(face[top : top + side, left : left + side], (size, size), dst=out)
    return resized


def rotate(faces: NDArray[np.uint8], degrees: float) -> NDArray[np.uint8]:
    """Return the images rotated anticlockwise about their centre, filled with black."""
    size = faces.shape[1]
    matrix = cv2.getRotationMatrix2D((size / 2, size / 2), degrees, 1)
    rotated = np.empty_like(faces)
    for face, out in zip(faces, rotated, strict=True):
        cv2.warpAffine(face, matrix, (size, size), dst=out)
    return rotated


def can_shift(waveform: NDArray[np.int16]) -> bool:
    """Return whether a waveform is long enough for the smallest shift in both directions."""
    return len(waveform) >= 2 * SHIFT_S[0] * SAMPLE_RATE


def shift_audio(waveform: NDArray[np.int16], rng: np.random.Generator) -> NDArray[np.int16]:
    """Return the waveform shifted by 0.3 to 2 s in either direction, with wrap-around.

    The shift is at most half the length, the largest possible offset with wrap-around.
    """
    assert can_shift(waveform)
    max_shift_s = min(SHIFT_S[1], len(waveform) / SAMPLE_RATE / 2)
    shift = round(rng.uniform(SHIFT_S[0], max_shift_s) * SAMPLE_RATE)
    return np.roll(waveform, shift if rng.random() < 0.5 else -shift)
