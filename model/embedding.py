"""Face embedding: choose an embedder, and embed the chosen crops of each track."""

from dataclasses import dataclass
from importlib import import_module

import numpy as np
from numpy.typing import NDArray

from model.checkpoints.registry import RawWeights, default_checkpoint, get_weights
from model.choosing import AUTO, check_name, first_available
from model.contract import FaceEmbedder
from model.names import embedder_names
from utils.downloads import Progress
from utils.errors import UserError, WeightsUnavailableError
from utils.model_options import AUTO_EMBEDDERS, EmbedderOptions
from utils.structures import FaceCrops, TrackEmbeddings

# Where eyes, nose and corners of the mouth lie in the boxes of a detector that does not find them,
# as fractions of the box: means of YuNet's points on faces and their mirror images
# (benchmarks/face_points.py). Boxes of other detectors, and given ones, are taken for YuNet's.
PLACES = {
    "yunet": ((0.284, 0.377), (0.716, 0.377), (0.5, 0.576), (0.319, 0.737), (0.681, 0.737)),
    "tiny_fcos": ((0.279, 0.368), (0.721, 0.368), (0.5, 0.568), (0.313, 0.729), (0.687, 0.729)),
}


@dataclass(frozen=True)
class EmbedderChoice:
    """An embedder, and one line that says which it is and why."""

    embedder: FaceEmbedder
    reason: str


def load_embedder(
    name: str = "auto", device: str = "cpu", progress: Progress | None = None
) -> FaceEmbedder:
    """Return a face embedder; see `choose_embedder`."""
    choice = choose_embedder(EmbedderOptions(name), device, progress)
    if choice is None:
        raise UserError("'none' is no embedder; leave it out instead")
    return choice.embedder


def choose_embedder(
    options: EmbedderOptions, device: str = "cpu", progress: Progress | None = None
) -> EmbedderChoice | None:
    """Load the requested embedder, or none; one that is named explicitly is never replaced.

    Args:
        options: Which one.
        device: Where it runs.
        progress: Told the bytes of a download.

    Raises:
        UserError: There is no embedder of that name.
        WeightsUnavailableError: Its weights are not available; one line that says what was tried
            and what to do.
    """
    name = options.embedder
    check_name("an embedder", name, (AUTO, *embedder_names(), "none"))
    if name == "none":
        return None

    def get(embedder: str) -> RawWeights:
        return get_weights(default_checkpoint(embedder).name, progress)

    try:
        chosen = first_available("--embedder", name, AUTO_EMBEDDERS, "the first choice", get)
    except WeightsUnavailableError as error:
        raise WeightsUnavailableError(
            f"no face embedder is available: {error}; "
            "or pass --embedder none: tracks are not joined to people"
        ) from error
    load = import_module(f"model.embedders.{chosen.name}").load
    return EmbedderChoice(load(chosen.weights, device), chosen.reason)


def places_of(detector: str | None) -> NDArray[np.float64]:
    """Return where the five points of a face (5, 2) lie in a detector's boxes, as fractions.

    Args:
        detector: Its name; None for boxes that were given.
    """
    return np.array(PLACES.get(detector or "", PLACES["yunet"]))


def embed_track(embedder: FaceEmbedder, track: int, faces: FaceCrops) -> TrackEmbeddings:
    """Return the embeddings of a track under its number in the video."""
    return TrackEmbeddings(track, embedder.embed(faces.crops), faces.qualities, faces.thumbnail)
