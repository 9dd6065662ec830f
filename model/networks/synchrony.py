"""Synchrony: the project's own network, small enough to be bundled with it.

It reads the middle of the face and computes a first score as LR-ASD does. An ensemble of refiners
corrects that score by whether audio and lips move together (after Chung & Zisserman, 2016, "Out of
time"). Its context is bounded, so a track of any length is one pass.
"""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.contract import Logits, Network, Recipe
from model.layers.factored import (
    FactoredAudioEncoder,
    FactoredVisualEncoder,
    PlainAudioBlock,
    PlainGate,
    PlainVisualBlock,
    initialise,
)
from model.layers.lag_profile import Comparison, LagProfile
from utils.structures import STEPS_PER_FRAME

SEEN_ROWS = slice(32, 112)  # of a crop of 112 x 112: from the eyes to below the chin
SEEN_COLUMNS = slice(16, 96)
NUM_CHANNELS = 128  # of each encoder's output
NUM_LEVELS = 3
LEVEL_RADIUS = 100  # frames to either side, for the loudest and the quietest level
LEVEL_MEAN, LEVEL_STD = 12.0, 4.0  # of a step's log energy (natural logarithm, int16 samples)
SILENCE_LEVEL = 8.0  # log energy (amplitude 4 of 32768); recorded voices are louder
SILENCE_RADIUS = 5  # frames to either side that must be below it, too
SILENCE_PENALTY = 4.0  # subtracted from the score per unit below SILENCE_LEVEL
FIRST_SCORE_FRAMES = 25  # the first score is computed in pieces of this length
FIRST_SCORE_SCALE = 4.0  # brings first scores to about 1
WINDOWS = (25, 51, 101)  # frames over which audio and lips are correlated
LONG_WINDOWS = (51, 101, 201, 401, 801)  # frames over which evidence is computed
CORRELATION_SCALE = 3.0  # brings correlations to about 1
NUM_REFINERS = 4  # of different initial weights; their mean generalises better
WIDTH = 48  # channels of a refiner


class DilatedBlock(nn.Module):
    """A dilated residual convolution over three frames.

    LayerNorm rather than BatchNorm: with few people in a batch, batch statistics vary so much
    that the last batches of training determine the scores.
    """

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels, channels, 3, padding=dilation, dilation=dilation)
        self.norm = nn.LayerNorm(channels)
        self.out = nn.Conv1d(channels, channels, 1)
        nn.init.normal_(self.out.weight, std=0.01)  # close to the identity at first
        self.dropout = nn.Dropout(0.2)

    def forward(self, rows: Tensor) -> Tensor:
        """Map (B, C, T) to the same shape."""
        hidden = self.norm(self.conv(functional.gelu(rows)).transpose(1, 2)).transpose(1, 2)
        return rows + self.out(self.dropout(functional.gelu(hidden)))  # type: ignore[no-any-return]


class Refiner(nn.Module):
    """Predicts a correction of the first score.

    Args:
        num_correlations: Rows of the correlation profile.
        num_rows: All other rows: evidence, loudness and scores.
    """

    def __init__(self, num_correlations: int, num_rows: int) -> None:
        super().__init__()
        self.from_profile = nn.Conv1d(num_correlations, 12, 1)
        self.join = nn.Conv1d(12 + num_rows, WIDTH, 1)
        self.temporal = nn.Sequential(*(DilatedBlock(WIDTH, gap) for gap in (1, 2, 4, 8)))
        self.head = nn.Linear(WIDTH, 1)

    def forward(self, profile: Tensor, rows: Tensor) -> Tensor:
        """Map correlations (B, C, T) and other rows (B, C', T) to corrections (B, T)."""
        joined = self.join(torch.cat((self.from_profile(profile), rows), 1))
        hidden = functional.gelu(self.temporal(joined)).transpose(1, 2)
        correction: Tensor = self.head(hidden)[..., 0]
        return correction


class Synchrony(Network):
    """LR-ASD's score, corrected by how audio and lips correlate."""

    recipe = Recipe(
        optimiser="adamw",
        lr=3e-4,
        weight_decay=0.01,
        loss_weights={"av": 1.0, "visual": 0.3},
    )
    radius = 9
    windows = (60,)  # s
    compares = True
    released_names: ClassVar[Mapping[str, str]] = {"": ""}  # published as they are

    def __init__(self) -> None:
        super().__init__()
        self.visual_encoder = FactoredVisualEncoder(PlainVisualBlock)
        self.audio_encoder = FactoredAudioEncoder(PlainAudioBlock)
        self.gate = PlainGate(2 * NUM_CHANNELS)
        self.recurrence = nn.GRU(2 * NUM_CHANNELS, 64, batch_first=True, bidirectional=True)
        self.recurrent_gate = PlainGate(128)
        self.head_opinion = nn.Linear(128, 2)
        self.head_visual = nn.Linear(NUM_CHANNELS, 2)
        self.audio_norm = nn.BatchNorm1d(NUM_CHANNELS)
        self.visual_norm = nn.BatchNorm1d(NUM_CHANNELS)
        self.profile = LagProfile(NUM_CHANNELS, 16, WINDOWS, LONG_WINDOWS)
        initialise(self)
        num_rows = self.profile.num_evidence + NUM_LEVELS + 2
        # Kept: the released weights call the refiners judges and the first score opinion.
        self.judges = nn.ModuleList(
            Refiner(self.profile.num_correlations, num_rows) for _ in range(NUM_REFINERS)
        )
        self.match_weights: Tensor  # of the evidence; calibrated, not trained
        self.register_buffer("match_weights", torch.zeros(len(LONG_WINDOWS)))

    def encode_audio(self, audio: Tensor) -> Tensor:
        """Map features (B, 4 T, 13) to (B, T, 128 + 3): embeddings and three levels."""
        levels = audio[..., 0].clamp(min=0).view(audio.shape[0], -1, STEPS_PER_FRAME).mean(2)
        level = (levels - LEVEL_MEAN).unsqueeze(1) / LEVEL_STD  # (B, 1, T)
        smooth = functional.avg_pool1d(level, 3, 1, 1, count_include_pad=False)
        loudest = functional.max_pool1d(smooth, 2 * LEVEL_RADIUS + 1, 1, LEVEL_RADIUS)
        quietest = -functional.max_pool1d(-smooth, 2 * LEVEL_RADIUS + 1, 1, LEVEL_RADIUS)
        loudness = torch.cat((level, level - loudest, level - quietest), 1)
        return torch.cat((self.audio_encoder(audio), loudness.transpose(1, 2)), 2)

    def encode_faces(self, faces: Tensor, start: int = 0, stop: int | None = None) -> Tensor:
        """Map grey faces (B, T, 112, 112) in [0, 255] to (B, stop - start, 128)."""
        seen = faces[:, :, SEEN_ROWS, SEEN_COLUMNS]
        return self.visual_encoder(seen, start, stop)  # type: ignore[no-any-return]

    def fuse(self, audio: Tensor, faces: Tensor) -> Logits:
        """Join embeddings of audio (B, T, 131) and faces (B, T, 128)."""
        return self.refine(self.profile(*self.normalised(audio, faces)), audio, faces)

    def normalised(self, audio: Tensor, faces: Tensor) -> tuple[Tensor, Tensor]:
        """Return audio and face embeddings (B, 128, T) with channels of mean 0 and power 1."""
        normal = self.audio_norm(audio[..., :NUM_CHANNELS].transpose(1, 2))
        return normal, self.visual_norm(faces.transpose(1, 2))

    def refine(self, compared: Comparison, audio: Tensor, faces: Tensor) -> Logits:
        """Return the first score, corrected by the mean of all refiners."""
        score = self.scores(compared, audio, faces).mean(0)
        return Logits(
            av=torch.stack((-score, score), 2),
            visual=self.head_visual(faces),
            match=self.match(compared),
        )

    def match(self, compared: Comparison) -> Tensor:
        """Return the log-odds (B, T) that the audio is the face's, up to a constant."""
        return torch.einsum("w,bwt->bt", self.match_weights, self.above(compared))

    @staticmethod
    def above(compared: Comparison) -> Tensor:
        """Return by how much the correlation is above chance, (B, windows, T)."""
        return compared.evidence[:, 1::3]

    def compete(self, logits: Tensor, match: Tensor, visible: Tensor) -> Tensor:
        """Return logits (S, T, 2) in which faces of one shot compete for the audio.

        A face gains by the log-odds that the audio is its own rather than that of any face seen
        with it. These count by the probability that they speak, so that a face with closed lips
        is no rival; a face alone, or one as likely as its rivals, keeps its score. Scores are
        half log-odds.
        """
        score = _score(logits)
        weights = torch.sigmoid(2 * score) * visible
        odds = match.exp()
        rivals = (weights * odds).sum(0) - weights * odds
        num_rivals = weights.sum(0) - weights
        gain = (1 + num_rivals).log() - (1 + rivals.clamp(min=0) / odds).log()
        score = score + gain / 2
        return torch.stack((-score, score), 2)

    def scores(self, compared: Comparison, audio: Tensor, faces: Tensor) -> Tensor:
        """Return the score that each refiner gives, (refiners, B, T)."""
        first, corrections = self.split_scores(compared, audio, faces)
        return first + corrections

    def split_scores(
        self, compared: Comparison, audio: Tensor, faces: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the first score (B, T), and what each refiner adds to it, (refiners, B, T)."""
        levels = audio[..., NUM_CHANNELS:]
        first, visual = self.first_score(audio, faces), _score(self.head_visual(faces))
        profile = CORRELATION_SCALE * compared.profile
        first_scores = torch.stack((first, visual), 1) / FIRST_SCORE_SCALE
        rows = torch.cat((compared.evidence, levels.transpose(1, 2), first_scores), 1)
        corrections = torch.stack([refiner(profile, rows) for refiner in self.judges])
        return first - SILENCE_PENALTY * _silence(levels[..., 0]), corrections

    def first_score(self, audio: Tensor, faces: Tensor) -> Tensor:
        """Return the score (B, T) before correction, each second scored separately."""
        num_clips, length = faces.shape[:2]
        rows = torch.cat((audio[..., :NUM_CHANNELS], faces), 2).transpose(1, 2)
        rows = functional.pad(rows, (0, -length % FIRST_SCORE_FRAMES), mode="replicate")
        seconds = rows.transpose(1, 2).reshape(-1, FIRST_SCORE_FRAMES, 2 * NUM_CHANNELS)
        hidden = self.recurrent_gate(self.recurrence(self.gate(seconds))[0])
        return _score(self.head_opinion(hidden).reshape(num_clips, -1, 2)[:, :length])


def _silence(level: Tensor) -> Tensor:
    """Return how far the audio is below SILENCE_LEVEL, 0 if it is not, (B, T)."""
    levels = level[:, None]  # (B, 1, T)
    loudest = functional.max_pool1d(levels, 2 * SILENCE_RADIUS + 1, 1, SILENCE_RADIUS)[:, 0]
    return functional.relu(SILENCE_LEVEL - (LEVEL_MEAN + LEVEL_STD * loudest))


def _score(logits: Tensor) -> Tensor:
    """Return half the difference of logits (..., 2): above 0 is speaking."""
    return (logits[..., 1] - logits[..., 0]) / 2
