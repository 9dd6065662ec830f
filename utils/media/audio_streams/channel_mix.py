"""Mix several channels into one so that nothing audible is lost.

The usual mix is FFmpeg's: the mean of stereo, a weighted sum of surround channels. It cancels
signals that are out of phase, and omits low-frequency and unknown channels.
"""

from dataclasses import dataclass

import av.error
import numpy as np
from av import AudioFrame
from av.audio.resampler import AudioResampler
from numpy.typing import NDArray

WINDOW_S = 0.1  # length of the windows whose powers are compared; they overlap by half
LOWER_RATE = 16000  # samples/s, or a little more, at which powers are measured
BAND_HZ = (200, 4000)  # of speech; excludes effects and rumble
SILENT = 1e-6  # power; fainter windows are ignored
LOUD = 1e-2  # fraction of the 95th percentile of the power; fainter windows are ignored
CANCELLED = 10**-0.6  # of the power that independent channels would have
LEFT_OUT = 10**-2.5  # of the power of the loudest channel
MAX_LOST = 0.1  # fraction of the loud windows that the usual mix may lose
MIN_LOST = 10  # windows (half a second); fewer are no reason for another mix
WORST_DB = -30.0  # larger losses are clipped to this
NEAR_DB = 3.0  # mixes within this of the smallest loss count as equal


@dataclass(frozen=True)
class ChannelMix:
    """How the channels of a track are mixed into one."""

    name: str
    weights: tuple[float, ...]  # one for each channel

    def apply(self, frame: AudioFrame) -> AudioFrame:
        """Return the mono mix of a frame; a frame with another number of channels is unchanged."""
        if frame.layout.nb_channels != len(self.weights):
            return frame
        return mono_frame(np.array(self.weights, np.float32) @ channels_of(frame), frame)


def channels_of(frame: AudioFrame) -> NDArray[np.float32]:
    """Return the samples (C, N) of a frame in [-1, 1]; values that are not finite become 0."""
    samples = frame.to_ndarray()
    if not frame.format.is_planar:
        samples = samples.reshape(-1, frame.layout.nb_channels).T
    if samples.dtype.kind == "f":
        samples = samples.astype(np.float32)
        return samples if np.isfinite(samples).all() else np.where(np.isfinite(samples), samples, 0)
    middle = 128 if samples.dtype.kind == "u" else 0
    scale = 2.0 ** (8 * samples.dtype.itemsize - 1)
    return np.asarray((samples.astype(np.float32) - middle) / scale, np.float32)


def mono_frame(samples: NDArray[np.float32], like: AudioFrame) -> AudioFrame:
    """Return samples (N,) as a frame with the sample rate of another."""
    frame = AudioFrame.from_ndarray(np.ascontiguousarray(samples[None]), "flt", "mono")
    frame.sample_rate = like.sample_rate
    return frame


def as_stereo(frame: AudioFrame) -> AudioFrame:
    """Return a mono frame as stereo at the same level; a resampler would attenuate it by 3 dB."""
    samples = np.repeat(channels_of(frame), 2)
    result = AudioFrame.from_ndarray(samples[None], "flt", "stereo")
    result.sample_rate = frame.sample_rate
    return result


def finite(frame: AudioFrame) -> AudioFrame:
    """Return a frame with zeros for NaN and infinities, which a resampler would spread."""
    if not frame.format.name.startswith(("flt", "dbl")):
        return frame
    samples = frame.to_ndarray()
    if np.isfinite(samples).all():
        return frame
    cleaned = np.where(np.isfinite(samples), samples, 0).astype(samples.dtype)
    result = AudioFrame.from_ndarray(cleaned, frame.format.name, frame.layout.name)
    result.sample_rate = frame.sample_rate
    return result


def usual_weights(frame: AudioFrame) -> NDArray[np.float32] | None:
    """Return the weight of each channel (C,) in FFmpeg's mix of such a frame; None without one."""
    count = frame.layout.nb_channels
    impulses = np.eye(count, dtype=np.float32).reshape(1, -1)
    try:
        probe = AudioFrame.from_ndarray(impulses, "flt", frame.layout.name)
        probe.sample_rate = frame.sample_rate
        resampler = AudioResampler("s16", "mono", frame.sample_rate)
        parts = [part.to_ndarray()[0] for part in resampler.resample(probe)]
        parts += [part.to_ndarray()[0] for part in resampler.resample(None)]
    except (av.error.FFmpegError, ValueError):
        return None
    return np.concatenate(parts).astype(np.float32) / np.float32(32768)


def candidates(usual: NDArray[np.float32] | None, num_channels: int) -> list[ChannelMix]:
    """Return the mixes of several channels to choose from: the usual one, if any, comes first."""
    found = [] if usual is None else [ChannelMix("usual", tuple(usual.tolist()))]
    if num_channels == 2:
        found.append(ChannelMix("channel 1 minus channel 2", (0.5, -0.5)))
    else:
        mean = (1 / num_channels,) * num_channels
        found.append(ChannelMix(f"mean of {num_channels} channels", mean))
    for channel in range(num_channels):
        weights = tuple(float(other == channel) for other in range(num_channels))
        found.append(ChannelMix(f"channel {channel + 1} of {num_channels}", weights))
    return found


def measure_powers(
    channels: NDArray[np.float32], rate: int, mixes: list[ChannelMix]
) -> NDArray[np.float32]:
    """Return the power in the band of speech, (W, M), of each mix of (C, N) in each window."""
    step = max(1, rate // LOWER_RATE)
    num_samples = channels.shape[1] // step * step
    channels = channels[:, :num_samples].reshape(len(channels), -1, step).mean(axis=2)
    size = round(WINDOW_S * rate / step)
    padded = np.pad(channels, ((0, 0), (0, max(0, size - channels.shape[1]))))
    windows = np.lib.stride_tricks.sliding_window_view(padded, size, axis=1)[:, :: size // 2]
    spectra = np.fft.rfft(windows * np.hanning(size).astype(np.float32))
    low, high = (round(hertz * WINDOW_S) for hertz in BAND_HZ)
    band = spectra[:, :, low : high + 1]  # one bin is 10 Hz
    weights = np.array([mix.weights for mix in mixes], np.float32)
    mixed = np.einsum("mc,cwf->wmf", weights, band)
    scale = 16 / 3 / size**2  # of a one-sided spectrum under a Hann window
    return np.asarray((np.abs(mixed) ** 2).sum(axis=2) * scale, np.float32)


def choose_mix(powers: NDArray[np.float32], mixes: list[ChannelMix]) -> ChannelMix | None:
    """Return the mix to use; None for the usual one, which is kept unless it loses something.

    Args:
        powers: (W, M), from `measure_powers`.
        mixes: From `candidates`.
    """
    num_channels = len(mixes[0].weights)
    channels = powers[:, -num_channels:]
    best = channels.max(axis=1)
    audible = best[best > SILENT]
    loud = best > max(SILENT, LOUD * (np.percentile(audible, 95) if len(audible) else 0.0))
    usual = mixes[0] if mixes[0].name == "usual" else None
    if usual is not None:
        expected = channels @ np.square(np.array(usual.weights, np.float32))
        lost = (powers[:, 0] < CANCELLED * expected) | (powers[:, 0] < LEFT_OUT * best)
        if (lost & loud).sum() < max(MIN_LOST, MAX_LOST * loud.sum()):
            return None
    elif not loud.any():
        return mixes[0]
    relative = powers[loud] / best[loud][:, None]
    losses = np.clip(10 * np.log10(relative + 1e-10), WORST_DB, 0).mean(axis=0)
    chosen = mixes[int(np.flatnonzero(losses >= losses.max() - NEAR_DB)[0])]
    return None if chosen is usual else chosen
