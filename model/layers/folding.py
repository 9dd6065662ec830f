"""Fold normalisations into the convolutions before them, for inference."""

from typing import ClassVar

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils.fusion import fuse_conv_bn_weights


class Foldable(nn.Module):
    """A module that declares which of its normalisations directly follow a convolution."""

    folds: ClassVar[tuple[tuple[str, str], ...]] = ()  # (convolution, normalisation)


def fold_norms(module: nn.Module) -> None:
    """Fold every declared normalisation of an eval-mode module, in place.

    This replaces parameters and normalisations, so use it on a copy for inference, never on a
    network that is trained, saved or loaded into.
    """
    for part in module.modules():
        if isinstance(part, Foldable):
            for conv_name, norm_name in part.folds:
                conv, norm = getattr(part, conv_name), getattr(part, norm_name)
                assert isinstance(conv, _ConvNd)
                assert isinstance(norm, _BatchNorm)
                assert not norm.training
                assert norm.running_mean is not None
                assert norm.running_var is not None
                conv.weight, conv.bias = fuse_conv_bn_weights(
                    conv.weight,
                    conv.bias,
                    norm.running_mean,
                    norm.running_var,
                    norm.eps,
                    norm.weight,
                    norm.bias,
                )
                setattr(part, norm_name, nn.Identity())
