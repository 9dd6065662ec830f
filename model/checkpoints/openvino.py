"""Read the constants of OpenVINO's intermediate representation: a graph (XML) and numbers (BIN)."""

from dataclasses import dataclass
from xml.etree import ElementTree

import numpy as np
import torch
from torch import Tensor

from model.checkpoints.registry import RawWeights
from utils.errors import UserError

NUMBERS = {"f16": "<f2", "f32": "<f4"}  # element_type -> numpy's name; all others are refused


@dataclass(frozen=True, eq=False)
class Constant:
    """A constant of the graph, and the layer that reads it."""

    reader: str  # type of that layer, such as Convolution
    values: Tensor  # float32


def read_constants(raw: RawWeights) -> list[Constant]:
    """Return the constants of a graph in the order of its layers, which is the order of use.

    Args:
        raw: The BIN file, with the XML file as its companion.

    Raises:
        UserError: One of the files is damaged, or they do not belong together.
    """
    assert raw.companion is not None, f"{raw.file.path} was read without its graph"
    path = raw.companion.file.path
    layers, edges = _parse(raw.companion)
    reader_of = {layer.get("id", ""): _reader(layer, layers, edges) for layer in layers.values()}
    found = []
    for number, layer in layers.items():
        if layer.get("type") != "Const":
            continue
        try:
            values = _values(layer.find("data"), raw.content)
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"constant {layer.get('name')!r} of {path} does not fit {raw.file.path}: {error}; "
                "download both files again"
            ) from error
        found.append(Constant(reader_of[number], values))
    return found


def _parse(graph: RawWeights) -> tuple[dict[str, ElementTree.Element], dict[str, str]]:
    """Return the layers of a graph by id, and from which id to which its edges lead."""
    path = graph.file.path
    try:
        root = ElementTree.fromstring(graph.content)
    except ElementTree.ParseError as error:
        raise UserError(f"{path} is no XML or is cut short ({error}); download it again") from error
    layers = {layer.get("id", ""): layer for layer in root.iterfind("layers/layer")}
    if root.tag != "net" or not layers:
        raise UserError(
            f"expected a graph of OpenVINO in {path}, found <{root.tag}>, {len(layers)} layers; "
            "download it again"
        )
    edges = {
        edge.get("from-layer", ""): edge.get("to-layer", "") for edge in root.iterfind("edges/edge")
    }
    return layers, edges


def _reader(
    layer: ElementTree.Element, layers: dict[str, ElementTree.Element], edges: dict[str, str]
) -> str:
    """Return the type of the layer that reads a layer's output, conversions passed over."""
    following = layers.get(edges.get(layer.get("id", ""), ""))
    while following is not None and following.get("type") == "Convert":
        following = layers.get(edges.get(following.get("id", ""), ""))
    return "" if following is None else following.get("type", "")


def _values(data: ElementTree.Element | None, content: bytes) -> Tensor:
    """Return the numbers that a constant's `data` says where to find."""
    if data is None:
        raise ValueError("it says not where its numbers are")
    facts = data.attrib
    kind = NUMBERS.get(facts["element_type"])
    if kind is None:
        raise ValueError(f"expected numbers of {' or '.join(NUMBERS)}, got {facts['element_type']}")
    shape = [int(side) for side in facts["shape"].split(",") if side.strip()]
    start, size = int(facts["offset"]), int(facts["size"])
    wanted = int(np.prod(shape)) * np.dtype(kind).itemsize
    if size != wanted:
        raise ValueError(f"expected {wanted} bytes for the shape {shape}, got {size}")
    if not 0 <= start <= len(content) - size:
        raise ValueError(f"expected {start + size} bytes or more, found {len(content)}")
    values = np.frombuffer(content[start : start + size], kind).astype(np.float32)
    return torch.from_numpy(values.reshape(shape))
