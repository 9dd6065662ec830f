"""Batch normalisation with statistics over the batches of all processes.

torch's SyncBatchNorm only runs on GPUs and requires at least one clip per process. This one runs
on every device, and a process without clips takes part with one that does not count.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

Context = Any  # the context of autograd functions, which has no type in torch


@dataclass
class Share:
    """State shared by the normalisations of a network: whether the current batch counts."""

    counts: bool = True  # False if this process has no clip of its own


class SharedBatchNorm(_BatchNorm):
    """Batch normalisation for any number of dimensions, with statistics over all processes."""

    def __init__(self, norm: _BatchNorm, share: Share) -> None:
        """Use the weights and statistics of `norm`."""
        super().__init__(norm.num_features, norm.eps, norm.momentum, norm.affine)
        self.weight, self.bias = norm.weight, norm.bias
        self.running_mean, self.running_var = norm.running_mean, norm.running_var
        self.num_batches_tracked = norm.num_batches_tracked
        self.share = share
        self.train(norm.training)

    def _check_input_dim(self, input: Tensor) -> None:
        """Accept any number of dimensions."""

    def forward(self, input: Tensor) -> Tensor:
        """Map (B, C, ...) to the same shape."""
        if not self.training:
            return super().forward(input)
        mean, variance, count = self._statistics(input.detach())
        self._remember(mean, variance, count)
        statistics = (mean, variance, count, self.eps)
        return _normalise(input, self.weight, self.bias, statistics, self.share.counts)

    def _statistics(self, input: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return mean and biased variance (C,) over all processes, and the number of values."""
        dims = [0, *range(2, input.dim())]
        variance, mean = torch.var_mean(_at_least_float32(input), dims, correction=0)
        count = input.numel() // input.shape[1] if self.share.counts else 0
        local = torch.cat((mean, variance, mean.new_tensor([float(count)])))
        gathered = [torch.empty_like(local) for _ in range(distributed.get_world_size())]
        distributed.all_gather(gathered, local)
        rows = torch.stack(gathered)  # (ranks, 2 C + 1)
        counts = rows[:, -1:]
        total = counts.sum()
        means, variances = rows[:, :-1].chunk(2, dim=1)
        mean = (counts * means).sum(0) / total
        return mean, (counts * (variances + (means - mean) ** 2)).sum(0) / total, total

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        """Update the running statistics, which are used in evaluation."""
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean, self.momentum)
        # A single value has no unbiased variance: avoid 0 / 0.
        self.running_var.lerp_(variance * (count / (count - 1).clamp(min=1)), self.momentum)


class _Normalise(torch.autograd.Function):
    """Normalise by given statistics, which depend on the input of all processes."""

    @staticmethod
    def forward(
        ctx: Context,
        input: Tensor,
        weight: Tensor,
        bias: Tensor,
        statistics: tuple[Tensor, Tensor, Tensor, float],
        counts: bool,
    ) -> Tensor:
        mean, variance, count, eps = statistics
        ctx.save_for_backward(input, weight, mean, torch.rsqrt(variance + eps), count)
        ctx.counts = counts
        return functional.batch_norm(input, mean, variance, weight, bias, eps=eps)

    @staticmethod
    def backward(ctx: Context, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        input, weight, mean, inverse, count = ctx.saved_tensors
        gradient = _at_least_float32(gradients[0])
        shape = [1, -1] + [1] * (input.dim() - 2)
        dims = [0, *range(2, input.dim())]
        unit = (_at_least_float32(input) - mean.view(shape)) * inverse.view(shape)
        local = torch.stack((gradient.sum(dims), (gradient * unit).sum(dims)))
        total = local.clone()
        distributed.all_reduce(total)
        if ctx.counts:
            through_mean, through_variance = (total / count).view(2, *shape)
            gradient = gradient - through_mean - unit * through_variance
        gradient = gradient * (weight * inverse).view(shape)
        return gradient.to(input.dtype), local[1], local[0], None, None


_normalise = cast(Callable[..., Tensor], _Normalise.apply)


def share_norms(network: nn.Module) -> Share:
    """Replace all batch normalisations of a network by shared ones, in place.

    Returns:
        Their shared state, which states whether the clips of this process count.
    """
    share = Share()
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, _BatchNorm):
                setattr(module, name, SharedBatchNorm(child, share))
    return share


def _at_least_float32(tensor: Tensor) -> Tensor:
    """Return a tensor in float32, or in float64 if it already is."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
