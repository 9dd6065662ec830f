"""LoCoNet's audio encoder, which is initialised from VGGish (Hershey et al., 2017)."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from utils.errors import UserError
from utils.structures import STEPS_PER_FRAME

_UNUSED = ("embeddings.", "pproc.")  # layers of VGGish after its trunk


def _trunk() -> nn.Sequential:
    """Return VGGish's convolutions without the last pooling; indices are the published ones."""
    layers: list[nn.Module] = []
    channels = 1
    for group in ((64,), (128,), (256, 256), (512, 512)):
        if layers:
            layers.append(nn.MaxPool2d(2))
        for width in group:
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
            channels = width
    return nn.Sequential(*layers)


class VGGishEncoder(nn.Module):
    """Maps audio to 128 features per frame, from trunk outputs at 1/4 and 1/8 of the step rate.

    Attributes:
        quarter: Number of trunk layers before the first output, which has one row per frame.
    """

    quarter = 10
    period = 8  # steps; the trunk halves time three times

    def __init__(self) -> None:
        super().__init__()
        self.features = _trunk()
        self.deconv = nn.ConvTranspose2d(512, 256, 2, 2)
        self.conv1 = nn.Conv2d(512, 256, 1)
        self.conv2 = nn.Conv2d(256, 128, 1)

    def forward(self, audio: Tensor) -> Tensor:
        """Map log-mel spectra (B, 4 T, 64) to (B, T, 128).

        Kept: the input is always padded with zeros, by a whole period if it is a multiple of one.
        The published code averages over frequencies last; the layers after the trunk are linear,
        so averaging first gives the same.
        """
        num_steps = audio.shape[1]
        image = functional.pad(audio, (0, 0, 0, self.period - num_steps % self.period))
        fine = self.features[: self.quarter](image.unsqueeze(1))  # (B, 256, T, 16)
        coarse = self.features[self.quarter :](fine).mean(3)  # (B, 512, T / 2)
        spread = functional.conv_transpose1d(
            coarse, self.deconv.weight.mean(3), self.deconv.bias, stride=2
        )
        joined = torch.cat((fine.mean(3), spread), dim=1)
        joined = functional.conv1d(joined, self.conv1.weight[..., 0], self.conv1.bias)
        joined = functional.conv1d(joined, self.conv2.weight[..., 0], self.conv2.bias)
        return joined[:, :, : num_steps // STEPS_PER_FRAME].transpose(1, 2)

    def load_vggish(self, state_dict: Mapping[str, Tensor]) -> None:
        """Initialise the trunk from VGGish; the layers after it stay as they are.

        Args:
            state_dict: Of a published VGGish in PyTorch: features.0.weight and so on.

        Raises:
            UserError: It is another network's; names the first missing or mismatched key. The
                network is left unchanged.
        """
        own = {f"features.{name}": value for name, value in self.features.state_dict().items()}
        found = {key: state_dict[key] for key in state_dict if not key.startswith(_UNUSED)}
        for key in [*own, *found]:
            expected = tuple(own[key].shape) if key in own else "no such key"
            got = tuple(found[key].shape) if key in found else "none"
            if expected != got:
                raise UserError(
                    f"these are not VGGish weights: {key}: expected {expected}, found {got}; "
                    "give vggish-10086976.pth of harritaylor/torchvggish"
                )
        self.features.load_state_dict(
            {key.removeprefix("features."): value for key, value in found.items()}
        )
