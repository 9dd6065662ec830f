r"""Make the bundled face embedder less sensitive to what changes a face but not who it is.

python -m model.shipped.whiten_face_embedder --faces embedder/faces.npz \
    --weights embedder/bundled.safetensors --output bundled.safetensors

Spoiled faces of a person scatter more in some directions than in others (within-class covariance
normalisation; Hatch et al., 2006). Its inverse root goes into the weights of the last layer.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray

from model.checkpoints import training as checkpoints
from model.checkpoints.files import read_weights
from model.checkpoints.registry import find_file
from model.embedders.bundled import Bundled, BundledNetwork
from model.shipped import face_embedder_faces as face_sets
from model.shipped.face_embedder_faces import Faces
from utils.commands import run_command
from utils.datasets.face_pictures.made_faces import spoil
from utils.errors import UserError

AT_ONCE = 64  # crops


@dataclass(frozen=True)
class Whitening:
    """How the last layer is changed."""

    faces: Annotated[Path | None, "faces.npz of the training"] = None
    weights: Annotated[Path | None, "bundled.safetensors of the training"] = None
    output: Annotated[Path, "file for the changed weights"] = Path("bundled.safetensors")
    each: Annotated[int, "spoiled copies of each face"] = 4
    share: Annotated[float, "of the mean variance that every direction has at least"] = 0.3
    seed: Annotated[int, "of how faces are spoiled"] = 0

    def __post_init__(self) -> None:
        if self.faces is None or self.weights is None:
            raise UserError("--faces and --weights must name two files of the training")
        if self.each < 1 or self.share <= 0:
            raise UserError("--each must be at least 1, and --share above 0")


def scatter(vectors: NDArray[np.float32], people: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the covariance (C, C) of vectors (N, C) around the means of their people (N,)."""
    numbers = np.unique(people, return_inverse=True)[1]
    sums = np.zeros((numbers.max() + 1, vectors.shape[1]))
    np.add.at(sums, numbers, vectors)
    apart = vectors - (sums / np.bincount(numbers)[:, None])[numbers]
    return np.asarray(apart.T @ apart / len(apart))


def inverse_root(covariance: NDArray[np.float64], share: float) -> NDArray[np.float64]:
    """Return the matrix (C, C) that makes a covariance alike in all directions.

    A share of the mean variance is added to all; the mean of its own values is 1.
    """
    values, directions = np.linalg.eigh(covariance)
    scales = (values + share * values.mean()) ** -0.5
    return np.asarray((directions * (scales / scales.mean())) @ directions.T)


def embed_spoiled(
    embedder: Bundled, faces: Faces, each: int, seed: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return unit vectors (N, C) of spoiled copies of all faces, and whose each is (N,)."""
    rng = np.random.default_rng(seed)
    order = np.repeat(np.arange(len(faces)), each)
    found = []
    for start in range(0, len(order), AT_ONCE):
        part = order[start : start + AT_ONCE]
        found.append(embedder.embed(np.stack([spoil(faces.crops[index], rng) for index in part])))
    made = -1 - np.arange(len(faces))  # a made face is a person of its own
    return np.concatenate(found), np.where(faces.people < 0, made, faces.people)[order]


def whiten(options: Whitening) -> int:
    """Change the weights and write them; return the exit status."""
    assert options.faces is not None and options.weights is not None
    faces = face_sets.read(options.faces)
    state = read_weights(find_file(str(options.weights))).state
    network = BundledNetwork()
    network.load_state_dict(state)
    vectors, people = embed_spoiled(Bundled(network), faces, options.each, options.seed)
    change = torch.from_numpy(inverse_root(scatter(vectors, people), options.share)).float()
    state = dict(state)
    for name in ("embed.weight", "embed.bias"):
        state[name] = change @ state[name].float()
    checkpoints.write_halves(state, options.output)
    print(options.output)
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, change the weights, return the exit status."""
    return run_command(whiten, Whitening, __doc__, arguments)


if __name__ == "__main__":
    sys.exit(main())
