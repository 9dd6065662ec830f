"""ASC: "Active Speakers in Context" (Alcázar et al., 2020): a face compared over faces and time."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from model.contract import ContextNetwork, Logits, Recipe
from model.devices import without_autocast
from model.layers.folding import Foldable
from utils.errors import UserError
from utils.structures import ContextSpec

HIDDEN = 128  # channels


class PairwiseRefinement(Foldable):
    """Attention between all moments of all faces (section 3.2.1, a non-local block)."""

    folds = (
        ("theta", "theta_bn"),
        ("phi", "phi_bn"),
        ("gamma", "gamma_bn"),
        ("omega", "omega_bn"),
    )

    def __init__(self, num_embedding: int) -> None:
        super().__init__()
        self.theta = nn.Conv2d(num_embedding, HIDDEN, 1)
        self.theta_bn = nn.BatchNorm2d(HIDDEN)
        self.phi = nn.Conv2d(num_embedding, HIDDEN, 1)
        self.phi_bn = nn.BatchNorm2d(HIDDEN)
        self.gamma = nn.Conv2d(num_embedding, HIDDEN, 1)
        self.gamma_bn = nn.BatchNorm2d(HIDDEN)
        self.omega = nn.Conv2d(HIDDEN, num_embedding, 1)
        self.omega_bn = nn.BatchNorm2d(num_embedding)
        for conv in (self.theta, self.phi, self.gamma, self.omega):
            nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
            assert conv.bias is not None
            nn.init.zeros_(conv.bias)

    def forward(self, context: Tensor) -> Tensor:
        """Map (B, C, L, S) to the same shape.

        Kept: one softmax over all pairs of a context instead of one per query, and no scaling:
        all weights together sum to 1. The released weights were trained this way.
        """
        query = self.theta_bn(self.theta(context)).flatten(2)  # (B, 128, L S)
        key = self.phi_bn(self.phi(context)).flatten(2)
        value = self.gamma_bn(self.gamma(context)).flatten(2)
        affinity = query.transpose(1, 2) @ key  # (B, L S, L S)
        weights = affinity.flatten(1).softmax(1).view_as(affinity)
        mixed = (value @ weights.transpose(1, 2)).unflatten(2, context.shape[2:])
        refined: Tensor = self.omega_bn(self.omega(mixed))
        return refined + context


class ASC(ContextNetwork):
    """Refines a context by pairwise attention; an LSTM reads it moment by moment.

    Args:
        length: L, moments; odd, because the middle one is scored.
        num_speakers: S, faces including the scored one.
        stride: Frames from one moment to the next.
    """

    encoder_name = "asc_encoder"
    num_embedding = 1024
    recipe = Recipe(
        optimiser="adam",
        lr=3e-6,
        lr_decay=0.1,
        decay_every=10,
        max_epoch=15,
        batch_size=64,  # contexts
        loss_weights={"av": 1.0},
    )
    released_names: ClassVar[Mapping[str, str]] = {
        "sat.": "refine.",
        "lstm.": "recurrence.",
        "fc_final.": "head_av.",
    }

    def __init__(self, length: int = 11, num_speakers: int = 3, stride: int = 4) -> None:
        if length < 1 or length % 2 == 0:
            raise UserError(f"length must be odd, because its middle is scored; got {length}")
        if num_speakers < 1 or stride < 1:
            raise UserError(
                f"num_speakers and stride must be 1 or more, got {num_speakers} and {stride}"
            )
        super().__init__()
        self.context = ContextSpec(length, length // 2, num_speakers, "repeat", stride)
        self.refine = PairwiseRefinement(self.num_embedding)
        self.recurrence = nn.LSTM(self.num_embedding, HIDDEN, batch_first=True)
        self.head_av = nn.Linear(HIDDEN * length * num_speakers, 2)

    @classmethod
    def variant_of(cls, state_dict: Mapping[str, Tensor]) -> dict[str, Any]:
        """Return a length and number of speakers that fit the head.

        Only their product is known: 11 moments are assumed if that gives a whole number of
        speakers, otherwise 3 speakers, 2, 1, or more. The stride cannot be determined.
        """
        for name in ("fc_final.weight", "head_av.weight"):
            if name in state_dict and state_dict[name].ndim == 2:
                product = state_dict[name].shape[1] // HIDDEN
                if product and product % 11 == 0:
                    return {"length": 11, "num_speakers": product // 11}
                for speakers in (3, 2, 1, *range(4, product + 1)):
                    if product % speakers == 0 and product // speakers % 2:
                        return {"length": product // speakers, "num_speakers": speakers}
        return {}

    def forward(self, embeddings: Tensor) -> Logits:
        """Map embeddings (B, S, L, 1024), the scored face first, to its logits (B, 1, 2)."""
        shape = (self.context.num_speakers, self.context.length, self.num_embedding)
        if embeddings.shape[1:] != shape:
            raise UserError(
                f"expected contexts of {shape[0]} faces, {shape[1]} moments and {shape[2]} "
                f"numbers, (B, S, L, C), got {tuple(embeddings.shape)}"
            )
        return self.score(embeddings.permute(0, 3, 2, 1))

    def score(self, context: Tensor) -> Logits:
        """Map (B, 1024, L, S), as published, to logits (B, 1, 2).

        The LSTM reads the faces of one moment one after the other.
        """
        refined = self.refine(context.contiguous(memory_format=torch.channels_last))
        moments = refined.flatten(2).transpose(1, 2)  # (B, L S, 1024)
        with without_autocast(moments.device):
            # At least fp32: CPUs without AVX-512 have no LSTM in bf16.
            states, _ = self.recurrence(moments.to(self.recurrence.weight_ih_l0.dtype))
        return Logits(av=self.head_av(states.flatten(1))[:, None])
