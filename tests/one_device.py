"""A stand-in for a GPU on machines without one: the meta device, whose tensors have no values.

It shows that no operation mixes tensors of the GPU and of the CPU, and that no value is read from
the GPU without a copy. It does not show what a GPU computes.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

# Operations that take tensors of two devices on a GPU, too: copies, and indices from the CPU.
MIXED = {
    torch.ops.aten.copy_.default,
    torch.ops.aten._to_copy.default,
    torch.ops.aten.index.Tensor,
    torch.ops.aten.index_put_.default,
    torch.ops.aten.index_put.default,
}


class OneDevice(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Raises RuntimeError if an operation mixes tensors of the meta device and of the CPU."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Check the devices of all tensors but those of one number, then run the operation."""
        found = {
            leaf.device.type
            for leaf in tree_leaves((args, kwargs))
            if isinstance(leaf, Tensor) and (leaf.dim() > 0 or leaf.device.type == "meta")
        }
        if len(found) > 1 and func not in MIXED:
            raise RuntimeError(f"{func} mixes tensors of {' and '.join(sorted(found))}")
        return func(*args, **(kwargs or {}))


@contextmanager
def pretended_gpu() -> Iterator[None]:
    """Treat the meta device as a GPU: copies to the CPU, which otherwise fail, give zeros."""
    copy: Callable[[Tensor], Tensor] = Tensor.cpu

    def cpu(tensor: Tensor) -> Tensor:
        if tensor.device.type != "meta":
            return copy(tensor)
        return torch.zeros(tensor.shape, dtype=tensor.dtype, device="cpu")

    with pytest.MonkeyPatch.context() as patch, OneDevice():
        patch.setattr(Tensor, "cpu", cpu)
        yield
