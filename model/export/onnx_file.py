"""Write a network that reads the sequence of one face as an ONNX file.

The file has two inputs and one output. All windows of a call have the same number of frames T,
which may be any from 1 on:

- `audio`: float32 (windows, 4 T, 13), the network's audio features;
- `faces`: uint8 (windows, T, 112, 112), grey crops;
- `logits`: float32 (windows, T, 2), index 1 is speaking.

Its metadata has what scoring needs besides: see `describe`.

Torch's exporter by tracing is used: it needs the package onnx alone, and writes recurrent layers
as such. It lacks two operations with a dynamic length, which are defined here.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.onnx import symbolic_helper

from model.checkpoints.build import network_name
from model.contract import Network
from model.scoring.prepared import inference_copy
from utils.errors import ResourceError
from utils.files import replacing
from utils.structures import FPS, SAMPLE_RATE, STEPS_PER_FRAME

OPSET = 17  # of ONNX; the first that all runtimes of the last years read and that has LayerNorm
TRACED_FRAMES = 31  # any number: the file is for all


class _Scoring(nn.Module):
    """A network as the file has it: one output, parts that can be exported."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = copy.deepcopy(inference_copy(network))
        for module in list(self.network.modules()):
            for name, part in module.named_children():
                if isinstance(part, nn.MultiheadAttention):
                    setattr(module, name, _Attention(part))

    def forward(self, audio: Tensor, faces: Tensor) -> Tensor:
        """Map features (B, 4 T, F) and faces (B, T, H, W) to logits (B, T, 2)."""
        return self.network(audio, faces).av  # type: ignore[no-any-return]


class _Attention(nn.Module):
    """Attention of several heads in plain operations, which do not fix the length."""

    def __init__(self, released: nn.MultiheadAttention) -> None:
        super().__init__()
        assert released.batch_first
        self.num_heads = released.num_heads
        self.weights = released.in_proj_weight.detach().chunk(3)
        self.biases = released.in_proj_bias.detach().chunk(3)
        self.out_proj = released.out_proj

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, need_weights: bool
    ) -> tuple[Tensor, None]:
        """Map three (B, T, C) to (B, T, C); no attention weights are given."""
        assert not need_weights
        heads = [
            torch.unflatten(functional.linear(rows, weight, bias), 2, (self.num_heads, -1))
            for rows, weight, bias in zip(
                (query, key, value), self.weights, self.biases, strict=True
            )
        ]
        queries, keys, values = (one.transpose(1, 2) for one in heads)  # (B, heads, T, C / heads)
        scale = (query.shape[2] / self.num_heads) ** -0.5
        attention = torch.softmax(queries @ keys.transpose(2, 3) * scale, -1)
        return self.out_proj((attention @ values).transpose(1, 2).flatten(2)), None


def write_onnx(network: Network, path: Path) -> None:
    """Write a network for scoring; normalisations are folded as in this project's scoring.

    Raises:
        ResourceError: The package onnx is not installed.
    """
    try:
        import onnx
    except ImportError as error:
        raise ResourceError(
            "ONNX files are written with the package onnx, which is not installed; run "
            "`python -m pip install onnx==1.23.2`"
        ) from error
    inputs = network.inputs
    audio = torch.zeros(1, STEPS_PER_FRAME * TRACED_FRAMES, inputs.num_features)
    faces = torch.zeros(1, TRACED_FRAMES, inputs.size, inputs.size, dtype=torch.uint8)
    with replacing(path) as temporary:
        with torch.no_grad(), _dynamic_unfold():
            torch.onnx.export(
                _Scoring(network).cpu().eval(),
                (audio, faces),
                temporary,
                dynamo=False,
                opset_version=OPSET,
                do_constant_folding=False,  # runtimes do it, and better
                input_names=["audio", "faces"],
                output_names=["logits"],
                dynamic_axes={
                    "audio": {0: "windows", 1: "steps"},
                    "faces": {0: "windows", 1: "frames"},
                    "logits": {0: "windows", 1: "frames"},
                },
            )
        model = onnx.load(temporary)
        onnx.helper.set_model_props(model, describe(network))
        onnx.checker.check_model(model)
        onnx.save(model, temporary)


def describe(network: Network) -> dict[str, str]:
    """Return the metadata of a file: what the network is, and how tracks are scored with it."""
    weights = network.weights
    return {
        "network": network_name(network),
        "weights": weights.name if weights else "",
        "sha256": weights.sha256 if weights else "",
        "feature": network.inputs.feature,
        "windows": ",".join(map(str, network.windows)),  # s; their scores are averaged
        "fps": str(FPS),
        "sample_rate": str(SAMPLE_RATE),
    }


@contextmanager
def _dynamic_unfold() -> Iterator[None]:
    """Let torch export `unfold` along a dimension of dynamic length."""
    torch.onnx.register_custom_op_symbolic("aten::unfold", _unfold, OPSET)  # type: ignore[attr-defined]
    try:
        yield
    finally:
        torch.onnx.unregister_custom_op_symbolic("aten::unfold", OPSET)  # type: ignore[attr-defined]


def _unfold(graph: Any, rows: Any, dimension: Any, size: Any, step: Any) -> Any:  # noqa: ANN401
    """Add the operations of `rows.unfold(dimension, size, step)` to a graph."""

    def constant(value: int | list[int]) -> Any:  # noqa: ANN401
        return graph.op("Constant", value_t=torch.tensor(value))

    rank = symbolic_helper._get_tensor_rank(rows)
    assert rank is not None
    axis = symbolic_helper._get_const(dimension, "i", "dimension") % rank  # type: ignore[no-untyped-call]
    size, step = (one if symbolic_helper._is_value(one) else constant(one) for one in (size, step))
    length = graph.op("Gather", graph.op("Shape", rows), constant(axis), axis_i=0)
    stop = graph.op("Add", graph.op("Sub", length, size), constant(1))
    starts = graph.op("Range", constant(0), stop, step)
    offsets = graph.op("Range", constant(0), size, constant(1))
    places = graph.op("Add", graph.op("Unsqueeze", starts, constant([1])), offsets)
    found = graph.op("Gather", rows, places, axis_i=axis)  # the new axis follows the old one
    order = [*range(axis + 1), *range(axis + 2, rank + 1), axis + 1]
    return graph.op("Transpose", found, perm_i=order)
