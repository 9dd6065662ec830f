"""Read the sound of a microphone array from WAV files, a piece at a time, and check it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from utils.arrays.spectra import RATE
from utils.errors import UserError
from utils.media.wav import WavFile, open_wav

FULL_SCALE = 0.999  # a sample from here on is clipped
QUIETEST = 1e-7  # a channel whose loudest sample is below it holds nothing: -140 dB


@dataclass(frozen=True)
class SoundChecks:
    """What makes a channel of an array useless."""

    clipped: Annotated[float, "share of samples at full scale from which a channel is clipped"] = (
        0.001
    )
    silent_db: Annotated[float, "a channel so far below the middle one is silent, dB"] = 40.0


class ArraySound:
    """The sound of an array, one channel a microphone, read where it is asked for.

    Args:
        files: One file with all channels, or one mono file for each microphone, in order.
        names: What the channels are called; else by number from 1.

    Raises:
        UserError: The files do not make one array; names the file.
    """

    def __init__(self, files: Sequence[WavFile], names: Sequence[str] = ()) -> None:
        self.files = tuple(files)
        if not files:
            raise ValueError("expected at least one file of an array's sound, got none")
        for file in files:
            if file.rate != RATE:
                raise UserError(
                    f"{file.path}: expected {RATE} samples/s, found {file.rate}; resample it: "
                    f"ffmpeg -i FILE -ar {RATE} OUT.wav"
                )
            if len(files) > 1 and file.num_channels != 1:
                raise UserError(
                    f"{file.path}: expected one microphone a file, found "
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
                f"expected microphones of one length, found {max(lengths) / RATE:.2f} s and only "
                f"{min(lengths) / RATE:.2f} s in {short.path}; get it again"
            )

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.num_samples / RATE

    def read(self, start: int, stop: int) -> NDArray[np.float64]:
        """Return samples [start, stop), (N, M); zeros before the sound and after it."""
        found = np.zeros((stop - start, self.num_microphones))
        first, last = max(start, 0), min(stop, self.num_samples)
        if last > first:
            parts = [file.read(first, last) for file in self.files]
            found[first - start : last - start] = np.concatenate(parts, axis=1)
        return found


def open_array(path: Path, num_microphones: int) -> ArraySound:
    """Open one WAV file with all channels of an array.

    Raises:
        UserError: It has another number of channels or another rate.
    """
    file = open_wav(path)
    if file.num_channels != num_microphones:
        raise UserError(
            f"{path}: expected {num_microphones} channels, one for each microphone, found "
            f"{file.num_channels}; the geometry and the file must belong to one array"
        )
    return ArraySound([file])


def check_levels(sound: ArraySound, checks: SoundChecks, source: str) -> None:
    """Read all of an array's sound and refuse it where microphones are clipped or silent.

    Args:
        sound: The sound; a second of it is held at a time.
        checks: What counts.
        source: What the message should name.

    Raises:
        UserError: Some are; names them.
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
        named = (
            f"{sound.names[m]} ({shares[m]:.1%})" for m in np.flatnonzero(shares > checks.clipped)
        )
        faults.append(f"clipped {', '.join(named)}")
    if dead.any():
        faults.append(f"silent {', '.join(sound.names[m] for m in np.flatnonzero(dead))}")
    if faults:
        raise UserError(
            f"{source}: expected sound from every microphone, found {'; '.join(faults)}; record "
            "again, or raise --clipped or --silentDb to take it as it is"
        )


def _seconds(sound: ArraySound) -> Iterator[NDArray[np.float64]]:
    for start in range(0, sound.num_samples, RATE):
        yield sound.read(start, min(start + RATE, sound.num_samples))
