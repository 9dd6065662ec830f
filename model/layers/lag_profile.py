"""Tell whether two sequences move together, by their correlation at every lag."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

CENTRED = 51  # frames, over which the mean is taken away: what hardly changes says nothing
FLOOR = 1e-3  # of the power, against division by nothing where nothing moves
MAX_LAG = 40  # frames: voice and face are compared with the voice moved by -40 .. 40
SHOWN_LAG = 12  # the lags whose correlations are given one by one
IN_STEP = 1  # lags up to which voice and face belong together
APART = 5  # lags beyond which they have nothing to do with each other
LEAST_SPREAD = 0.02  # of the correlations of unrelated moments
BLIND = (
    12  # frames at either end that are not compared: encoders see an end in voice and face alike
)


class Comparison(NamedTuple):
    """How voice and face go together around every frame."""

    profile: Tensor  # (B, windows x lags, T): correlations over short windows, in [-1, 1]
    evidence: Tensor  # (B, 3 x windows, T): how far lag 0 stands out, and how much is known


class LagProfile(nn.Module):
    """Correlates voice and face around every frame, with the voice moved by some frames.

    True pairs have their peak at lag 0; other pairs have it anywhere or nowhere. Both are looked
    at through a few linear projections, which are all that is learned: what correlates is then
    the same for people who were never seen. Over long windows the lags far from 0 tell, for
    this very face and voice, how high unrelated moments reach by chance.

    Args:
        channels: Of either sequence.
        num_parts: Projections of each sequence.
        windows: Odd numbers of frames over which correlations are taken.
        long_windows: Those over which evidence is gathered.
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

    def forward(self, voice: Tensor, face: Tensor, blind: Tensor | None = None) -> Comparison:
        """Compare two (B, C, T), but for their ends and where `blind` (B, T) is set."""
        voice, face = self.project(voice, face, blind)
        lags = torch.arange(-MAX_LAG, MAX_LAG + 1, device=face.device).abs()
        products = (moved(voice) * face.unsqueeze(1)).sum(2)  # (B, lags, T)
        voice_power = moved(voice.square().sum(1, keepdim=True)).squeeze(2)
        face_power = face.square().sum(1, keepdim=True)

        sums = [running_sums(rows) for rows in (products, voice_power, face_power)]
        found = {}
        for window in {*self.windows, *self.long_windows}:
            product, voices, faces = (window_mean(one, window) for one in sums)
            found[window] = (product / (voices * faces + FLOOR**2).sqrt()).to(face.dtype)
        profile = [found[window][:, lags <= SHOWN_LAG] for window in self.windows]
        evidence = []
        for window in self.long_windows:
            chance = found[window][:, lags > APART]
            above = found[window][:, lags <= IN_STEP].amax(1) - chance.mean(1)
            surprise = above / (chance.std(1) + LEAST_SPREAD)
            evidence += [surprise / 3, 3 * above, _known(face, window)]  # each about 1
        return Comparison(torch.cat(profile, 1), torch.stack(evidence, 1))

    def project(
        self, voice: Tensor, face: Tensor, blind: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Map two (B, C, T) to (B, parts, T), without what hardly changes, 0 where not compared."""
        seen = torch.ones_like(face[:, :1])
        seen[..., :BLIND] = 0
        seen[..., -BLIND:] = 0
        if blind is not None:
            seen = seen * ~blind.unsqueeze(1)
        return centre(self.voice(voice)) * seen, centre(self.face(face)) * seen


def moved(rows: Tensor, max_lag: int = MAX_LAG) -> Tensor:
    """Return rows (B, C, T) moved by -L .. L frames: (B, 2 L + 1, C, T), zeros beyond the ends."""
    padded = functional.pad(rows, (max_lag, max_lag))
    return padded.unfold(2, rows.shape[2], 1).transpose(1, 2)


def centre(rows: Tensor) -> Tensor:
    """Take away the mean of the neighbourhood from rows (B, C, T)."""
    return rows - moving_mean(rows, CENTRED)


def moving_mean(rows: Tensor, window: int) -> Tensor:
    """Return the mean of those frames of an odd window around each that exist: (..., T)."""
    return window_mean(running_sums(rows), window).to(rows.dtype)


def running_sums(rows: Tensor) -> Tensor:
    """Return the sums of all that lies before every frame of rows (..., T): (..., T + 1)."""
    exact = torch.float32 if rows.device.type == "mps" else torch.float64  # sums of whole tracks
    return functional.pad(rows.to(exact).cumsum(-1), (1, 0))


def window_mean(sums: Tensor, window: int) -> Tensor:
    """Return `moving_mean` (..., T) of the rows whose running sums (..., T + 1) are given."""
    first, stop = _bounds(sums[..., 1:], window)
    return (sums[..., stop] - sums[..., first]) / (stop - first)


def _bounds(rows: Tensor, window: int) -> tuple[Tensor, Tensor]:
    """Return where the window around each frame of rows (..., T) begins and stops: (T,) each."""
    places = torch.arange(rows.shape[-1], device=rows.device)
    first = (places - window // 2).clamp(min=0)
    return first, (places + window // 2 + 1).clamp(max=len(places))


def _known(rows: Tensor, window: int) -> Tensor:
    """Return the logarithm of the share of the window around each frame that exists: (B, T)."""
    first, stop = _bounds(rows, window)
    return ((stop - first) / window).log().to(rows.dtype).expand(len(rows), -1)
