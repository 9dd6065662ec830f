"""ASDNet's encoder of a face and its sound (Kopuklu et al., ICCV 2021).

The paper is "How to Design a Three-Stage Architecture for Audio-Visual Active Speaker Detection in
the Wild".
"""

import logging
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.contract import ClipNetwork, Logits, Recipe
from model.layers.sinc_dsnet import SincDSNet
from model.layers.video_backbones.choose import NUM_CHANNELS, VideoBackbone, recognise_backbone
from utils.errors import UserError
from utils.structures import ClipSpec, InputSpec

logger = logging.getLogger(__name__)

FACE_MEAN = (0.2324, 0.2721, 0.3448)  # red, green, blue, for levels in [0, 1]
FACE_STD = (0.1987, 0.2172, 0.2403)


class ASDNetEncoder(ClipNetwork):
    """Scores the middle frame of a clip; the context network reads its 672-dim embedding.

    Args:
        video_backbone: resnext50, 101 or 152, resnet10, 18 or 34, mobilenet, mobilenetv2,
            shufflenet or shufflenetv2.
        clip_length: Frames; a multiple of 8 for shufflenet.
        width: Scales the number of channels of the light backbones; 0 is the published width.
        groups: Groups of shufflenet's pointwise convolutions.
    """

    inputs = InputSpec("asdnet_waveform", num_features=1, size=160, colour=True)
    at_once = 2  # more do not fit the cache
    initial = "asdnet_kinetics_resnext101"
    recipe = Recipe(
        lr=3e-4,
        lr_decay=0.1,
        decay_every=30,
        max_epoch=70,
        batch_size=24,  # the authors accumulate the gradients of 8 of them
        loss_weights={"av": 1.0, "audio": 1.0, "visual": 1.0},
    )
    released_names: ClassVar[Mapping[str, str]] = {
        "audio_base.base.": "audio_encoder.",
        "video_base.": "video_encoder.",
        "fc_128_a.": "project_audio.",
        "fc_128_v.": "project_visual.",
        "fc_final.": "head_av.",
        "fc_aux_a.": "head_audio.",
        "fc_aux_v.": "head_visual.",
    }
    num_embedding = SincDSNet.num_channels + NUM_CHANNELS

    def __init__(
        self,
        video_backbone: str = "resnext101",
        clip_length: int = 16,
        width: float = 0.0,
        groups: int = 3,
    ) -> None:
        super().__init__()
        if clip_length < 1 or (video_backbone == "shufflenet" and clip_length % 8):
            raise UserError(
                "expected a clip_length above 0, and for shufflenet, which halves time three "
                f"times, a multiple of 8; got {clip_length}"
            )
        self.clip = ClipSpec(clip_length, before=clip_length // 2)
        self.audio_encoder = SincDSNet()
        self.video_encoder = VideoBackbone(video_backbone, width, groups)
        self.project_audio = nn.Linear(SincDSNet.num_channels, 128)
        self.project_visual = nn.Linear(NUM_CHANNELS, 128)
        self.head_av = nn.Linear(256, 2)
        self.head_audio = nn.Linear(128, 2)
        self.head_visual = nn.Linear(128, 2)

    def begin_from(self, state_dict: Mapping[str, Tensor]) -> None:
        """Initialise the video backbone with weights trained on Kinetics."""
        skipped = self.video_encoder.load_kinetics(state_dict)
        if skipped:
            logger.info("initial weights: skipped %s", "; ".join(skipped))

    @classmethod
    def variant_of(cls, state_dict: Mapping[str, Tensor]) -> dict[str, Any]:
        """Return the arguments that fit a checkpoint; the length of its clips is not known."""
        backbone = {
            key.partition(".base.")[2]: value
            for key, value in state_dict.items()
            if key.removeprefix("module.").startswith(("video_base.base.", "video_encoder.base."))
        }
        return recognise_backbone(backbone)

    def forward(self, audio: Tensor, faces: Tensor) -> Logits:
        """Map samples (B, N) and faces (B, T, H, W, 3) in [0, 255] to logits (B, 1, 2)."""
        if faces.ndim != 5 or faces.shape[-1] != 3 or faces.shape[1] != self.clip.length:
            raise ValueError(
                f"expected clips of {self.clip.length} colour faces, "
                f"(B, {self.clip.length}, H, W, 3), got {tuple(faces.shape)}; "
                "set clip_length to the length of the clips"
            )
        return self.score(audio, normalise(faces))

    def score(self, audio: Tensor, clips: Tensor) -> Logits:
        """Map samples (B, N) and normalised faces (B, 3, T, H, W) to logits (B, 1, 2)."""
        audio_embedding = self.audio_encoder(audio)  # (B, 160)
        face_embedding = self.video_encoder(clips)  # (B, 512)
        audio = functional.relu(self.project_audio(audio_embedding))
        face = functional.relu(self.project_visual(face_embedding))
        return Logits(
            av=self.head_av(torch.cat((audio, face), dim=1)).unsqueeze(1),
            audio=self.head_audio(audio).unsqueeze(1),
            visual=self.head_visual(face).unsqueeze(1),
            embedding=torch.cat((audio_embedding, face_embedding), dim=1).unsqueeze(1),
        )


def normalise(faces: Tensor) -> Tensor:
    """Map faces (B, T, H, W, 3) in [0, 255] to normalised clips (B, 3, T, H, W)."""
    levels = faces.float()
    mean, std = (levels.new_tensor(three).mul_(255) for three in (FACE_MEAN, FACE_STD))
    return levels.sub(mean).div_(std).permute(0, 4, 1, 2, 3)
