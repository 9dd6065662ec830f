"""Moving arrays to the device of a network, and computing there as on a CPU."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor


def send(array: NDArray[Any], device: torch.device) -> Tensor:
    """Return an array as a tensor on a device; on the CPU, both share their memory.

    A copy to a CUDA device starts from page-locked memory and does not wait for what the device
    is computing.
    """
    tensor = torch.from_numpy(array)
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def without_autocast(device: torch.device) -> AbstractContextManager[None]:
    """Return a context without mixed precision, which the meta device does not have anyway."""
    if not torch.amp.is_autocast_available(device.type):
        return nullcontext()
    return torch.autocast(device.type, enabled=False)


def compute_exactly(device: str) -> None:
    """Turn TF32 off if networks will score on a CUDA device: convolutions would round to 10 bits.

    This is a setting of the whole process; torch's default is TF32 for convolutions.
    """
    if device == "cuda":
        torch.backends.cudnn.allow_tf32 = False
