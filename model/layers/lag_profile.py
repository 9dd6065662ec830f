"""Correlate two sequences at every lag, to tell whether they are synchronous."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

CENTRED = 51  # frames; the moving mean over them is subtracted
FLOOR = 1e-3  # of the power, against division by zero
MAX_LAG = 80  # frames; the audio is shifted by -80 to 80
SHOWN_LAG = 12  # lags of the profile to either side
MAX_OFFSET = 2  # lags by which the audio of a video may be early or late
UNRELATED_LAG = 10  # beyond this lag, audio and face are unrelated
SHRINKAGE = 25  # frames; a correlation over as many counts half
MIN_DEVIATION = 0.02  # of the correlations of unrelated moments
MARGIN = 12  # frames at either end that are ignored, since both sequences show the end


class Comparison(NamedTuple):
    """How audio and face correlate around every frame."""

    profile: Tensor  # (B, windows x lags, T): correlations over short windows, in [-1, 1]
    evidence: Tensor  # (B, 3 x windows, T): how far the peak stands out, and over how many frames


class LagProfile(nn.Module):
    """Correlates audio and face around every frame, with the audio shifted by some frames.

    Matching pairs have their peak at lag 0, or at the offset of the video's audio, which the
    longest window determines; other pairs have it anywhere or nowhere. Only a few linear
    projections of both sequences are learned, so that the result generalises to other people. Over
    long windows, the lags far from the peak show how high the correlations of unrelated moments of
    this pair are by chance. Correlations over few frames, high by chance, are shrunk.

    Args:
        channels: Channels of each sequence.
        num_parts: Projections of each sequence.
        windows: Odd numbers of frames over which correlations are computed.
        long_windows: Those over which evidence is computed.
    """

    def __init__(
        self, channels: int, num_parts: int, windows: Sequence[int], long_windows: Sequence[int]
    ) -> None:
        super().__init__()
        self.num_parts = num_parts
        self.windows, self.long_windows = tuple(windows), tuple(long_windows)
        self.voice = nn.Conv1d(channels, num_parts, 1, bias=False)
        self.face = nn.Conv1d(channels, num_parts, 1, bias=False)

    @property
    def num_correlations(self) -> int:
        """Rows of the profile."""
        return len(self.windows) * (2 * SHOWN_LAG + 1)

    @property
    def num_evidence(self) -> int:
        """Rows of the evidence."""
        return 3 * len(self.long_windows)

    def forward(self, audio: Tensor, face: Tensor, ignored: Tensor | None = None) -> Comparison:
        """Compare two (B, C, T) except at their ends and where `ignored` (B, T) is set."""
        mask = _mask(face, ignored)
        audio, face = (rows * mask for rows in self.project(audio, face))
        products = (shifted(audio) * face.unsqueeze(1)).sum(2)  # (B, lags, T)
        audio_power = shifted(audio.square().sum(1, keepdim=True)).squeeze(2)
        face_power = face.square().sum(1, keepdim=True)
        both = shifted(mask).squeeze(2) * mask

        sums = [running_sums(rows) for rows in (products, audio_power, face_power, both)]
        correlations, shares = {}, {}
        for window in {*self.windows, *self.long_windows}:
            product, audio_mean, face_mean, share = (window_mean(one, window) for one in sums)
            count = share * _num_frames(face, window)
            correlation = product / (audio_mean * face_mean + FLOOR**2).sqrt()
            correlations[window] = (correlation * count / (count + SHRINKAGE)).to(face.dtype)
            shares[window] = ((count[:, MAX_LAG] + 1) / window).log().to(face.dtype)
        near_zero = slice(MAX_LAG - MAX_OFFSET, MAX_LAG + MAX_OFFSET + 1)
        longest = correlations[max(correlations)][:, near_zero]
        lag = longest.argmax(1, keepdim=True) + MAX_LAG - MAX_OFFSET  # (B, 1, T)
        shown = lag + torch.arange(-SHOWN_LAG, SHOWN_LAG + 1, device=face.device)[:, None]
        profile = [correlations[window].gather(1, shown) for window in self.windows]
        reach = 2 * MAX_OFFSET + 1
        num_far = MAX_LAG - MAX_OFFSET - UNRELATED_LAG  # peaks on either side
        evidence = []
        for window in self.long_windows:
            rows = correlations[window].transpose(1, 2)
            peaks = functional.max_pool1d(rows, reach, 1).transpose(1, 2)
            chance = torch.cat((peaks[:, :num_far], peaks[:, -num_far:]), 1)
            above = correlations[window].gather(1, lag).squeeze(1) - chance.mean(1)
            surprise = above / (chance.std(1) + MIN_DEVIATION)
            evidence += [surprise / 3, 3 * above, shares[window]]  # each about 1
        return Comparison(torch.cat(profile, 1), torch.stack(evidence, 1))

    def project(self, audio: Tensor, face: Tensor) -> tuple[Tensor, Tensor]:
        """Map two (B, C, T) to (B, parts, T), each minus its moving mean."""
        return centre(self.voice(audio)), centre(self.face(face))


def _mask(face: Tensor, ignored: Tensor | None) -> Tensor:
    """Return 1 for frames that are compared and 0 for others, (B, 1, T)."""
    mask = torch.ones_like(face[:, :1])
    mask[..., :MARGIN] = 0
    mask[..., -MARGIN:] = 0
    return mask if ignored is None else mask * ~ignored.unsqueeze(1)


def shifted(rows: Tensor, max_lag: int = MAX_LAG) -> Tensor:
    """Return rows (B, C, T) shifted by -L .. L frames: (B, 2 L + 1, C, T), zero-padded."""
    padded = functional.pad(rows, (max_lag, max_lag))
    return padded.unfold(2, rows.shape[2], 1).transpose(1, 2)


def centre(rows: Tensor) -> Tensor:
    """Subtract the moving mean from rows (B, C, T)."""
    return rows - moving_mean(rows, CENTRED)


def moving_mean(rows: Tensor, window: int) -> Tensor:
    """Return the mean over an odd window around each frame, cut off at the ends: (..., T)."""
    return window_mean(running_sums(rows), window).to(rows.dtype)


def running_sums(rows: Tensor) -> Tensor:
    """Return the sum of all frames before each frame of rows (..., T): (..., T + 1)."""
    dtype = torch.float32 if rows.device.type == "mps" else torch.float64  # sums of whole tracks
    return functional.pad(rows.to(dtype).cumsum(-1), (1, 0))


def window_mean(sums: Tensor, window: int) -> Tensor:
    """Return the `moving_mean` (..., T) of rows, given their running sums (..., T + 1)."""
    first, stop = _bounds(sums[..., 1:], window)
    return (sums[..., stop] - sums[..., first]) / (stop - first)


def _bounds(rows: Tensor, window: int) -> tuple[Tensor, Tensor]:
    """Return start and stop of the window around each frame of rows (..., T): (T,) each."""
    places = torch.arange(rows.shape[-1], device=rows.device)
    first = (places - window // 2).clamp(min=0)
    return first, (places + window // 2 + 1).clamp(max=rows.shape[-1])


def _num_frames(rows: Tensor, window: int) -> Tensor:
    """Return the number of frames in the window around each frame of rows (..., T): (T,)."""
    first, stop = _bounds(rows, window)
    return stop - first
