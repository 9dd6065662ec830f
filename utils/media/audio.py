"""Read the audio of a video at the working rate, aligned with its frames."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from utils.media.audio_streams.choice import SoundChoice, choose_sound
from utils.media.audio_streams.pieces import SoundFormat, read_pieces
from utils.media.container import ReadOptions, ReadReport, VideoInfo
from utils.structures import FPS, SAMPLE_RATE

SILENT_RADIUS = 5  # frames on either side must be silent too: a codec's gap is not silence
KEEP_S = 180.0  # length of the past that can still be read


class Sound:
    """The audio of a span of a video: mono int16 at 16 kHz, decoded as far as it is read.

    Sample 0 lies at the start of the span unless `first_sample` is given, so frame i of
    `read_frames` begins with sample 640 * i. Time stamps place the samples: gaps are silent,
    overlaps are cut. If the video has no audio, all samples are 0.
    """

    def __init__(
        self,
        video: VideoInfo,
        options: ReadOptions,
        keep_s: float = KEEP_S,
        first_sample: int = 0,
    ) -> None:
        """Open the audio; `first_sample` is the number of the sample at the span's start."""
        self.report = ReadReport()
        self.choice: SoundChoice = choose_sound(video, options.audio_track)
        self.has_sound = bool(self.choice.sources)
        self._keep = int(keep_s * SAMPLE_RATE)
        self._zero = first_sample
        self._first = 0  # position of the first sample held, from the start of the span
        self._held = np.zeros(2 * SAMPLE_RATE, np.int16)
        self._num_held = 0
        self._pieces: Iterator[tuple[int, NDArray[np.int16]]] | None = None
        self._next: tuple[int, NDArray[np.int16]] | None = None  # decoded but not reached yet
        if self.has_sound:
            self._pieces = read_pieces(video, options, SoundFormat(), self.report)

    @property
    def num_decoded(self) -> int:
        """Position up to which the audio has been decoded."""
        return self._first + self._num_held

    def read(self, start: int, stop: int) -> NDArray[np.int16]:
        """Return samples [start, stop) as a copy; zeros before and after the audio of the span.

        Reading far ahead decodes everything in between. Samples more than `keep_s` before the
        last one that was read are dropped.
        """
        if stop < start:
            raise ValueError(f"expected start <= stop, got samples [{start}, {stop})")
        start, stop = start - self._zero, stop - self._zero
        if max(start, 0) < self._first:
            raise ValueError(
                f"sample {start} is no longer held, only samples from {self._first} on; "
                "read in order or create Sound with a larger keep_s"
            )
        self._decode_to(stop, max(start, 0))
        samples = np.zeros(stop - start, np.int16)
        low, high = max(start, self._first), min(stop, self.num_decoded)
        if high > low:
            samples[low - start : high - start] = self._held[low - self._first : high - self._first]
        return samples

    def close(self) -> None:
        """Close the file; audio that has not been decoded counts as silence from then on."""
        self._pieces = self._next = None

    def _decode_to(self, stop: int, oldest_kept: int) -> None:
        """Decode until the sample before `stop` is held or the audio ends.

        The silence of a gap is held only as far as it is read, a minute at a time.
        """
        while self._pieces is not None and self.num_decoded < stop:
            self._next = self._next or next(self._pieces, None)
            if self._next is None:
                self.close()
                return
            position, samples = self._next
            for silence in _silence(min(position, stop) - self.num_decoded, SAMPLE_RATE):
                self._append(silence, oldest_kept)
            if self.num_decoded == position:
                self._append(samples[:, 0], oldest_kept)
                self._next = None

    def _append(self, samples: NDArray[np.int16], oldest_kept: int) -> None:
        """Hold more samples; drop those that are too old and before `oldest_kept`."""
        num_added = len(samples)
        if self._num_held + num_added > len(self._held):
            oldest = min(oldest_kept, self.num_decoded + num_added - self._keep)
            num_old = min(max(0, oldest - self._first), self._num_held)
            kept = self._held[num_old : self._num_held]
            held = np.zeros(max(2 * self._keep, 2 * (len(kept) + num_added)), np.int16)
            held[: len(kept)] = kept
            self._held, self._num_held = held, len(kept)
            self._first += num_old
        self._held[self._num_held : self._num_held + num_added] = samples
        self._num_held += num_added


def read_sound(
    video: VideoInfo, options: ReadOptions, rate: int = SAMPLE_RATE
) -> Iterator[NDArray[np.int16]]:
    """Yield all mono samples of a span in order, piece by piece; zeros where there is no audio.

    If the video ends before the duration of the span, zeros fill the rest.
    """
    reached = 0
    for position, samples in read_pieces(video, options, SoundFormat(rate), ReadReport()):
        yield from _silence(position - reached, rate)
        yield samples[:, 0]
        reached = position + len(samples)
    yield from _silence(round(options.duration_s * rate) - reached, rate)


def _silence(count: int, rate: int) -> Iterator[NDArray[np.int16]]:
    """Yield `count` zeros, a minute at a time."""
    for first in range(0, count, 60 * rate):
        yield np.zeros(min(60 * rate, count - first), np.int16)


def silent_frames(waveform: NDArray[np.int16]) -> NDArray[np.bool_]:
    """Return for each frame (T,) whether it is digitally silent, including 0.2 s on either side.

    In digital silence no sample exceeds 1 in magnitude; beyond the ends of `waveform` it is silent.

    Args:
        waveform: (N,), from the beginning of the first frame; an incomplete last frame is ignored.
    """
    num_frames = len(waveform) * FPS // SAMPLE_RATE
    if num_frames == 0:
        return np.ones(0, np.bool_)
    samples = waveform[: num_frames * SAMPLE_RATE // FPS].reshape(num_frames, SAMPLE_RATE // FPS)
    loud = (samples.max(axis=1, initial=0) > 1) | (samples.min(axis=1, initial=0) < -1)
    near = np.lib.stride_tricks.sliding_window_view(
        np.pad(loud, SILENT_RADIUS), 2 * SILENT_RADIUS + 1
    )
    return np.asarray(~near.any(axis=1), np.bool_)
