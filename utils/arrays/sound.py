"""Read and check the audio of a microphone array from WAV files, a piece at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from utils.arrays.spectra import RATE
from utils.errors import UserError
from utils.media.wav import WavFile, open_wav

FULL_SCALE = 0.999  # samples from this magnitude on count as clipped
QUIETEST = 1e-7  # a channel whose peak is below this is silent (-140 dB)


@dataclass(frozen=True)
class SoundChecks:
    """When a channel of an array counts as clipped or silent."""

    clipped: Annotated[float, "maximum fraction of clipped samples per channel"] = 0.001
    silent_db: Annotated[
        float, "level below the median channel from which a channel counts as silent, in dB"
    ] = 40.0


class ArraySound:
    """The audio of an array, one channel per microphone, with random access.

    Args:
        files: One file with all channels, or one mono file for each microphone, in order.
        names: Names of the channels; numbers from 1 by default.

    Raises:
        UserError: The files do not form one array; the message names the file.
    """

    def __init__(self, files: Sequence[WavFile], names: Sequence[str] = ()) -> None:
        self.files = tuple(files)
        if not files:
            raise ValueError("expected at least one audio file of an array, got none")
        for file in files:
            if file.rate != RATE:
                raise UserError(
                    f"{file.path}: expected {RATE} samples/s, found {file.rate}; resample it: "
                    f"ffmpeg -i FILE -ar {RATE} OUT.wav"
                )
            if len(files) > 1 and file.num_channels != 1:
                raise UserError(
                    f"{file.path}: expected one microphone per file, found "
                    f"{file.num_channels} channels"
                )
        self.num_microphones = sum(file.num_channels for file in files)
        self.names = tuple(names) or tuple(
            f"channel {number}" for number in range(1, self.num_microphones + 1)
        )
        assert len(self.names) == self.num_microphones
        lengths = [file.num_samples for file in files]
        self.num_samples = min(lengths)
        if max(lengths) - min(lengths) > RATE // 10:
            short = files[lengths.index(min(lengths))]
            raise UserError(
                "expected recordings of the same length for all microphones, found "
                f"{max(lengths) / RATE:.2f} s, but {min(lengths) / RATE:.2f} s in {short.path}; "
                "copy it again"
            )

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.num_samples / RATE

    def read(self, start: int, stop: int) -> NDArray[np.float64]:
        """Return samples [start, stop), (N, M); zeros before and after the recording."""
        found = np.zeros((stop - start, self.num_microphones))
        first, last = max(start, 0), min(stop, self.num_samples)
        if last > first:
            parts = [file.read(first, last) for file in self.files]
            found[first - start : last - start] = np.concatenate(parts, axis=1)
        return found


def open_array(path: Path, num_microphones: int) -> ArraySound:
    """Open one WAV file with all channels of an array.

    Raises:
        UserError: The number of channels or the rate is wrong.
    """
    file = open_wav(path)
    if file.num_channels != num_microphones:
        raise UserError(
            f"{path}: expected {num_microphones} channels, one for each microphone, found "
            f"{file.num_channels}; the geometry and the file must belong to one array"
        )
    return ArraySound([file])


def check_levels(sound: ArraySound, checks: SoundChecks, source: str) -> None:
    """Read the whole recording of an array and check for clipped or silent microphones.

    Args:
        sound: The recording; one second is held at a time.
        checks: When a channel counts as clipped or silent.
        source: Name of the recording for the message.

    Raises:
        UserError: A microphone is clipped or silent; the message names it.
    """
    clipped = np.zeros(sound.num_microphones)
    energy, loudest = np.zeros_like(clipped), np.zeros_like(clipped)
    for part in _seconds(sound):
        level = np.abs(part)
        clipped += (level >= FULL_SCALE).sum(axis=0)
        energy += (part**2).sum(axis=0)
        loudest = np.maximum(loudest, level.max(axis=0))
    shares = clipped / max(1, sound.num_samples)
    levels_db = 10 * np.log10(np.maximum(energy, 1e-30))
    dead = (levels_db < np.median(levels_db) - checks.silent_db) | (loudest < QUIETEST)
    faults = []
    if (shares > checks.clipped).any():
        channels = (
            f"{sound.names[m]} ({shares[m]:.1%})" for m in np.flatnonzero(shares > checks.clipped)
        )
        faults.append(f"clipped {', '.join(channels)}")
    if dead.any():
        faults.append(f"silent {', '.join(sound.names[m] for m in np.flatnonzero(dead))}")
    if faults:
        raise UserError(
            f"{source}: expected audio from every microphone, found {'; '.join(faults)}; record "
            "again, or raise --clipped or --silentDb to use it anyway"
        )


def _seconds(sound: ArraySound) -> Iterator[NDArray[np.float64]]:
    for start in range(0, sound.num_samples, RATE):
        yield sound.read(start, min(start + RATE, sound.num_samples))
