"""A warning is given if bf16 is requested where it is emulated, and only then."""

import logging
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import pytest
import torch

from model.loading import load_models
from model.precision import has_bf16, warn_of_slow_bf16
from model.scoring.prepared import Precision
from model.shipped import train_synchrony, train_tiny_fcos
from model.shipped.synchrony_options import SynchronyTraining
from model.shipped.train_tiny_fcos import DetectorTraining
from model.training.recipes import use_bf16
from utils.model_options import ModelOptions
from utils.training_options import TrainingOptions

LAPTOP = {"architecture": "x86_64", "avx2": True, "fma3": True, "avx512_bf16": False}
SERVER = {**LAPTOP, "avx512_f": True, "avx512_bf16": True}
WARNING = (
    "warning: this processor has no instructions for bf16 (AVX-512 BF16, AMX or ARM BF16); "
    "bf16 is slower than fp32 here, choose fp32"
)


@pytest.fixture
def processor(monkeypatch: pytest.MonkeyPatch) -> Callable[[Mapping[str, Any]], None]:
    """Return what gives this machine the capabilities of another processor."""
    return lambda capabilities: monkeypatch.setattr(
        torch.cpu, "get_capabilities", lambda: MappingProxyType(dict(capabilities))
    )


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        (LAPTOP, False),
        (SERVER, True),
        ({**LAPTOP, "amx_bf16": True}, True),
        ({**LAPTOP, "avx_ne_convert": True}, True),
        ({"architecture": "arm64", "neon": True, "bf16": True}, True),
        ({"architecture": "arm64", "neon": True, "bf16": False}, False),
        ({"architecture": "s390x"}, False),
    ],
    ids=["AVX2", "AVX-512 BF16", "AMX", "AVX2 BF16", "ARM BF16", "ARM", "another"],
)
def test_has_bf16(capabilities: Mapping[str, Any], expected: bool) -> None:
    assert has_bf16(capabilities) is expected


def test_this_processor_tells_its_capabilities() -> None:
    assert "architecture" in torch.cpu.get_capabilities()


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
@pytest.mark.parametrize("capabilities", [LAPTOP, SERVER], ids=["emulated", "native"])
def test_commands_warn(
    precision: Precision,
    capabilities: Mapping[str, Any],
    processor: Callable[[Mapping[str, Any]], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Of the demo and of training; each names it before anything takes time."""
    processor(capabilities)
    expected = [WARNING] if precision == "bf16" and capabilities is LAPTOP else []
    with caplog.at_level(logging.WARNING):
        load_models(ModelOptions(model="synchrony", device="cpu", precision=precision), None)
        assert caplog.messages == expected
        caplog.clear()
        chosen = use_bf16(TrainingOptions(precision=precision), torch.device("cpu"))
    assert chosen is (precision == "bf16")
    assert caplog.messages == expected


@pytest.mark.usefixtures("offline")
def test_trainings_of_what_is_shipped_warn(
    processor: Callable[[Mapping[str, Any]], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """They warn before they find out that there are no weights to learn from."""
    processor(LAPTOP)
    with pytest.raises(OSError, match="yunet"):
        train_tiny_fcos.train(DetectorTraining(videos="nowhere", bf16=True))
    with pytest.raises(OSError, match="lr_asd"):
        train_synchrony.train(SynchronyTraining(videos="nowhere", bf16=True))
    assert caplog.messages == [WARNING, WARNING]


def test_a_gpu_is_never_slow_in_bf16(
    processor: Callable[[Mapping[str, Any]], None], caplog: pytest.LogCaptureFixture
) -> None:
    processor(LAPTOP)
    warn_of_slow_bf16("cuda")
    assert caplog.messages == []
