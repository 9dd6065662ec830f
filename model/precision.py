"""Whether this machine is any faster in bf16."""

import logging
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

logger = logging.getLogger(__name__)

# What torch.cpu.get_capabilities() calls the instructions that multiply in bf16: of x86, of ARM.
BF16_INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "avx_ne_convert", "bf16")


def has_bf16(capabilities: Mapping[str, Any]) -> bool:
    """Return whether a processor with these capabilities has instructions for bf16."""
    return any(capabilities.get(name, False) for name in BF16_INSTRUCTIONS)


def is_fast_in_bf16(network: nn.Module) -> bool:
    """Return whether a network is on a CPU that has instructions for bf16."""
    on_cpu = next(network.parameters()).device.type == "cpu"
    return on_cpu and has_bf16(torch.cpu.get_capabilities())


def warn_of_slow_bf16(device: str) -> None:
    """Warn if bf16 is emulated on this device: it then gives the same results more slowly."""
    if device == "cpu" and not has_bf16(torch.cpu.get_capabilities()):
        logger.warning(
            "warning: this processor has no instructions for bf16 (AVX-512 BF16, AMX or ARM BF16); "
            "bf16 is slower than fp32 here, choose fp32"
        )
