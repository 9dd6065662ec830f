"""Synchrony: the project's own network, small enough to be shipped and to need no download.

It looks at the middle of the face, takes LR-ASD's answer as a first opinion, and corrects it by
asking whether voice and lips move together (after Chung & Zisserman, 2016, "Out of time"). It
sees a bounded stretch of time, so a track of any length is one pass.
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

SEEN_ROWS = slice(32, 112)  # of a crop of 112 x 112: from the eyes to under the chin
SEEN_COLUMNS = slice(16, 96)
NUM_CHANNELS = 128  # of either encoder
NUM_LEVELS = 3
LEVEL_RADIUS = 100  # frames to a side, among which the loudest and the quietest are found
LEVEL_MEAN, LEVEL_STD = 12.0, 4.0  # natural logarithm of a step's energy, 16 bits
UNHEARD = 8.0  # the same, of sound (4 of 32768 high) that is softer than any voice in a recording
UNHEARD_REACH = 5  # frames to a side in which nothing may be louder
UNHEARD_COST = 4.0  # of a score, for every step of the logarithm below it
OPINION_FRAMES = 25  # which the first opinion looks at, cut from the beginning on
OPINION_SCALE = 4.0  # of its scores, to about 1
WINDOWS = (25, 51, 101)  # frames over which voice and lips are correlated
LONG_WINDOWS = (51, 101, 201, 401, 801)  # over which evidence is gathered
CORRELATION_SCALE = 3.0  # to about 1
NUM_JUDGES = 4  # begun from other weights each: what they agree on holds for other people, too
WIDTH = 48  # of a judge


class TemporalBlock(nn.Module):
    """A residual convolution over three frames, some way apart.

    Every frame is normalised by itself: batches of a few people differ too much for statistics
    of batches, and what these had been last decided how the judge judged.
    """

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels, channels, 3, padding=dilation, dilation=dilation)
        self.norm = nn.LayerNorm(channels)
        self.out = nn.Conv1d(channels, channels, 1)
        nn.init.normal_(self.out.weight, std=0.01)  # at first it adds hardly anything
        self.dropout = nn.Dropout(0.2)

    def forward(self, rows: Tensor) -> Tensor:
        """Map (B, C, T) to the same shape."""
        hidden = self.norm(self.conv(functional.gelu(rows)).transpose(1, 2)).transpose(1, 2)
        return rows + self.out(self.dropout(functional.gelu(hidden)))  # type: ignore[no-any-return]


class Judge(nn.Module):
    """Reads the evidence, the loudness and both opinions, and corrects the first one.

    Args:
        num_correlations: Rows of the profile.
        num_rows: All others.
    """

    def __init__(self, num_correlations: int, num_rows: int) -> None:
        super().__init__()
        self.from_profile = nn.Conv1d(num_correlations, 12, 1)
        self.join = nn.Conv1d(12 + num_rows, WIDTH, 1)
        self.temporal = nn.Sequential(*(TemporalBlock(WIDTH, gap) for gap in (1, 2, 4, 8)))
        self.head = nn.Linear(WIDTH, 1)

    def forward(self, profile: Tensor, rows: Tensor) -> Tensor:
        """Map correlations (B, C, T) and other rows (B, C', T) to what is added, (B, T)."""
        joined = self.join(torch.cat((self.from_profile(profile), rows), 1))
        followed = functional.gelu(self.temporal(joined)).transpose(1, 2)
        correction: Tensor = self.head(followed).squeeze(2)
        return correction


class Synchrony(Network):
    """LR-ASD's opinion, corrected by how voice and lips correlate."""

    recipe = Recipe(
        optimiser="adamw",
        lr=3e-4,
        weight_decay=0.01,
        loss_weights={"av": 1.0, "visual": 0.3},
    )
    radius = 9
    windows = (60,)  # s: a piece of a track in one pass
    released_names: ClassVar[Mapping[str, str]] = {"": ""}  # the published ones are its own

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
        self.judges = nn.ModuleList(
            Judge(self.profile.num_correlations, num_rows) for _ in range(NUM_JUDGES)
        )

    def encode_audio(self, audio: Tensor) -> Tensor:
        """Map features (B, 4 T, 13) to (B, T, 128 + 3): what is said, and how loud."""
        levels = audio[..., 0].clamp(min=0).view(len(audio), -1, STEPS_PER_FRAME).mean(2)
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
        """Join embeddings of voice (B, T, 131) and face (B, T, 128)."""
        return self.judge(self.profile(*self.normalised(audio, faces)), audio, faces)

    def normalised(self, audio: Tensor, faces: Tensor) -> tuple[Tensor, Tensor]:
        """Return voice and face (B, 128, T), every channel of mean 0 and power 1."""
        voice = self.audio_norm(audio[..., :NUM_CHANNELS].transpose(1, 2))
        return voice, self.visual_norm(faces.transpose(1, 2))

    def judge(self, compared: Comparison, audio: Tensor, faces: Tensor) -> Logits:
        """Give the opinion and correct it, as the judges do on average."""
        score = self.scores(compared, audio, faces).mean(0)
        return Logits(av=torch.stack((-score, score), 2), visual=self.head_visual(faces))

    def scores(self, compared: Comparison, audio: Tensor, faces: Tensor) -> Tensor:
        """Return what each of the judges makes of the opinion, (judges, B, T)."""
        voice, levels = audio[..., :NUM_CHANNELS], audio[..., NUM_CHANNELS:]
        opinion, seen = _score(self._opinion(voice, faces)), _score(self.head_visual(faces))
        profile = CORRELATION_SCALE * compared.profile
        opinions = torch.stack((opinion, seen), 1) / OPINION_SCALE
        rows = torch.cat((compared.evidence, levels.transpose(1, 2), opinions), 1)
        corrections = torch.stack([judge(profile, rows) for judge in self.judges])
        return opinion + corrections - UNHEARD_COST * _silence(levels[..., 0])

    def _opinion(self, voice: Tensor, faces: Tensor) -> Tensor:
        """Return LR-ASD's logits (B, T, 2), each second by itself."""
        num_clips, length = faces.shape[:2]
        rows = torch.cat((voice, faces), 2).transpose(1, 2)
        rows = functional.pad(rows, (0, -length % OPINION_FRAMES), mode="replicate")
        seconds = rows.transpose(1, 2).reshape(-1, OPINION_FRAMES, 2 * NUM_CHANNELS)
        followed = self.recurrent_gate(self.recurrence(self.gate(seconds))[0])
        logits: Tensor = self.head_opinion(followed)
        return logits.reshape(num_clips, -1, 2)[:, :length]


def _silence(level: Tensor) -> Tensor:
    """Return how far the sound is below the softest of voices, 0 where it is not, (B, T)."""
    loudest = functional.max_pool1d(level, 2 * UNHEARD_REACH + 1, 1, UNHEARD_REACH)
    return functional.relu(UNHEARD - (LEVEL_MEAN + LEVEL_STD * loudest))


def _score(logits: Tensor) -> Tensor:
    """Return half the difference of logits (..., 2): above 0 is speaking."""
    return (logits[..., 1] - logits[..., 0]) / 2
