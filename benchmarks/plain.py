"""Networks run as published, with the same weights: what scoring and training are timed against."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.asc import published_context
from benchmarks.asdnet import Planar, plain_context
from benchmarks.ava_asd import published_tower
from model.contract import Logits, Model
from model.layers.face_encoder import normalise_faces
from model.layers.factored import FactoredVisualEncoder, VisualBlock
from model.layers.talknet_parts import VisualFrontend
from model.networks.asc import ASC
from model.networks.asc_encoder import ASCEncoder, stack
from model.networks.asdnet import ASDNet
from model.networks.asdnet_encoder import ASDNetEncoder
from model.networks.ava_asd import AvaASD
from model.networks.light_asd import LightASD, LightVisualBlock
from model.networks.loconet import LoCoNet
from model.networks.lr_asd import LRASD
from model.networks.talknet import TalkNet

PLAIN_POOL = ((1, 3, 3), (1, 2, 2), (0, 1, 1))


def plain(name: str, network: Model) -> Model:
    """Return a copy of the network `name` that runs as published."""
    copy = deepcopy(network)
    PLAIN[name](copy)
    return copy


def _planar(network: nn.Module) -> None:
    """Store the weights in the default memory layout."""
    for parameter in network.parameters():
        parameter.data = parameter.data.contiguous()


def _residual(network: TalkNet | LoCoNet) -> None:
    network.encode_faces = partial(plain_frontend, network.visual_frontend)  # type: ignore[method-assign]


def _factored(network: LightASD | LRASD) -> None:
    network.encode_faces = partial(plain_encoder, network.visual_encoder)  # type: ignore[method-assign]


def _short_term(network: ASCEncoder) -> None:
    _planar(network)

    def forward(audio: Tensor, faces: Tensor) -> Logits:
        return network.score(audio, stack(faces).contiguous())

    network.forward = forward  # type: ignore[method-assign]


def _context(network: ASC) -> None:
    _planar(network)

    def forward(embeddings: Tensor) -> Logits:
        return published_context(network, embeddings.permute(0, 3, 2, 1).contiguous())

    network.forward = forward  # type: ignore[method-assign]


def _two_streams(network: ASDNetEncoder) -> None:
    network.video_encoder = Planar(network.video_encoder.base)  # type: ignore[assignment]
    _planar(network)


def _relation(network: ASDNet) -> None:
    _planar(network)

    def forward(embeddings: Tensor) -> Logits:
        return Logits(av=plain_context(network, embeddings).unsqueeze(1))

    network.forward = forward  # type: ignore[method-assign]


def _towers(network: AvaASD) -> None:
    _planar(network)
    hearing, sight = network.audio, network.video

    def hear(audio: Tensor) -> Tensor:
        return published_tower(hearing, audio.unsqueeze(1), (2, 5))

    def look(images: Tensor) -> Tensor:
        return published_tower(sight, images.permute(0, 4, 1, 2, 3), (1, 2, 5))

    hearing.forward, sight.forward = hear, look  # type: ignore[method-assign]


PLAIN: Mapping[str, Callable[[Any], None]] = {  # by network, each given one of that class
    "talknet": _residual,
    "loconet": _residual,
    "light_asd": _factored,
    "lr_asd": _factored,
    "asc_encoder": _short_term,
    "asc": _context,
    "asdnet_encoder": _two_streams,
    "asdnet": _relation,
    "ava_asd": _towers,
}


def plain_encoder(encoder: FactoredVisualEncoder, faces: Tensor) -> Tensor:
    """Map faces (B, T, 112, 112) to embeddings as the published code does."""
    volume = normalise_faces(faces, torch.float32)[:, None]
    volume = functional.max_pool3d(plain_block(encoder.block1, volume), *PLAIN_POOL)
    volume = functional.max_pool3d(plain_block(encoder.block2, volume), *PLAIN_POOL)
    return plain_block(encoder.block3, volume).amax((3, 4)).transpose(1, 2)


def plain_frontend(frontend: VisualFrontend, faces: Tensor) -> Tensor:
    """Map faces (B, T, 112, 112) to (B, T, 512) as the published code does."""
    trunk = plain_stem(frontend, faces)
    for unit in (frontend.layer1, frontend.layer2, frontend.layer3, frontend.layer4):
        trunk = unit(trunk)
    return functional.avg_pool2d(trunk, 4, 1).view(*faces.shape[:2], -1)


def plain_stem(frontend: VisualFrontend, faces: Tensor) -> Tensor:
    """Map faces (B, T, 112, 112) to the stem's (B T, 64, 28, 28) by a 3-D convolution."""
    volume = normalise_faces(faces, torch.float32)[:, None]
    volume = plain_layer(frontend.stem_conv, frontend.stem_norm, volume)
    volume = functional.max_pool3d(volume, *PLAIN_POOL)
    return volume.transpose(1, 2).flatten(0, 1).contiguous()


def plain_block(block: VisualBlock, volume: Tensor) -> Tensor:
    """Run a block of Light-ASD or LR-ASD with 3-D convolutions."""
    layers = {conv: (getattr(block, conv), getattr(block, norm)) for conv, norm in block.folds}
    if not isinstance(block, LightVisualBlock):
        for conv, norm in layers.values():
            volume = plain_layer(conv, norm, volume)
        return volume
    narrow = plain_layer(*layers["t_3"], plain_layer(*layers["s_3"], volume))
    wide = plain_layer(*layers["t_5"], plain_layer(*layers["s_5"], volume))
    return plain_layer(*layers["last"], narrow + wide)


def plain_layer(conv: nn.Conv3d, norm: nn.Module, volume: Tensor) -> Tensor:
    """Apply a 3-D convolution, its normalisation and a ReLU."""
    assert isinstance(norm, nn.BatchNorm2d)
    assert isinstance(conv.padding, tuple)
    assert norm.momentum is not None
    volume = functional.conv3d(volume, conv.weight, None, conv.stride, conv.padding)
    mean, variance = norm.running_mean, norm.running_var
    volume = functional.batch_norm(
        volume, mean, variance, norm.weight, norm.bias, norm.training, norm.momentum, norm.eps
    )
    return functional.relu(volume)
