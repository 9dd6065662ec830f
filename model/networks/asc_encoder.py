"""ASC's short-term encoder: "Active Speakers in Context" (Alcázar et al., 2020), section 3.1."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.contract import ClipNetwork, Logits, Recipe
from model.layers.resnet18 import NUM_EMBEDDING, ResNet18
from utils.errors import UserError
from utils.structures import ClipSpec, InputSpec

# Kept: means of blue, green and red that are applied to red, green and blue.
FACE_MEAN = (0.2324, 0.2721, 0.3448)
FACE_STD = (0.1987, 0.2172, 0.2403)


class ASCEncoder(ClipNetwork):
    """Two ResNet-18: one reads the MFCC of a clip as an image, one its faces as channels.

    Args:
        clip_length: Frames of a clip; odd, because the middle one is scored.
    """

    inputs = InputSpec(feature="asc_mfcc", num_features=13, size=144, colour=True)
    num_embedding = 2 * NUM_EMBEDDING
    recipe = Recipe(
        optimiser="adam",
        lr=3e-4,
        lr_decay=0.1,
        decay_every=40,
        max_epoch=100,
        batch_size=128,  # clips
        jitter="frame",
        loss_weights={"av": 1.0, "audio": 1.0, "visual": 1.0},
    )
    initial = "imagenet"
    released_names: ClassVar[Mapping[str, str]] = {
        "audio_conv1.": "audio.conv1.",
        "a_bn1.": "audio.bn1.",
        "a_layer": "audio.layer",
        "video_conv1.": "visual.conv1.",
        "v_bn1.": "visual.bn1.",
        "v_layer": "visual.layer",
        "fc_128_a.": "reduce_audio.",
        "fc_128_v.": "reduce_visual.",
        "fc_final.": "head_av.",
        "fc_aux_a.": "head_audio.",
        "fc_aux_v.": "head_visual.",
    }

    def __init__(self, clip_length: int = 11) -> None:
        if clip_length < 1 or clip_length % 2 == 0:
            raise UserError(
                f"clip_length must be odd, because its middle is scored; got {clip_length}"
            )
        super().__init__()
        self.clip = ClipSpec(length=clip_length, before=clip_length // 2)
        self.audio = ResNet18(1)
        self.visual = ResNet18(3 * clip_length)
        self.reduce_audio = nn.Linear(NUM_EMBEDDING, 128)
        self.reduce_visual = nn.Linear(NUM_EMBEDDING, 128)
        self.head_av = nn.Linear(256, 2)
        self.head_audio = nn.Linear(128, 2)
        self.head_visual = nn.Linear(128, 2)

    @classmethod
    def variant_of(cls, state_dict: Mapping[str, Tensor]) -> dict[str, Any]:
        """Return the clip length of a checkpoint, read from the shape of its stem."""
        for name in ("video_conv1.weight", "visual.conv1.weight"):
            if name in state_dict and state_dict[name].ndim == 4:
                return {"clip_length": state_dict[name].shape[1] // 3}
        return {}

    def forward(self, audio: Tensor, faces: Tensor) -> Logits:
        """Map MFCC (B, 1, 13, L) and RGB faces (B, T, H, W, 3) in [0, 255] to (B, 1, 2)."""
        if faces.ndim != 5 or faces.shape[1] != self.clip.length or faces.shape[4] != 3:
            raise ValueError(
                f"expected clips of {self.clip.length} RGB faces (B, {self.clip.length}, H, W, 3), "
                f"got {tuple(faces.shape)}; clips and weights must be of one length"
            )
        return self.score(audio, stack(faces))

    def score(self, audio: Tensor, images: Tensor) -> Logits:
        """Map MFCC (B, 1, 13, L) and the images of `stack` (B, 3 T, H, W) to (B, 1, 2)."""
        audio, face = self.audio(audio), self.visual(images)  # (B, 512) each
        reduced_audio = functional.relu(self.reduce_audio(audio))
        reduced_face = functional.relu(self.reduce_visual(face))
        return Logits(
            av=self.head_av(torch.cat((reduced_audio, reduced_face), 1))[:, None],
            audio=self.head_audio(reduced_audio)[:, None],
            visual=self.head_visual(reduced_face)[:, None],
            embedding=torch.cat((audio, face), 1)[:, None],
        )

    def begin_from(self, state_dict: Mapping[str, Tensor]) -> None:
        """Initialise both trunks from a ResNet-18 trained on ImageNet.

        Kept: the stem of the faces repeats that of one image for every frame without dividing
        by the number of frames, so its initial output is that much larger.

        Args:
            state_dict: torchvision's: `imagenet_weights` of model/layers/resnet18.py.
        """
        stem = state_dict.get("conv1.weight")
        if stem is None or stem.shape != (64, 3, 7, 7):
            raise UserError("these are not ResNet-18 weights: expected conv1.weight (64, 3, 7, 7)")
        self.audio.start_from(state_dict, stem.mean(1, keepdim=True))
        self.visual.start_from(state_dict, stem.repeat(1, self.clip.length, 1, 1))


def stack(faces: Tensor) -> Tensor:
    """Map RGB faces (B, T, H, W, 3) in [0, 255] to normalised images (B, 3 T, H, W).

    Channels are ordered frame by frame; the memory layout is channels_last.
    """
    mean = 255 * torch.tensor(FACE_MEAN, device=faces.device)
    std = 255 * torch.tensor(FACE_STD, device=faces.device)
    scaled = (faces.permute(0, 2, 3, 1, 4) - mean) / std
    return scaled.flatten(3).permute(0, 3, 1, 2)
