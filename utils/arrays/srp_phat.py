"""Localise speech without training, from the positions of an array's microphones.

Steered response power with phase transform (SRP-PHAT; DiBiase, 2000): the chosen direction is the
one for which the microphones' signals are most coherent.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from utils.arrays.geometry import ArrayGeometry, Camera
from utils.arrays.sound import ArraySound
from utils.arrays.spectra import FPS, RATE
from utils.arrays.speech_positions import Heard
from utils.errors import UserError

FFT_SIZE = 1024
HOP = RATE // FPS // 2  # two windows a frame
BAND_HZ = (300.0, 6000.0)  # of speech
BLOCK = 30  # frames processed at a time
WIDEST_DEG = 75.0  # from forward; a linear array resolves no more
STEP_DEG = 1.0  # between directions
DISTANCE_M = 2.5  # assumed distance of speakers
SPAN_FRAMES = 2  # a frame is averaged with this many on either side
COHERENCE = 0.12  # of the microphones, in [0, 1], at which the confidence is 0.5
ABOVE_NOISE_DB = 10.0  # minimum level of speech above the 10th percentile
LEVEL_SLOPE_DB = 2.0  # width of the confidence's rise around the threshold


def steer(
    sound: ArraySound,
    geometry: ArrayGeometry,
    camera: Camera,
    num_frames: int,
) -> Heard:
    """Return localised speech across a camera's view; positions may be outside of it.

    Held are one second of audio and the response of each frame in each direction.

    Args:
        sound: Its channels are the geometry's microphones.
        geometry: Positions of the microphones.
        camera: The camera of the view.
        num_frames: At 30/s.

    Raises:
        UserError: The number of channels differs from the number of microphones.
    """
    if sound.num_microphones != len(geometry.microphones):
        raise UserError(
            f"expected {len(geometry.microphones)} channels, one per microphone of the geometry, "
            f"found {sound.num_microphones}"
        )
    reach = np.radians(np.arange(-WIDEST_DEG, WIDEST_DEG + 1e-9, STEP_DEG))
    half = np.tan(np.radians(camera.fov_deg) / 2)
    places = 0.5 + 0.5 * np.tan(reach) / half
    delays = geometry.delays(camera.point(places, DISTANCE_M))
    found = list(_responses(sound, delays, num_frames))
    if not found:
        return Heard(np.zeros(0, np.float32), np.zeros(0, np.float32))
    response = _averaged(np.concatenate([part for part, _ in found]), SPAN_FRAMES)
    levels = np.concatenate([level for _, level in found])
    best = response.argmax(axis=1)
    shift = _vertex(response, best)
    positions = np.interp(best + shift, np.arange(len(places)), places)
    coherent = (response[np.arange(num_frames), best] / COHERENCE - 1) * 4
    loud = _averaged(levels[:, None], SPAN_FRAMES)[:, 0]
    above = (loud - np.percentile(loud, 10) - ABOVE_NOISE_DB) / LEVEL_SLOPE_DB
    confidences = 1 / (1 + np.exp(-np.clip(np.minimum(coherent, above), -30, 30)))
    return Heard(positions.astype(np.float32), confidences.astype(np.float32))


def _responses(
    sound: ArraySound, delays: NDArray[np.float64], num_frames: int
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Yield (coherence (frames, directions), level in dB (frames,)) of blocks of frames."""
    from scipy.fft import rfft

    frequencies = np.fft.rfftfreq(FFT_SIZE, 1 / RATE)
    band = (frequencies >= BAND_HZ[0]) & (frequencies <= BAND_HZ[1])
    turns = 2j * np.pi * frequencies[band][:, None, None] * delays
    steering = np.exp(turns).astype(np.complex64)  # (bins, directions, M)
    window = np.hanning(FFT_SIZE + 1)[:-1].astype(np.float32)
    margin = (FFT_SIZE - HOP) // 2
    for first in range(0, num_frames, BLOCK):
        count = min(BLOCK, num_frames - first)
        start = first * 2 * HOP - margin
        samples = sound.read(start, start + (2 * count - 1) * HOP + FFT_SIZE).astype(np.float32)
        frames = np.lib.stride_tricks.sliding_window_view(samples, FFT_SIZE, axis=0)[::HOP]
        spectra = rfft(frames * window, axis=2)[..., band]  # (windows, M, bins)
        power = (spectra.real**2 + spectra.imag**2).mean(axis=(1, 2))
        phases = spectra / np.maximum(np.abs(spectra), 1e-12)
        joined = np.abs(steering @ phases.transpose(2, 1, 0)) ** 2  # (bins, directions, windows)
        num = delays.shape[1]
        coherence = (joined.mean(axis=0).T / num**2 - 1 / num) / (1 - 1 / num)
        levels = 10 * np.log10(power.reshape(count, 2).mean(axis=1) + 1e-12)
        yield coherence.reshape(count, 2, -1).mean(axis=1), levels


def _averaged(values: NDArray[np.float32], span: int) -> NDArray[np.float32]:
    """Return the mean over `span` rows on either side."""
    from scipy.ndimage import uniform_filter1d

    return np.asarray(uniform_filter1d(values, 2 * span + 1, axis=0, mode="nearest"))


def _vertex(response: NDArray[np.float32], best: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the offset of the peak from the best direction, by a parabola through neighbours."""
    rows = np.arange(len(best))
    inner = np.clip(best, 1, response.shape[1] - 2)
    before, peak, after = (response[rows, inner + step].astype(float) for step in (-1, 0, 1))
    bend = before - 2 * peak + after
    shift = np.divide(0.5 * (before - after), bend, out=np.zeros(len(best)), where=bend < 0)
    return np.where(inner == best, np.clip(shift, -0.5, 0.5), 0.0)
