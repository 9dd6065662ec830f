"""Networks run as published, with the same weights: what scoring and training are timed against."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.contract import Logits, Model
from model.layers.convolutions import odd_one_after
from model.layers.face_encoder import normalise_faces
from model.layers.factored import FactoredVisualEncoder, VisualBlock
from model.layers.talknet_parts import VisualFrontend
from model.networks.asc import ASC
from model.networks.asc_encoder import ASCEncoder, stack
from model.networks.asdnet import ASDNet
from model.networks.asdnet_encoder import ASDNetEncoder
from model.networks.ava_asd import CONVOLUTIONS, AudioTower, AvaASD, VideoTower
from model.networks.light_asd import LightASD, LightVisualBlock
from model.networks.loconet import LoCoNet
from model.networks.lr_asd import LRASD
from model.networks.talknet import TalkNet

PLAIN_POOL = ((1, 3, 3), (1, 2, 2), (0, 1, 1))


class Planar(nn.Module):
    """A video backbone as published: in the default memory layout."""

    def __init__(self, base: nn.Module) -> None:
        super().__init__()
        self.base = base

    def forward(self, clips: Tensor) -> Tensor:
        """Map normalised clips (B, 3, T, H, W) to (B, 512)."""
        maps: Tensor = self.base(clips.contiguous())
        return functional.adaptive_avg_pool3d(maps, 1).flatten(1)


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
        return plain_context(network, embeddings.permute(0, 3, 2, 1).contiguous())

    network.forward = forward  # type: ignore[method-assign]


def _two_streams(network: ASDNetEncoder) -> None:
    network.video_encoder = Planar(network.video_encoder.base)  # type: ignore[assignment]
    _planar(network)


def _relation(network: ASDNet) -> None:
    _planar(network)

    def forward(embeddings: Tensor) -> Logits:
        return Logits(av=plain_relation(network, embeddings).unsqueeze(1))

    network.forward = forward  # type: ignore[method-assign]


def _towers(network: AvaASD) -> None:
    _planar(network)
    hearing, sight = network.audio, network.video

    def hear(audio: Tensor) -> Tensor:
        return plain_tower(hearing, audio.unsqueeze(1), (2, 5))

    def look(images: Tensor) -> Tensor:
        return plain_tower(sight, images.permute(0, 4, 1, 2, 3), (1, 2, 5))

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


def plain_context(network: ASC, context: Tensor) -> Logits:
    """Score contexts (B, C, L, S) in the memory layout that they are published in."""
    part = network.refine
    asking = part.theta_bn(part.theta(context)).flatten(2)
    asked = part.phi_bn(part.phi(context)).flatten(2)
    said = part.gamma_bn(part.gamma(context)).flatten(2)
    affinity = asking.transpose(1, 2) @ asked
    weights = affinity.flatten(1).softmax(1).view_as(affinity)
    mixed = (
        (weights @ said.transpose(1, 2))
        .transpose(1, 2)
        .reshape(*said.shape[:2], *context.shape[2:])
    )
    refined = part.omega_bn(part.omega(mixed)) + context
    states, _ = network.recurrence(refined.flatten(2).transpose(1, 2).contiguous())
    return Logits(av=network.head_av(states.flatten(1))[:, None])


def plain_relation(network: ASDNet, embeddings: Tensor) -> Tensor:
    """Map (B, S, T, 672) to logits (B, 2) by a convolution over frames and speakers."""
    relation = network.relation
    image = embeddings.permute(0, 3, 2, 1)  # (B, 672, L, S)
    around = relation.bn_ctx(relation.conv_ctx(relation.dropout(image[..., 1:]))).squeeze(3)
    sequence = torch.cat((image[..., 0], around), dim=1).transpose(1, 2)
    states: Tensor = network.temporal.rnn(sequence)[0][:, sequence.shape[1] // 2]
    logits: Tensor = network.head_av(states)
    return logits


def plain_tower(tower: AudioTower | VideoTower, image: Tensor, pooled: tuple[int, ...]) -> Tensor:
    """Return a tower's embedding of images (B, C, H, W) or clips (B, C, T, H, W)."""
    for number, name in enumerate(CONVOLUTIONS, start=1):
        layer = getattr(tower, name)
        padded = functional.pad(image, odd_one_after(layer.weight.shape[2:]))
        run = functional.conv3d if image.ndim == 5 else functional.conv2d
        image = functional.relu(run(padded, layer.weight, layer.bias))
        if number in pooled:
            image = plain_pool(image)
    flat = image.movedim(1, -1).flatten(1)
    return flat if tower.fc7 is None else functional.relu(tower.fc7(flat))


def plain_pool(image: Tensor) -> Tensor:
    """Take the maximum over 3 x 3 of the last two dimensions."""
    missing = [-side % 3 for side in reversed(image.shape[-2:])]
    pads = [pad for one in missing for pad in (one // 2, one - one // 2)]
    image = functional.pad(image, pads, value=-torch.inf)
    if image.ndim == 5:
        return functional.max_pool3d(image, (1, 3, 3))
    return functional.max_pool2d(image, 3)
