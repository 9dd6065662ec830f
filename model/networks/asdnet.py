"""ASDNet's inter-speaker relation and temporal model (Kopuklu et al., ICCV 2021)."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.contract import ContextNetwork, Logits, Recipe
from utils.errors import UserError
from utils.structures import ContextSpec

NUM_EMBEDDING = 672  # channels per face and moment
NUM_HIDDEN = 128
_RADIUS = 4  # moments to either side


class SpeakerRelation(nn.Module):
    """Inter-speaker relation modelling: a summary of the other faces beside the scored one.

    Kept: the convolution depends on the order of the other faces, which is random in training,
    and only a normalisation follows it.
    """

    def __init__(self, num_speakers: int) -> None:
        super().__init__()
        size = (2 * _RADIUS + 1, num_speakers - 1)
        self.conv_ctx = nn.Conv2d(NUM_EMBEDDING, NUM_HIDDEN, size, padding=(_RADIUS, 0), bias=False)
        self.bn_ctx = nn.BatchNorm2d(NUM_HIDDEN)
        self.dropout = nn.Dropout(0.2)
        nn.init.kaiming_normal_(self.conv_ctx.weight, mode="fan_out", nonlinearity="relu")
        self.conv_ctx.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, embeddings: Tensor) -> Tensor:
        """Map (B, S, L, 672) to (B, L, 800)."""
        others = self.dropout(embeddings[:, 1:])
        # Faster as a convolution over one row of moments, with all other faces as channels.
        rows = others.transpose(1, 2).flatten(2).transpose(1, 2).unsqueeze(2)
        weight = self.conv_ctx.weight.permute(0, 3, 1, 2).flatten(1, 2).unsqueeze(2)
        around = self.bn_ctx(functional.conv2d(rows, weight, padding=(0, _RADIUS)))
        around = around.squeeze(2).transpose(1, 2)
        return torch.cat((embeddings[:, 0], around), dim=2)


class TemporalModel(nn.Module):
    """A two-layer bidirectional GRU, read at the middle moment."""

    def __init__(self) -> None:
        super().__init__()
        num_inputs = NUM_EMBEDDING + NUM_HIDDEN
        self.rnn = nn.GRU(
            num_inputs, NUM_HIDDEN, 2, batch_first=True, dropout=0.1, bidirectional=True
        )

    def forward(self, sequence: Tensor) -> Tensor:
        """Map (B, L, 800) to (B, 256)."""
        states: Tensor = self.rnn(sequence)[0]
        return states[:, sequence.shape[1] // 2]


class ASDNet(ContextNetwork):
    """Scores the middle of 64 moments of a face, beside three others of the shot.

    Args:
        num_speakers: S, the scored face among them.
        length: L, moments.
    """

    recipe = Recipe(lr=3e-6, lr_decay=0.1, decay_every=5, max_epoch=10, batch_size=256)
    encoder_name = "asdnet_encoder"
    num_embedding = NUM_EMBEDDING
    released_names: ClassVar[Mapping[str, str]] = {
        "isrm.": "relation.",
        "tm.": "temporal.",
        "fc_final.": "head_av.",
    }

    def __init__(self, num_speakers: int = 4, length: int = 64) -> None:
        super().__init__()
        if num_speakers < 2:
            raise UserError(f"expected num_speakers of at least 2, got {num_speakers}")
        if length < 2 or length % 2:
            raise UserError(f"expected an even length of at least 2 moments, got {length}")
        self.context = ContextSpec(length, length // 2, num_speakers, fill="zero")
        self.relation = SpeakerRelation(num_speakers)
        self.temporal = TemporalModel()
        self.head_av = nn.Linear(2 * NUM_HIDDEN, 2)

    @classmethod
    def variant_of(cls, state_dict: Mapping[str, Tensor]) -> dict[str, Any]:
        """Return the number of speakers of a checkpoint; the number of moments is not known."""
        for key, value in state_dict.items():
            if key.endswith(".conv_ctx.weight") and value.ndim == 4:
                return {"num_speakers": value.shape[3] + 1}
        return {}

    def forward(self, embeddings: Tensor) -> Logits:
        """Map embeddings (B, S, L, 672), the scored face first, to its logits (B, 1, 2)."""
        expected = (self.context.num_speakers, self.context.length, NUM_EMBEDDING)
        if embeddings.shape[1:] != expected:
            raise UserError(
                f"expected embeddings (B, S, L, C) with S, L, C = {expected}, "
                f"got {tuple(embeddings.shape)}; forward features of asdnet_encoder, or set "
                "num_speakers and length to what they were made for"
            )
        states = self.temporal(self.relation(embeddings.float()))
        return Logits(av=self.head_av(states).unsqueeze(1))
