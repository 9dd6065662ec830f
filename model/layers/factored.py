"""The skeleton that Light-ASD and LR-ASD share: three blocks for faces, three for sound.

Their blocks split each convolution in one over the picture (or the spectrum) and one over time.
"""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional

from model.layers.face_encoder import FaceEncoder, normalise_faces, temporal_pads
from model.layers.folding import Foldable


class VisualBlock(Foldable):
    """A block over pictures and time, frames folded into the batch."""

    reaches: ClassVar[tuple[int, ...]]  # frames that its temporal convolutions read to a side

    @abstractmethod
    def forward(self, frames: Tensor, num_clips: int, pads: Sequence[tuple[int, int]]) -> Tensor:
        """Map (B T, in, H, W) to (B T', out, H', W'), one pair of pads for each of `reaches`."""


class FactoredVisualEncoder(FaceEncoder):
    """Three blocks, then the maximum over the picture.

    Args:
        block: Makes a block of (channels in, channels out, stride).
    """

    def __init__(self, block: Callable[[int, int, int], VisualBlock]) -> None:
        super().__init__()
        self.block1 = block(1, 32, 2)
        self.block2 = block(32, 64, 1)
        self.block3 = block(64, 128, 1)

    def forward(self, faces: Tensor, start: int = 0, stop: int | None = None) -> Tensor:
        """Map grey faces (B, T, 112, 112) in [0, 255] to (B, stop - start, 128)."""
        num_clips, length = faces.shape[:2]
        stop = length if stop is None else stop
        count = len(self.block1.reaches)
        first, last, pads = temporal_pads(length, start, stop, self.block1.reaches * 3)
        dtype = next(self.parameters()).dtype
        faces = normalise_faces(faces[:, first:last], dtype).flatten(0, 1)
        frames = faces.unsqueeze(-1).permute(0, 3, 1, 2)  # (B T, 1, 112, 112), channels_last
        frames = self.block1(frames, num_clips, pads[:count])
        frames = functional.max_pool2d(frames, 3, 2, 1)  # (B T, 32, 28, 28)
        frames = self.block2(frames, num_clips, pads[count : 2 * count])
        frames = functional.max_pool2d(frames, 3, 2, 1)  # (B T, 64, 14, 14)
        frames = self.block3(frames, num_clips, pads[2 * count :])
        embeddings: Tensor = frames.amax((2, 3)).float()
        return embeddings.view(num_clips, stop - start, -1)


class FactoredAudioEncoder(nn.Module):
    """Three blocks with two halvings of time between them, then the mean over the cepstrum.

    Args:
        block: Makes a block of (channels in, channels out), which keeps the image's size.
    """

    def __init__(self, block: Callable[[int, int], nn.Module]) -> None:
        super().__init__()
        self.block1 = block(1, 32)
        self.block2 = block(32, 64)
        self.block3 = block(64, 128)

    def forward(self, audio: Tensor) -> Tensor:
        """Map features (B, 4 T, 13) to (B, T, 128)."""
        image = self.block1(audio.transpose(1, 2).unsqueeze(1))  # (B, 32, 13, 4 T)
        image = self.block2(functional.max_pool2d(image, (1, 3), (1, 2), (0, 1)))
        image = self.block3(functional.max_pool2d(image, (1, 3), (1, 2), (0, 1)))
        rows: Tensor = image.mean(2)  # (B, 128, 13, T)
        return rows.transpose(1, 2)


def initialise(network: nn.Module) -> None:
    """Set convolutions and recurrent weights as the authors do: He et al. (2015), no GRU bias."""
    for module in network.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
            nn.init.kaiming_normal_(module.weight)
        elif isinstance(module, nn.GRU):
            for name, parameter in module.named_parameters():
                if "weight" in name:
                    nn.init.kaiming_normal_(parameter)
                else:
                    nn.init.zeros_(parameter)
