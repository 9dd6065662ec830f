"""Score every entity of a split, whatever kind of network it is."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from model.contract import ClipNetwork, Network
from model.evaluation.entity_scores import EntityScores, EvaluationOptions
from model.evaluation.speaker_evaluation import score_beside_others
from model.ranks import Ranks
from model.scoring.windows import inference_copy, track_logits
from utils.datasets.entities import DataSet, EntityInfo, EntityPart, read_labels
from utils.datasets.loading.clip_loader import ClipLoader, ClipLoaderOptions
from utils.datasets.loading.sequence_batches import to_network_input
from utils.datasets.loading.workers import BatchReader
from utils.features import feature_function
from utils.features.mfcc import align
from utils.structures import FPS, InputSpec

FEW_FRAMES = 20_000  # for fewer, starting processes that read takes longer than reading


class ClipOutputs(NamedTuple):
    """What a clip network makes of all rows of an entity."""

    entity: int  # in the data set
    logits: NDArray[np.float32]  # (T, 2)
    embeddings: NDArray[np.float32]  # (T, C)


@dataclass(frozen=True, eq=False)
class _Entity:
    """An entity as the scorer needs it."""

    number: int  # in the data set
    faces: NDArray[np.uint8]
    features: NDArray[np.float32]
    labels: NDArray[np.int8]
    timestamps: NDArray[np.float64]


class _EntityMaker:
    """Reads entities; goes to the reading processes."""

    def __init__(self, dataset: DataSet, inputs: InputSpec) -> None:
        self.dataset, self.inputs = dataset, inputs

    def make(self, number: int) -> _Entity:
        """Return the entity of that number."""
        part = self.dataset.read(number)
        compute = feature_function(self.inputs.feature)
        rows = compute(part.waveform, self.dataset.entities[number].fps)
        faces = to_network_input(part.faces, self.inputs)
        return _Entity(number, faces, align(rows, len(faces)), part.labels, part.timestamps)


def score_split(
    network: Network | ClipNetwork,
    dataset: DataSet,
    options: EvaluationOptions,
    ranks: Ranks,
    progress: Callable[[int], None] | None = None,
) -> list[EntityScores]:
    """Return the scores of every entity, in the data set's order; each process has them all.

    Args:
        network: Scores on its own device; left as it is.
        dataset: The split.
        options: How.
        ranks: The processes that share the work.
        progress: Told how many frames this process has scored.
    """
    if isinstance(network, ClipNetwork):
        scores = _score_clips(network, dataset, options, ranks)
    elif network.num_speakers > 1:
        scores = score_beside_others(network, dataset, options.precision, ranks)
    else:
        scores = _score_sequences(network, dataset, options, ranks)
    own, done = {}, 0
    for number, entity in scores:
        own[number] = entity
        done += len(entity.labels)
        if progress is not None:
            progress(done)
    scored = {index: one for part in ranks.gather(own) for index, one in part.items()}
    return [scored[index] for index in range(len(dataset.entities))]


def _score_sequences(
    network: Network, dataset: DataSet, options: EvaluationOptions, ranks: Ranks
) -> Iterator[tuple[int, EntityScores]]:
    """Yield the scores of this process' entities."""
    lengths = [entity.num_frames for entity in dataset.entities]
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    own = order[ranks.rank :: ranks.size]
    maker = _EntityMaker(dataset, network.inputs)
    for entity in BatchReader(maker, min(options.num_workers, len(own))).batches(own):
        windows = options.windows or (max(1, math.ceil(len(entity.faces) / FPS)),)
        logits = track_logits(network, entity.faces, entity.features, windows, options.precision)
        info = dataset.entities[entity.number]
        yield (
            entity.number,
            EntityScores(info.video, info.name, entity.timestamps, entity.labels, logits),
        )


def _score_clips(
    network: ClipNetwork, dataset: DataSet, options: EvaluationOptions, ranks: Ranks
) -> Iterator[tuple[int, EntityScores]]:
    """Yield the scores of this process' entities."""
    own = Selection(dataset, range(ranks.rank, len(dataset.entities), ranks.size))
    for found in run_clips(network, own, options.num_workers):
        info, number = own.entities[found.entity], own.numbers[found.entity]
        labels, timestamps = own.read_labels(found.entity)
        yield number, EntityScores(info.video, info.name, timestamps, labels, found.logits)


def run_clips(
    network: ClipNetwork, dataset: DataSet, num_workers: int = 0
) -> Iterator[ClipOutputs]:
    """Yield what a clip network makes of every row, entity after entity.

    Args:
        network: Runs on its own device; left as it is.
        dataset: Where faces and sound come from.
        num_workers: Processes that read.
    """
    if not dataset.entities:
        return
    prepared = inference_copy(network)
    device = next(prepared.parameters()).device
    how = ClipLoaderOptions(network.at_once, num_workers, every_row=True)
    logits: list[NDArray[np.float32]] = []
    embeddings: list[NDArray[np.float32]] = []
    waiting = entity = 0
    for batch in ClipLoader(dataset, network.inputs, network.clip, how).epoch(1):
        with torch.inference_mode():
            said = prepared(batch.audio.to(device), batch.faces.to(device))
        logits.append(said.av[:, 0].float().cpu().numpy())
        embeddings.append(said.embedding[:, 0].float().cpu().numpy())
        waiting += len(batch.rows)
        while entity < len(dataset.entities) and waiting >= dataset.entities[entity].num_frames:
            count = dataset.entities[entity].num_frames
            whole, described = np.concatenate(logits), np.concatenate(embeddings)
            yield ClipOutputs(entity, whole[:count], described[:count])
            logits, embeddings = [whole[count:]], [described[count:]]
            waiting -= count
            entity += 1


class Selection:
    """Some entities of a data set, as a data set."""

    def __init__(self, dataset: DataSet, numbers: Sequence[int]) -> None:
        self._dataset, self.numbers = dataset, numbers
        self.entities: Sequence[EntityInfo] = [dataset.entities[number] for number in numbers]

    def read(self, index: int, start: int = 0, stop: int | None = None) -> EntityPart:
        """Read frames [start, stop) of an entity."""
        return self._dataset.read(self.numbers[index], start, stop)

    def read_labels(self, index: int) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
        """Return labels and timestamps (T,) of an entity."""
        return read_labels(self._dataset, self.numbers[index])
