"""LoCoNet: "Long-Short Context Network for Active Speaker Detection" (Wang et al., CVPR 2024)."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.contract import Logits, Network, Recipe
from model.layers.talknet_parts import (
    TALKNET_NAMES,
    AttentionLayer,
    TemporalConvNet,
    VisualFrontend,
    VisualProjection,
)
from model.layers.vggish import VGGishEncoder
from utils.errors import UserError
from utils.structures import InputSpec

_WRAPPERS = ("", "model.module.")  # the second one is the prefix of the released file
_NAMES = {**TALKNET_NAMES, "model.convAV.": "context."}


class SpeakerContext(nn.Module):
    """Compares the speakers with each other over 7 frames (short-term inter-speaker modelling)."""

    def __init__(self, dim: int, num_speakers: int) -> None:
        super().__init__()
        self.conv2d = nn.Conv2d(dim, dim * num_speakers, (num_speakers, 7), padding=(0, 3))
        self.ln = nn.LayerNorm(dim)
        self.conv2d_1x1 = nn.Conv2d(dim, 2 * dim, 1)
        self.conv2d_1x1_2 = nn.Conv2d(2 * dim, dim, 1)

    def forward(self, joined: Tensor) -> Tensor:
        """Map (B, S, T, C) to the same shape."""
        compared = self.conv2d(joined.permute(0, 3, 1, 2))[:, :, 0]  # (B, C S, T)
        # Kept: each group of S consecutive channels is one feature of the S speakers.
        compared = compared.unflatten(1, (joined.shape[3], -1)).permute(0, 2, 3, 1)
        hidden = functional.gelu(_pointwise(self.conv2d_1x1, self.ln(compared)))
        return joined + _pointwise(self.conv2d_1x1_2, hidden)


class TimeContext(AttentionLayer):
    """Compares the frames of each speaker (long-term intra-speaker modelling)."""

    def forward(self, joined: Tensor) -> Tensor:  # type: ignore[override]
        """Map (B, S, T, C) to the same shape."""
        flat = joined.flatten(0, 1)
        return super().forward(flat, flat).view_as(joined)


def _pointwise(conv: nn.Conv2d, vectors: Tensor) -> Tensor:
    """Apply a convolution over single pixels to (..., C)."""
    return functional.linear(vectors, conv.weight[:, :, 0, 0], conv.bias)


class LoCoNet(Network):
    """Joins each face with the audio as TalkNet does, then compares the faces of a shot.

    Each face is encoded once, however often it is compared: `model.scoring.seen_faces` puts the
    embeddings of one face into the sequence of another, in which it may be absent for a while.

    Args:
        num_speakers: S; a checkpoint fits one number only. If there are fewer faces, some are
            repeated; a single face, (B, T, C), is compared with itself.
        num_layers: Pairs of a comparison of speakers and a comparison of frames.
        join_clips: Run the stem over the sequences of all speakers and clips as if they were
            one, as published: see `VisualFrontend`.
    """

    inputs = InputSpec(feature="log_mel", num_features=64)
    windows = (6,)  # s; trained on clips of up to 8 s, whose frames are all compared
    recipe = Recipe(
        lr=5e-5,
        batch_size=800,  # 4 clips of at most 200 frames, each of S faces
        max_clip=200,
        loss_weights={"av": 1.0, "audio": 0.4, "visual": 0.4},
    )
    family = "speakers"
    initial = "vggish"
    radius = VisualFrontend.radius
    released_names: ClassVar[Mapping[str, str]] = {
        wrapper + published: own for wrapper in _WRAPPERS for published, own in _NAMES.items()
    }

    def __init__(
        self, num_speakers: int = 3, num_layers: int = 3, join_clips: bool = False
    ) -> None:
        super().__init__()
        if num_speakers < 1 or num_layers < 1:
            raise UserError(
                "expected num_speakers and num_layers of at least 1, got "
                f"{num_speakers} and {num_layers}"
            )
        self.num_speakers = num_speakers
        if num_speakers == 1:
            self.family = "sequence"
        self.visual_frontend = VisualFrontend(join_clips)
        self.visual_temporal = TemporalConvNet()
        self.visual_projection = VisualProjection()
        self.audio_encoder = VGGishEncoder()
        self.cross_audio = AttentionLayer(128)
        self.cross_visual = AttentionLayer(128)
        layers: list[nn.Module] = []
        for _ in range(num_layers):
            layers += [SpeakerContext(256, num_speakers), TimeContext(256)]
        self.context = nn.Sequential(*layers)
        self.head_av = nn.Linear(256, 2)
        self.head_audio = nn.Linear(128, 2)
        self.head_visual = nn.Linear(128, 2)

    @classmethod
    def variant_of(cls, state_dict: Mapping[str, Tensor]) -> dict[str, Any]:
        """Return the constructor's arguments for which a checkpoint fits, as far as it shows."""
        layers = [
            tensor.shape
            for key, tensor in state_dict.items()
            if key.endswith(".conv2d.weight") and ("convAV." in key or "context." in key)
        ]
        if not layers or len(layers[0]) != 4:
            return {}
        return {"num_speakers": layers[0][2], "num_layers": len(layers)}

    def begin_from(self, state_dict: Mapping[str, Tensor]) -> None:
        """Initialise the trunk of the audio encoder from VGGish."""
        self.audio_encoder.load_vggish(state_dict)

    def encode_audio(self, audio: Tensor) -> Tensor:
        """Map features (B, 4 T, 64) to (B, T, 128)."""
        return self.audio_encoder(audio)  # type: ignore[no-any-return]

    def encode_faces(self, faces: Tensor, start: int = 0, stop: int | None = None) -> Tensor:
        """Map grey faces (B, T, 112, 112) in [0, 255] to (B, stop - start, 512)."""
        return self.visual_frontend(faces, start, stop)  # type: ignore[no-any-return]

    def fuse(self, audio: Tensor, faces: Tensor) -> Logits:
        """Join audio (B, T, 128) and visual (B, S, T, 512) embeddings, or (B, T, 512)."""
        if faces.ndim == 3:
            alone = faces.unsqueeze(1).expand(-1, self.num_speakers, -1, -1)
            logits = vars(self.fuse(audio, alone))
            return Logits(**{name: head[:, 0] for name, head in logits.items() if head is not None})
        num_clips, num_speakers = faces.shape[:2]
        if num_speakers != self.num_speakers:
            raise ValueError(
                f"expected the faces of {self.num_speakers} speakers, got {num_speakers}; repeat "
                "some if there are fewer"
            )
        visual = self.visual_projection(self.visual_temporal(faces.flatten(0, 1).transpose(1, 2)))
        visual = visual.transpose(1, 2)  # (B S, T, 128)
        repeated = audio.repeat_interleave(num_speakers, dim=0)
        cross_audio = self.cross_audio(repeated, visual)
        cross_visual = self.cross_visual(visual, repeated)
        heads = {
            "av": self.head_av(self.compare(torch.cat((cross_audio, cross_visual), dim=2))),
            "audio": self.head_audio(cross_audio),
            "visual": self.head_visual(cross_visual),
        }
        shape = (num_clips, num_speakers, -1, 2)
        return Logits(**{name: head.view(shape) for name, head in heads.items()})

    def compare(self, joined: Tensor) -> Tensor:
        """Compare the S faces of each clip: (B S, T, 256) to the same shape."""
        speakers = joined.view(-1, self.num_speakers, *joined.shape[1:])
        return self.context(speakers).view_as(joined)  # type: ignore[no-any-return]
