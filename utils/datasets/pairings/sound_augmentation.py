"""Make sounds that are no voice, and change sounds as rooms, telephones and microphones do."""

import numpy as np
from numpy.typing import NDArray

from utils.structures import SAMPLE_RATE

HARMONICS = 4
NOTES = (0, 2, 4, 5, 7, 9, 11, 12)  # semitones of a major scale
FULL_SCALE = 32768

Samples = NDArray[np.float32]


def noise(num_samples: int, rng: np.random.Generator) -> Samples:
    """Return hiss, a rumble, hum or music, at a power of 1."""
    kind = rng.integers(4)
    if kind == 0:
        made = rng.standard_normal(num_samples, dtype=np.float32)
    elif kind == 1:
        made = _coloured(num_samples, rng)
    elif kind == 2:
        made = _hum(num_samples, rng)
    else:
        made = music(num_samples, rng)
    power = np.float32(np.mean(np.square(made)))
    return np.asarray(made / np.sqrt(power + np.float32(1e-12)), np.float32)


def _coloured(num_samples: int, rng: np.random.Generator) -> Samples:
    spectrum = np.fft.rfft(rng.standard_normal(num_samples))
    slope = (np.arange(len(spectrum)) + 1.0) ** -rng.uniform(0.3, 1.2)
    return np.fft.irfft(spectrum * slope, num_samples).astype(np.float32)


def _hum(num_samples: int, rng: np.random.Generator) -> Samples:
    times = np.arange(num_samples) / SAMPLE_RATE
    base = rng.choice((50.0, 60.0))
    made = 0.1 * rng.standard_normal(num_samples)
    for harmonic in range(1, 8):
        phase = rng.uniform(0, 2 * np.pi)
        made += rng.uniform(0.2, 1) * np.sin(2 * np.pi * base * harmonic * times + phase)
    return made.astype(np.float32)


def music(num_samples: int, rng: np.random.Generator) -> Samples:
    """Return chords in a beat, now and then with a drum; not of any set power."""
    made = np.zeros(num_samples, np.float32)
    beat = int(SAMPLE_RATE * rng.uniform(0.2, 0.6))
    root = 110 * 2 ** rng.uniform(0, 2)
    start = 0
    while start < num_samples:
        length = min(num_samples - start, beat * int(rng.choice((1, 1, 2, 4))))
        times = np.arange(length) / SAMPLE_RATE
        for _ in range(rng.integers(1, 4)):
            pitch = root * 2 ** (rng.choice(NOTES) / 12)
            swell = np.exp(-times * rng.uniform(0.5, 6)) * np.minimum(1, times * 100)
            for harmonic in range(1, HARMONICS + 1):
                wave = np.sin(2 * np.pi * pitch * harmonic * times) / harmonic**1.5
                made[start : start + length] += (swell * wave).astype(np.float32)
        if rng.random() < 0.4:
            fading = np.exp(-np.arange(min(length, 1600)) / 300) * rng.uniform(0, 2)
            made[start : start + len(fading)] += rng.standard_normal(len(fading)) * fading
        start += length
    return made


def reverberate(sound: Samples, rng: np.random.Generator) -> Samples:
    """Return the sound as it is heard in a room: itself, and 0 to 12 dB below it the echoes."""
    length = int(SAMPLE_RATE * rng.uniform(0.1, 0.5))
    fading = np.exp(-np.arange(length) * rng.uniform(4, 9) / length)
    echoes = rng.standard_normal(length) * fading
    echoes *= gain(-rng.uniform(0, 12)) / np.sqrt(np.square(echoes).sum())
    echoes[0] = 1.0
    total = len(sound) + length
    heard = np.fft.irfft(np.fft.rfft(sound, total) * np.fft.rfft(echoes, total), total)
    return heard[: len(sound)].astype(np.float32)


def limit_band(sound: Samples, rng: np.random.Generator) -> Samples:
    """Return the sound without its highest and lowest frequencies."""
    spectrum = np.fft.rfft(sound)
    frequencies = np.fft.rfftfreq(len(sound), 1 / SAMPLE_RATE)
    spectrum[frequencies > rng.uniform(3000, 7500)] *= 0.01
    spectrum[frequencies < rng.uniform(0, 250)] *= 0.05
    return np.fft.irfft(spectrum, len(sound)).astype(np.float32)


def degrade(waveform: NDArray[np.int16], rng: np.random.Generator) -> NDArray[np.int16]:
    """Return recorded audio with noise, in another room or at another level, or as it is."""
    if rng.random() < 0.3:
        return waveform
    sound = waveform.astype(np.float32)
    power = np.sqrt(np.mean(np.square(sound)) + 1)
    if rng.random() < 0.6:
        sound = sound + noise(len(sound), rng) * power * gain(-rng.uniform(5, 30))
    if rng.random() < 0.2:
        sound = reverberate(sound, rng)
    if rng.random() < 0.2:
        sound = limit_band(sound, rng)
    sound = sound * gain(rng.uniform(-12, 3))
    return np.clip(np.rint(sound), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)


def record(sound: Samples, rng: np.random.Generator) -> NDArray[np.int16]:
    """Return a sound of power 1 as a microphone gives it: at some level, over some hiss."""
    if rng.random() < 0.5:
        sound = sound + noise(len(sound), rng) * gain(-rng.uniform(3, 35))
    if rng.random() < 0.3:
        sound = reverberate(sound, rng)
    if rng.random() < 0.3:
        sound = limit_band(sound, rng)
    level = FULL_SCALE * gain(rng.uniform(-38, -12))
    hiss = FULL_SCALE * gain(rng.uniform(-90, -60)) * np.float32(rng.random() < 0.7)
    recorded = sound * level + rng.standard_normal(len(sound), dtype=np.float32) * hiss
    return np.clip(np.rint(recorded), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)


def gain(decibels: float) -> np.float32:
    """Return the factor for a change of level."""
    return np.float32(10 ** (decibels / 20))
