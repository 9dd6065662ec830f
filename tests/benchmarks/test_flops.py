"""What networks do is counted as by hand."""

import pytest

from benchmarks.flops import count


@pytest.mark.parametrize(
    ("name", "variant", "parameters", "mmacs"),
    [
        ("asdnet", {}, 3_333_890, 774_144 * 3 * 64 / 1e6 + 64 * (2 * 384 * (928 + 384)) / 1e6),
        ("asdnet_encoder", {"video_backbone": "mobilenetv2"}, 2_320_374, 1514 + 47.7),
        ("asdnet_encoder", {"video_backbone": "shufflenetv2"}, 4_121_830, 1395 + 47.7),
    ],
    ids=["context", "mobilenetv2", "shufflenetv2"],
)
def test_count(name: str, variant: dict[str, str], parameters: int, mmacs: float) -> None:
    cost = count(name, variant)
    assert cost.parameters == parameters
    assert cost.macs / 1e6 == pytest.approx(mmacs, rel=1e-3)
