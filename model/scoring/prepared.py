"""Copies of networks that are made for inference: normalisations folded, faces perhaps in bf16."""

from collections.abc import Sequence
from copy import deepcopy
from typing import Literal, NamedTuple, TypeVar, cast
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from model.contract import Model
from model.layers.face_encoder import FaceEncoder
from model.layers.folding import fold_norms
from model.layers.video_backbones.choose import VideoBackbone

Precision = Literal["fp32", "bf16"]


class _Prepared(NamedTuple):
    """A copy of a network made for inference, and the weights it was made from."""

    tensors: Sequence[Tensor]
    network: Model


AnyModel = TypeVar("AnyModel", bound=Model)
_prepared: WeakKeyDictionary[Model, dict[Precision, _Prepared]] = WeakKeyDictionary()


def inference_copy(network: AnyModel, precision: Precision = "fp32") -> AnyModel:
    """Return a copy of the network made to be fast, made anew when the network has changed."""
    if precision not in ("fp32", "bf16"):
        raise ValueError(f"precision must be fp32 or bf16, found {precision!r}; see --precision")
    copies = _prepared.setdefault(network, {})
    known = copies.get(precision)
    if known is None or not _same(known.tensors, _tensors(network)):
        tensors = [tensor.detach().clone() for tensor in _tensors(network)]
        known = copies[precision] = _Prepared(tensors, _prepare(network, precision))
    return cast("AnyModel", known.network)


def _prepare(network: AnyModel, precision: Precision) -> AnyModel:
    """Copy a network with normalisations folded and faces encoded in the given precision."""
    prepared = deepcopy(network).eval().requires_grad_(False)
    fold_norms(prepared)
    for part in prepared.modules():
        if isinstance(part, nn.Conv2d):
            part.weight.data = part.weight.data.contiguous(memory_format=torch.channels_last)
        if isinstance(part, FaceEncoder | VideoBackbone) and precision == "bf16":
            for conv in part.modules():
                if isinstance(conv, nn.Conv2d | nn.Conv3d):
                    conv.bfloat16()
    return prepared


def _tensors(network: Model) -> list[Tensor]:
    """Return all weights of a network."""
    return [*network.parameters(), *network.buffers()]


def _same(known: Sequence[Tensor], tensors: Sequence[Tensor]) -> bool:
    """Tell whether weights have the same values, at the same place.

    The values are compared because torch's version counters miss writes through `.data`, and
    tensors made in inference mode have none.
    """
    return len(known) == len(tensors) and all(
        (one.dtype, one.device) == (other.dtype, other.device) and torch.equal(one, other)
        for one, other in zip(known, tensors, strict=True)
    )
