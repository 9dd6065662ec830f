"""Every published video backbone gives what it should, and is known by its weights."""

import re

import pytest
import torch
from torch import Tensor, nn

from model.layers.folding import fold_norms
from model.layers.video_backbones.choose import (
    NAMES,
    VideoBackbone,
    make_backbone,
    recognise_backbone,
)
from model.layers.video_backbones.mobilenet3d import MobileNetV23D
from model.layers.video_backbones.resnet3d import ResNet3D
from tests.parity.fill import fill, inputs
from tests.parity.references import reference, reference_table

KEYS: dict[str, dict[str, list[int]]] = reference_table("asdnet_keys")
LAYOUTS = (torch.contiguous_format, torch.channels_last_3d)
MOBILENETS = [("asdnet_mobilenet", f"w{width}", "mobilenet", width, 3) for width in (2.0, 1.0, 0.5)]
MOBILENETS_V2 = [
    ("asdnet_mobilenetv2", f"w{width}", "mobilenetv2", width, 3) for width in (1.0, 0.5, 2.0)
]
SHUFFLENETS = [
    ("asdnet_shufflenet", f"g{groups}w{width}", "shufflenet", width, groups)
    for groups, width in ((3, 2.0), (1, 1.0), (2, 1.0), (3, 1.0), (4, 1.0), (8, 1.0))
]
SHUFFLENETS_V2 = [
    ("asdnet_shufflenetv2", f"w{width}", "shufflenetv2", width, 3)
    for width in (2.0, 1.5, 1.0, 0.5, 0.25)
]
RESIDUAL = [
    ("asdnet_resnet3d", "depth10", "resnet10", 0.0, 3),
    ("asdnet_resnet3d", "depth18", "resnet18", 0.0, 3),
    ("asdnet_resnext101", "resnext101", "resnext101", 0.0, 3),
    *(
        pytest.param(file, net, name, 0.0, 3, marks=pytest.mark.slow)
        for file, net, name in (
            ("asdnet_resnet3d", "depth34", "resnet34"),
            ("asdnet_resnet3d", "depth50", "resnet50"),
            ("asdnet_resnet3d", "depth101", "resnet101"),
            ("asdnet_resnext_more", "resnext50", "resnext50"),
            ("asdnet_resnext_more", "resnext152", "resnext152"),
        )
    ),
]
PARAMETERS = {
    ("resnext50", 0.0, 3): 26_915_264,
    ("resnext101", 0.0, 3): 48_570_816,
    ("resnext152", 0.0, 3): 66_408_896,
    ("resnet10", 0.0, 3): 14_225_600,
    ("resnet18", 0.0, 3): 33_203_904,
    ("resnet34", 0.0, 3): 63_339_712,
    ("resnet50", 0.0, 3): 46_198_976,
    ("resnet101", 0.0, 3): 85_245_120,
    ("resnet152", 0.0, 3): 117_403_840,
    ("resnet200", 0.0, 3): 126_603_456,
    ("mobilenet", 0.5, 3): 1_127_264,
    ("mobilenet", 1.0, 3): 3_823_296,
    ("mobilenet", 0.0, 3): 13_924_736,
    ("mobilenetv2", 0.5, 3): 625_120,
    ("mobilenetv2", 0.0, 3): 2_106_752,
    ("mobilenetv2", 2.0, 3): 7_971_328,
    ("shufflenet", 1.0, 1): 1_249_465,
    ("shufflenet", 1.0, 2): 1_377_168,
    ("shufflenet", 1.0, 3): 1_437_448,
    ("shufflenet", 1.0, 4): 1_482_784,
    ("shufflenet", 1.0, 8): 1_748_728,
    ("shufflenet", 2.0, 1): 4_319_882,
    ("shufflenet", 2.0, 2): 4_542_112,
    ("shufflenet", 0.0, 3): 4_590_352,
    ("shufflenet", 2.0, 4): 4_617_488,
    ("shufflenet", 2.0, 8): 5_142_064,
    ("shufflenetv2", 0.25, 3): 148_096,
    ("shufflenetv2", 0.5, 3): 262_336,
    ("shufflenetv2", 1.0, 3): 1_060_588,
    ("shufflenetv2", 1.5, 3): 2_185_408,
    ("shufflenetv2", 0.0, 3): 3_908_208,
}


def strengthen(backbone: nn.Module) -> None:
    """Make filled weights of MobileNet larger: else its output hardly depends on its input."""
    with torch.no_grad():
        for parameter in backbone.parameters():
            if parameter.ndim >= 2:
                parameter.mul_(1.5)


def filled_backbone(name: str, width: float = 0.0, groups: int = 3) -> nn.Module:
    backbone = make_backbone(name, width, groups)
    fill(backbone)
    if name == "mobilenet":
        strengthen(backbone)
    return backbone.eval()


def near(found: Tensor, wanted: Tensor, part: float = 1e-4) -> None:
    assert found.shape == wanted.shape
    assert float((found - wanted).abs().max()) <= part * float(wanted.abs().max())


@pytest.mark.parametrize(
    ("file", "net", "name", "width", "groups"),
    [*RESIDUAL, *MOBILENETS, *MOBILENETS_V2, *SHUFFLENETS, *SHUFFLENETS_V2],
)
def test_published_outputs(file: str, net: str, name: str, width: float, groups: int) -> None:
    """As stored, in either layout, and with normalisations folded."""
    expected = reference(file)
    backbone = filled_backbone(name, width, groups)
    parameters = sum(parameter.numel() for parameter in backbone.parameters())
    assert parameters == int(expected[f"{net}.params"])
    cases = [key.removesuffix(".output") for key in expected if re.match(rf"{net}\..*output", key)]
    assert cases
    with torch.inference_mode():
        for layout, folded in ((LAYOUTS[0], False), (LAYOUTS[1], False), (LAYOUTS[1], True)):
            if folded:
                fold_norms(backbone)
            for case in cases:
                shape = expected[f"{case}.input_shape"].astype(int).tolist()
                clips = torch.from_numpy(inputs(f"{case}.video", shape, -2, 2))
                found = backbone(clips.contiguous(memory_format=layout))
                near(found, torch.from_numpy(expected[f"{case}.output"]))


@pytest.mark.parametrize(("name", "width", "groups"), PARAMETERS)
def test_variants(name: str, width: float, groups: int) -> None:
    """Their parameters are as counted, and their weights tell which they are."""
    with torch.device("meta"):
        backbone = make_backbone(name, width, groups)
    counted = sum(parameter.numel() for parameter in backbone.parameters())
    assert counted == PARAMETERS[name, width, groups]
    found = recognise_backbone(backbone.state_dict())
    assert found.pop("video_backbone") == name
    with torch.device("meta"):
        again = make_backbone(name, **found)
    assert {key: value.shape for key, value in again.state_dict().items()} == {
        key: value.shape for key, value in backbone.state_dict().items()
    }


@pytest.mark.parametrize(
    ("published", "name"),
    [
        ("asdnet_resnext101", "resnext101"),
        ("asdnet_resnet3d_10", "resnet10"),
        ("asdnet_resnet3d_18", "resnet18"),
        ("asdnet_resnet3d_34", "resnet34"),
        ("asdnet_resnet3d_50", "resnet50"),
        ("asdnet_mobilenet_w2", "mobilenet"),
        ("asdnet_mobilenetv2_w1", "mobilenetv2"),
        ("asdnet_shufflenet_g3w2", "shufflenet"),
        ("asdnet_shufflenetv2_w2", "shufflenetv2"),
    ],
)
def test_published_names(published: str, name: str) -> None:
    with torch.device("meta"):
        backbone = make_backbone(name)
    shapes = {key: list(value.shape) for key, value in backbone.state_dict().items()}
    assert shapes == KEYS[published]


@pytest.mark.parametrize("width", [0.75, 1.4, 1.1, 0.35, 1 / 3])
def test_uncommon_widths(width: float) -> None:
    with torch.device("meta"):
        backbone = make_backbone("mobilenet", width)
        again = make_backbone("mobilenet", recognise_backbone(backbone.state_dict())["width"])
    for key, value in again.state_dict().items():
        assert value.shape == backbone.state_dict()[key].shape


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("vgg",), "one of resnext50, .*shufflenetv2; got 'vgg'"),
        (("resnet50",), "resnet50 gives 2048; take resnet34"),
        (("resnet200",), "resnet200 gives 2048"),
        (("mobilenetv2", 2.0), "mobilenetv2 of width 2 gives 1024; take a width of at most 1"),
        (("resnet18", 2.0), "resnet18 has one width only"),
        (("mobilenet", -1.0), "width of mobilenet of at least 0.0625; got -1"),
        (("shufflenetv2", 3.0), "one of 0.25, 0.5, 1, 1.5, 2; got 3"),
        (("shufflenet", 0.0, 5), "one of 1, 2, 3, 4, 8; got 5"),
        (("shufflenet", 0.5, 8), "divide into 8 groups, got 0.5"),
    ],
)
def test_refused(arguments: tuple[str, float, int], message: str) -> None:
    with torch.device("meta"), pytest.raises(ValueError, match=message):
        VideoBackbone(*arguments)


def test_names_of_weights_of_something_else() -> None:
    assert recognise_backbone({"fc.weight": torch.zeros(2, 2)}) == {}
    assert recognise_backbone({"conv1.weight": torch.zeros(64, 3, 7, 7)}) == {}


def test_bf16_is_close() -> None:
    backbone = VideoBackbone("mobilenetv2").eval()
    fill(backbone)
    clips = torch.from_numpy(inputs("clips", (2, 3, 8, 32, 32), -2, 2))
    with torch.inference_mode():
        whole = backbone(clips)
        found = backbone.bfloat16()(clips)
    assert found.dtype == torch.float32
    near(found, whole, 0.05)


def test_training_leaves_out_no_frame() -> None:
    """In use the stem of a ResNet leaves out frames, but statistics are those of all."""
    clips = torch.from_numpy(inputs("clips", (2, 3, 8, 32, 32), -2, 2))
    means = []
    for layout in LAYOUTS:
        backbone = ResNet3D(10).train()
        fill(backbone)
        backbone(clips.contiguous(memory_format=layout))
        means.append(backbone.state_dict()["bn1.running_mean"])
    torch.testing.assert_close(*means)


def test_bare_shortcuts_hold_gradients_back() -> None:
    with torch.device("meta"):
        backbone = ResNet3D(10)
    shortcut = backbone.layer2[0].downsample  # type: ignore[index]
    clips = torch.ones(1, 64, 4, 4, 4, requires_grad=True)
    taken = shortcut(clips)
    assert taken.shape == (1, 128, 2, 2, 2) and not taken.requires_grad
    assert taken[:, :64].eq(1).all() and taken[:, 64:].eq(0).all()


def test_kinetics_weights() -> None:
    """What fits is taken, what does not is told, and another backbone's file is refused."""
    teacher = MobileNetV23D()
    fill(teacher, salt="kinetics")
    state = {
        f"module.{key}": value
        for key, value in teacher.state_dict().items()
        if "num_batches_tracked" not in key and not key.startswith("features.18.")
    }
    state["module.classifier.1.weight"] = torch.zeros(600, 512)
    state["module.features.1.conv.1.bias"] = torch.zeros(3)
    backbone = VideoBackbone("mobilenetv2")
    before = {key: value.clone() for key, value in backbone.base.state_dict().items()}
    told = backbone.load_kinetics(state)
    assert told[:2] == [
        "features.1.conv.1.bias: has shape (3,), expected (32,)",
        "classifier.1.weight: unknown",
    ]
    assert [line.partition(":")[0] for line in told[2:]] == [
        "features.1.conv.1.bias",
        "features.18.0.weight",
        *(f"features.18.1.{part}" for part in ("weight", "bias", "running_mean", "running_var")),
    ]
    for key, value in backbone.base.state_dict().items():
        taken = f"module.{key}" in state and key != "features.1.conv.1.bias"
        assert torch.equal(value, state[f"module.{key}"] if taken else before[key])
    with torch.device("meta"):
        other = VideoBackbone("shufflenetv2")
    with pytest.raises(ValueError, match=r"found 0 of its .* convolutions in the file"):
        other.load_kinetics(state)


def test_every_name_is_known() -> None:
    assert {name for name, _, _ in PARAMETERS} == set(NAMES)
