"""Score the entities of a data set with a network that reads sequences of one face."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.contract import Network
from model.evaluation.entity_scores import EntityScores, EvaluationOptions
from model.ranks import Ranks
from model.scoring.windows import track_logits
from utils.datasets.entities import DataSet
from utils.datasets.loading.sequence_batches import to_network_input
from utils.datasets.loading.workers import BatchReader
from utils.features import feature_function
from utils.features.mfcc import align
from utils.structures import FPS, InputSpec


@dataclass(frozen=True, eq=False)
class _Entity:
    """An entity as network input."""

    number: int  # in the data set
    faces: NDArray[np.uint8]
    features: NDArray[np.float32]
    labels: NDArray[np.int8]
    timestamps: NDArray[np.float64]


class _EntityMaker:
    """Reads entities; sent to the reader processes."""

    def __init__(self, dataset: DataSet, inputs: InputSpec) -> None:
        self.dataset, self.inputs = dataset, inputs

    def make(self, number: int) -> _Entity:
        """Return the entity of that number."""
        part = self.dataset.read(number)
        compute = feature_function(self.inputs.feature)
        rows = compute(part.waveform, self.dataset.entities[number].fps)
        faces = to_network_input(part.faces, self.inputs)
        return _Entity(number, faces, align(rows, len(faces)), part.labels, part.timestamps)


def score_sequences(
    network: Network, dataset: DataSet, options: EvaluationOptions, ranks: Ranks
) -> Iterator[tuple[int, EntityScores]]:
    """Yield the number and the scores of this process's entities, the longest first."""
    lengths = [entity.num_frames for entity in dataset.entities]
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    numbers = order[ranks.rank :: ranks.size]
    maker = _EntityMaker(dataset, network.inputs)
    for entity in BatchReader(maker, min(options.num_workers, len(numbers))).batches(numbers):
        windows = options.windows or (max(1, math.ceil(len(entity.faces) / FPS)),)
        logits = track_logits(network, entity.faces, entity.features, windows, options.precision)
        info = dataset.entities[entity.number]
        yield (
            entity.number,
            EntityScores(info.video, info.name, entity.timestamps, entity.labels, logits),
        )
