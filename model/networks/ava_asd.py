"""ava_asd: the short-window networks of the project of that name (Chien and Diprose, 2020).

Two towers after VGG-M, one for 0.2 s of audio and one for 0.5 s of images, in four modes. The
original is written in Keras; layers keep its padding, its order of features and its names.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.checkpoints.keras import MODES, shared_part
from model.contract import ClipNetwork, Logits, Recipe
from model.layers.convolutions import SameConv2d, SameImageConv3d, SameStemConv3d, same_pool
from utils.errors import UserError
from utils.structures import ClipSpec, InputSpec

MAX_FRAMES = 101  # longest clip for which a checkpoint is recognised
VECTORS_PER_FRAME = 4  # of MFCC: 20 for 5 images
NUM_COEFFICIENTS = 13
PENALTY = 1e-4  # L2 penalty of the convolutions, if there are two towers
CONVOLUTIONS = ("conv1", "conv2", "conv3", "conv4", "conv5", "conv6")


def _num_flat(audio: bool, num_frames: int, size: int = 100) -> int:
    """Return the number of features of a tower before its dense layer."""
    if audio:
        vectors = VECTORS_PER_FRAME * num_frames
        return 512 * _pooled(_pooled(NUM_COEFFICIENTS)) * _pooled(_pooled(vectors))
    return 512 * num_frames * _pooled(_pooled(_pooled(size))) ** 2


def _pooled(length: int) -> int:
    """Return a length after 'same' pooling over 3."""
    return math.ceil(length / 3)


class AudioTower(nn.Module):
    """Convolutions over MFCC as an image.

    Args:
        num_frames: T; L is four times as many.
        num_out: Width of the dense layer at the end; 0 for none.
    """

    def __init__(self, num_frames: int, num_out: int) -> None:
        super().__init__()
        self.conv1 = SameConv2d(1, 64)
        self.conv2 = SameConv2d(64, 192)
        self.conv3 = SameConv2d(192, 384)
        self.conv4 = SameConv2d(384, 256)
        self.conv5 = SameConv2d(256, 256)
        self.conv6 = SameConv2d(256, 512, (5, 4))
        self.num_flat = _num_flat(True, num_frames)
        self.fc7 = nn.Linear(self.num_flat, num_out) if num_out else None

    def forward(self, audio: Tensor) -> Tensor:
        """Map MFCC (B, 13, L) to (B, C)."""
        image = functional.relu(self.conv1(audio.unsqueeze(1)))
        image = functional.relu(same_pool(self.conv2(image)))
        for conv in (self.conv3, self.conv4):
            image = functional.relu(conv(image))
        image = functional.relu(same_pool(self.conv5(image)))
        image = functional.relu(self.conv6(image))
        flat = image.permute(0, 2, 3, 1).flatten(1)  # Kept: channels last, as dense layers read it
        return flat if self.fc7 is None else functional.relu(self.fc7(flat))


class VideoTower(nn.Module):
    """Convolutions over the images of a clip; only the first one is also over time.

    Args:
        channels: C of an image.
        clip: T, H and W, of which H = W.
        num_out: Width of the dense layer at the end; 0 for none.
    """

    def __init__(self, channels: int, clip: tuple[int, int], num_out: int) -> None:
        super().__init__()
        self.conv1 = SameStemConv3d(channels, 96, length=5, size=7)
        self.conv2 = SameImageConv3d(96, 256, 5)
        self.conv3 = SameImageConv3d(256, 256, 3)
        self.conv4 = SameImageConv3d(256, 256, 3)
        self.conv5 = SameImageConv3d(256, 256, 3)
        self.conv6 = SameImageConv3d(256, 512, 6)
        self.num_flat = _num_flat(False, *clip)
        self.fc7 = nn.Linear(self.num_flat, num_out) if num_out else None

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, T, H, W, C) in [0, 1] to (B, C').

        Convolutions may have another dtype than the rest; the output is float32.
        """
        num_clips = len(images)
        images = self.conv1(images.to(self.conv1.weight.dtype))
        images = functional.relu(same_pool(images), inplace=True)  # the same as pooling after it
        images = functional.relu(same_pool(self.conv2(images)), inplace=True)
        for conv in (self.conv3, self.conv4):
            images = functional.relu(conv(images), inplace=True)
        images = functional.relu(same_pool(self.conv5(images)), inplace=True)
        images = functional.relu(self.conv6(images), inplace=True)
        flat = images.permute(0, 2, 3, 1).reshape(num_clips, -1).float()
        return flat if self.fc7 is None else functional.relu(self.fc7(flat))


class AvaASD(ClipNetwork):
    """Scores the last of five images, a tenth of a second apart, and the audio before it.

    Args:
        mode: `s_av` joins the towers by a dense layer, `s_av_fc` joins their convolutional
            features directly; `s_a` and `s_v` are one tower.
        channels: 1 for grey images, 3 for colour.
        num_frames: T of a clip; it has four times as many vectors of MFCC.
        size: H = W of an image.
    """

    family = "windows"
    inputs = InputSpec("ava_asd_mfcc", NUM_COEFFICIENTS, 100, tight=True)
    recipe = Recipe(
        optimiser="sgd",
        lr=0.01,
        lr_decay=1.0,
        update_decay=1e-6,
        nesterov=True,
        max_epoch=40,
        batch_size=16,  # clips
        loss_weights={"audio": 0.4, "visual": 0.4},
    )
    released_names: ClassVar[Mapping[str, str]] = {
        "s_av_a_": "audio.",
        "s_av_v_": "video.",
        "s_av_fc1.": "fusion.",
        "s_a_": "audio.",
        "s_v_": "video.",
        "a_out.": "head_audio.",
        "v_out.": "head_visual.",
        "main_out.": "head_av.",
    }

    def __init__(
        self, mode: str = "s_av", channels: int = 1, num_frames: int = 5, size: int = 100
    ) -> None:
        super().__init__()
        if mode not in MODES:
            raise UserError(f"ava_asd: expected a mode of {', '.join(MODES)}, got {mode!r}")
        if channels not in (1, 3):
            raise UserError(f"ava_asd: expected 1 channel or 3, got {channels}")
        if num_frames < 1 or size < 1:
            raise UserError(
                f"ava_asd: num_frames and size must be 1 or more, got {num_frames} and {size}"
            )
        self.mode = mode
        self.channels = channels
        self.clip = ClipSpec(num_frames, before=num_frames - 1, fps=10)
        self.inputs = InputSpec("ava_asd_mfcc", NUM_COEFFICIENTS, size, channels == 3, tight=True)
        num_fc7 = 0 if mode == "s_av_fc" else 256
        widths = {}
        if mode != "s_v":
            self.audio = AudioTower(num_frames, num_fc7)
            widths["head_audio"] = num_fc7 or self.audio.num_flat
        if mode != "s_a":
            self.video = VideoTower(channels, (num_frames, size), num_fc7)
            widths["head_visual"] = num_fc7 or self.video.num_flat
        self.num_embedding = sum(widths.values())
        self.dropout = nn.Dropout(0.5)
        if mode == "s_av":
            self.fusion = nn.Linear(self.num_embedding, 512)
            self.num_embedding = 512
        if len(widths) == 2:
            self.head_audio = nn.Linear(widths["head_audio"], 2)
            self.head_visual = nn.Linear(widths["head_visual"], 2)
        self.head_av = nn.Linear(self.num_embedding, 2)
        self.recipe = _recipe(mode)
        for module in self.modules():  # the defaults of Keras
            if isinstance(module, nn.Linear | nn.Conv2d | nn.Conv3d):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type] # all have one

    @classmethod
    def variant_of(cls, state_dict: Mapping[str, Tensor]) -> dict[str, Any]:
        """Return mode, channels and number of frames; the latter assumes images of 100 x 100."""
        shapes = {_own_name(key): tensor.shape for key, tensor in state_dict.items()}
        audio, video = "audio.conv1.weight" in shapes, "video.conv1.weight" in shapes
        mode = "s_av" if "fusion.weight" in shapes else "s_av_fc"
        if not (audio and video):
            mode = "s_a" if audio else "s_v"
        found: dict[str, Any] = {"mode": mode}
        if video and len(shapes["video.conv1.weight"]) == 5:
            found["channels"] = shapes["video.conv1.weight"][1]
        dense = ("video.fc7.weight", "head_visual.weight") if video else ("audio.fc7.weight",)
        width = next((shapes[name][-1] for name in dense if name in shapes), 0)
        fitting = (one for one in (5, *range(1, MAX_FRAMES)) if _num_flat(not video, one) == width)
        return {**found, "num_frames": next(fitting, 5)}

    def begin_from(self, state_dict: Mapping[str, Tensor]) -> None:
        """Take the weights that fit by name and shape, as Keras does: modes share convolutions."""
        own = self.state_dict()
        found = shared_part({_own_name(key): one for key, one in state_dict.items()}, own)
        if not found:
            raise UserError(
                f"expected weights of ava_asd to begin mode {self.mode} from, none of the "
                f"{len(state_dict)} found fits"
            )
        self.load_state_dict({**own, **found})

    def kernels(self) -> list[Tensor]:
        """Return the weights that the authors penalise: none if there is one tower."""
        if self.mode in ("s_a", "s_v"):
            return []
        return [
            getattr(tower, n).weight for tower in (self.audio, self.video) for n in CONVOLUTIONS
        ]

    def penalty(self) -> Tensor | None:
        """Return what is added to the loss: None if there is one tower."""
        squares = [kernel.float().square().sum() for kernel in self.kernels()]
        return PENALTY * torch.stack(squares).sum() if squares else None

    def forward(self, audio: Tensor, faces: Tensor) -> Logits:
        """Map MFCC (B, 13, 4 T) and faces in [0, 255] to logits (B, 1, 2).

        Args:
            audio: Not read in mode `s_v`.
            faces: Grey (B, T, H, W), or RGB (B, T, H, W, 3) with 3 channels; not read in `s_a`.
        """
        images = faces.unsqueeze(-1) if self.channels == 1 else faces.flip(-1)  # Kept: BGR
        return self.score(audio, images.float() / 255)

    def score(self, audio: Tensor, images: Tensor) -> Logits:
        """Map MFCC (B, 13, 4 T) and images (B, T, H, W, C) in [0, 1] to logits (B, 1, 2)."""
        self._check(audio, images)
        towers = []
        if self.mode != "s_v":
            towers.append(self.audio(audio))
        if self.mode != "s_a":
            towers.append(self.video(images))
        joined = torch.cat(towers, 1)
        heads: list[Tensor | None] = [None, None]
        if len(towers) == 2:
            heads = [self.head_audio(towers[0]), self.head_visual(towers[1])]
            joined = self.dropout(joined)
        if self.mode == "s_av":
            joined = functional.relu(self.fusion(joined))
        last = self.head_av(self.dropout(joined) if self.mode == "s_av" else joined)
        av, audio_logits, visual_logits = (
            None if one is None else _in_our_order(one) for one in (last, *heads)
        )
        assert av is not None
        return Logits(av, audio_logits, visual_logits, joined.unsqueeze(1))

    def _check(self, audio: Tensor, images: Tensor) -> None:
        """Raise UserError if a clip has not the shape that this variant reads."""
        length, size = self.clip.length, self.inputs.size
        for used, name, found, expected in (
            (self.mode != "s_v", "MFCC", audio, (NUM_COEFFICIENTS, VECTORS_PER_FRAME * length)),
            (self.mode != "s_a", "images", images, (length, size, size, self.channels)),
        ):
            if used and found.shape[1:] != expected:
                raise UserError(
                    f"ava_asd: expected {name} {expected} of each clip, got "
                    f"{tuple(found.shape[1:])}; see num_frames, size and channels of its variant"
                )


def _own_name(key: str) -> str:
    """Map a published name of a weight, or the network's own, to the network's own."""
    prefix = max((one for one in AvaASD.released_names if key.startswith(one)), default="")
    return AvaASD.released_names.get(prefix, "") + key.removeprefix(prefix)


def _in_our_order(logits: Tensor) -> Tensor:
    """Map (B, 2) to (B, 1, 2). Kept: the first class of the published weights is speaking."""
    return logits.flip(1).unsqueeze(1)


def _recipe(mode: str) -> Recipe:
    """Return the authors' settings of a mode. Kept: all heads have weight 1 in `s_av_fc`."""
    weight = {"s_av": 0.4, "s_av_fc": 1.0}.get(mode)
    weights = {} if weight is None else {"audio": weight, "visual": weight}
    return replace(AvaASD.recipe, loss_weights=weights)
