"""Voices of generated clips: speech from espeak-ng, spans of speech, and mouth motion."""

import subprocess
import tempfile
import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from utils.errors import ResourceError
from utils.structures import FPS

Waveform = NDArray[np.float32]

RATE = 44100  # samples/s of generated clips
HOP_S = 0.01  # between two spectra
MIN_PAUSE_S = 0.3  # shorter pauses count as speech
MIN_SPEECH_S = 0.12  # shorter sounds do not count as speech
LIPS_LEAD_S = 0.03  # lips move this long before the audio


@dataclass(frozen=True)
class Voice:
    """A voice of espeak-ng."""

    variant: str  # for its -v
    pitch: int  # 0 to 99
    speed: int  # words per minute


def speak(text: str, voice: Voice) -> Waveform:
    """Return the speech of a text, (N,) in [-1, 1] at 44.1 kHz, without silence at both ends."""
    from scipy.signal import resample_poly

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "voice.wav")
        command = ["espeak-ng", "-v", voice.variant, "-p", str(voice.pitch), "-s", str(voice.speed)]
        command += ["-w", str(path), "--", text]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True)
        except FileNotFoundError as error:
            message = "generated clips require espeak-ng; install it (apt install espeak-ng)"
            raise ResourceError(message) from error
        except subprocess.CalledProcessError as error:
            raise ResourceError(f"espeak-ng could not speak {text!r}: {error.stderr}") from error
        with wave.open(str(path)) as file:
            samples = np.frombuffer(file.readframes(file.getnframes()), np.int16)
            rate = file.getframerate()
    waveform = resample_poly(samples.astype(np.float32) / 32768, RATE, rate).astype(np.float32)
    audible = np.flatnonzero(np.abs(waveform) > 0.01)
    if not len(audible):
        raise ResourceError(f"espeak-ng returned only silence for {text!r}")
    waveform = waveform[audible[0] : audible[-1] + 1]
    return np.asarray(waveform * (0.6 / np.abs(waveform).max()), np.float32)


def _spectra(waveform: Waveform) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the power spectrum every 10 ms, and the frequency of each bin."""
    size, hop = int(0.03 * RATE), int(HOP_S * RATE)
    padded = np.pad(waveform, (size // 2, size))
    windows = np.lib.stride_tricks.sliding_window_view(padded, size)[: len(waveform) + hop : hop]
    power = np.abs(np.fft.rfft(windows * np.hanning(size).astype(np.float32), axis=1)) ** 2
    return power.astype(np.float32), np.fft.rfftfreq(size, 1 / RATE).astype(np.float32)


def speech_spans(waveform: Waveform) -> list[tuple[float, float]]:
    """Return the spans [start_s, stop_s) of speech; pauses below 0.3 s are bridged."""
    power, _ = _spectra(waveform)
    level = 10 * np.log10(power.sum(axis=1) + 1e-9)
    loud = np.flatnonzero(level > level.max() - 35)
    spans: list[tuple[float, float]] = []
    for index in loud:
        start_s, stop_s = index * HOP_S, (index + 1) * HOP_S
        if spans and start_s - spans[-1][1] < MIN_PAUSE_S:
            spans[-1] = (spans[-1][0], stop_s)
        else:
            spans.append((start_s, stop_s))
    return [(start, stop) for start, stop in spans if stop - start >= MIN_SPEECH_S]


def mouth_motion(
    waveform: Waveform, num_frames: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the opening (0 to 1) and rounding (-1 to 1) of the mouth in each frame of speech.

    The mouth opens with the energy of vowels and is rounded if their spectral centroid is low.
    """
    power, frequencies = _spectra(waveform)
    vowels = (frequencies > 250) & (frequencies < 3000)
    energy = power[:, vowels].sum(axis=1)
    loudness = np.sqrt(energy)
    opening = np.clip(loudness / max(float(np.quantile(loudness, 0.93)), 1e-6), 0, 1) ** 0.75
    centre = (power[:, vowels] * frequencies[vowels]).sum(axis=1) / np.maximum(energy, 1e-9)
    rounding = np.clip((900 - centre) / 450, -1, 1) * opening
    kernel = np.hanning(9)[1:-1] / np.hanning(9).sum()  # 70 ms; lips do not move faster
    times = (np.arange(num_frames) + 0.5) / FPS + LIPS_LEAD_S
    measured = np.arange(len(power)) * HOP_S
    curves = [
        np.interp(times, measured, np.convolve(curve, kernel, "same"), right=0.0)
        for curve in (opening, rounding)
    ]
    return curves[0].astype(np.float32), curves[1].astype(np.float32)
