"""Tell whether two sequences move together, by their correlation at every lag."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

CENTRED = 51  # frames, over which the mean is taken away: what hardly changes says nothing
FLOOR = 1e-3  # of the power, against division by nothing where nothing moves
MAX_LAG = 80  # frames: voice and face are compared with the voice moved by -80 .. 80
SHOWN_LAG = 12  # the lags whose correlations are given one by one
OUT_OF_STEP = 2  # lags by which the sound of a film may be early or late as a whole
APART = 10  # lags beyond which voice and face have nothing to do with each other
DOUBT = 25  # frames: of so few that are compared, half a correlation is believed
LEAST_SPREAD = 0.02  # of the correlations of unrelated moments
BLIND = 12  # frames at either end that are not compared: an end shows in voice and face alike


class Comparison(NamedTuple):
    """How voice and face go together around every frame."""

    profile: Tensor  # (B, windows x lags, T): correlations over short windows, in [-1, 1]
    evidence: Tensor  # (B, 3 x windows, T): how far one lag stands out, and how much is known


class LagProfile(nn.Module):
    """Correlates voice and face around every frame, with the voice moved by some frames.

    True pairs have their peak at lag 0, or where the sound of the film lies, which the longest
    window tells; other pairs have it anywhere or nowhere. Both are looked at through a few linear
    projections, which are all that is learned: what correlates is then the same for people who
    were never seen. Over long windows the lags far from the peak tell, for this very face and
    voice, how high unrelated moments reach by chance. Correlations over few frames are high by
    chance, too: they count for less.

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
        seen = _compared(face, blind)
        voice, face = (rows * seen for rows in self.project(voice, face))
        products = (moved(voice) * face.unsqueeze(1)).sum(2)  # (B, lags, T)
        voice_power = moved(voice.square().sum(1, keepdim=True)).squeeze(2)
        face_power = face.square().sum(1, keepdim=True)
        both = moved(seen).squeeze(2) * seen

        sums = [running_sums(rows) for rows in (products, voice_power, face_power, both)]
        found, known = {}, {}
        for window in {*self.windows, *self.long_windows}:
            product, voices, faces, share = (window_mean(one, window) for one in sums)
            count = share * _num_frames(face, window)
            correlation = product / (voices * faces + FLOOR**2).sqrt()
            found[window] = (correlation * count / (count + DOUBT)).to(face.dtype)
            known[window] = ((count[:, MAX_LAG] + 1) / window).log().to(face.dtype)
        longest = found[max(found)][:, MAX_LAG - OUT_OF_STEP : MAX_LAG + OUT_OF_STEP + 1]
        lag = longest.argmax(1, keepdim=True) + MAX_LAG - OUT_OF_STEP  # (B, 1, T)
        shown = lag + torch.arange(-SHOWN_LAG, SHOWN_LAG + 1, device=face.device)[:, None]
        profile = [found[window].gather(1, shown) for window in self.windows]
        reach = 2 * OUT_OF_STEP + 1
        places = torch.arange(OUT_OF_STEP - MAX_LAG, MAX_LAG - OUT_OF_STEP + 1, device=face.device)
        evidence = []
        for window in self.long_windows:
            peaks = functional.max_pool1d(found[window].transpose(1, 2), reach, 1).transpose(1, 2)
            chance = peaks[:, places.abs() > APART]
            above = found[window].gather(1, lag).squeeze(1) - chance.mean(1)
            surprise = above / (chance.std(1) + LEAST_SPREAD)
            evidence += [surprise / 3, 3 * above, known[window]]  # each about 1
        return Comparison(torch.cat(profile, 1), torch.stack(evidence, 1))

    def project(self, voice: Tensor, face: Tensor) -> tuple[Tensor, Tensor]:
        """Map two (B, C, T) to (B, parts, T), without what hardly changes."""
        return centre(self.voice(voice)), centre(self.face(face))


def _compared(face: Tensor, blind: Tensor | None) -> Tensor:
    """Return 1 where voice and face are compared, else 0, (B, 1, T)."""
    seen = torch.ones_like(face[:, :1])
    seen[..., :BLIND] = 0
    seen[..., -BLIND:] = 0
    return seen if blind is None else seen * ~blind.unsqueeze(1)


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


def _num_frames(rows: Tensor, window: int) -> Tensor:
    """Return how many frames the window around each frame of rows (..., T) has, (T,)."""
    first, stop = _bounds(rows, window)
    return stop - first
