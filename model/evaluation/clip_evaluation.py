"""Score the entities of a data set with a clip network, and embed their faces."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from model.contract import ClipNetwork
from model.evaluation.entity_scores import EntityScores, EvaluationOptions
from model.ranks import Ranks
from model.scoring.prepared import inference_copy
from utils.datasets.entities import DataSet, EntityInfo, EntityPart, read_labels
from utils.datasets.loading.clip_loader import ClipLoader, ClipLoaderOptions


class ClipOutputs(NamedTuple):
    """The outputs of a clip network for all rows of an entity."""

    entity: int  # in the data set
    logits: NDArray[np.float32]  # (T, 2)
    embeddings: NDArray[np.float32]  # (T, C)


def score_clips(
    network: ClipNetwork, dataset: DataSet, options: EvaluationOptions, ranks: Ranks
) -> Iterator[tuple[int, EntityScores]]:
    """Yield the number and the scores of this process's entities."""
    selection = Selection(dataset, range(ranks.rank, len(dataset.entities), ranks.size))
    for outputs in run_clips(network, selection, options.num_workers):
        info, number = selection.entities[outputs.entity], selection.numbers[outputs.entity]
        labels, timestamps = selection.read_labels(outputs.entity)
        yield number, EntityScores(info.video, info.name, timestamps, labels, outputs.logits)


def run_clips(
    network: ClipNetwork, dataset: DataSet, num_workers: int = 0
) -> Iterator[ClipOutputs]:
    """Yield the outputs of a clip network for every row, entity after entity.

    Args:
        network: Runs on its own device; unchanged.
        dataset: Faces and audio.
        num_workers: Number of reader processes.
    """
    if not dataset.entities:
        return
    prepared = inference_copy(network)
    device = next(prepared.parameters()).device
    options = ClipLoaderOptions(network.at_once, num_workers, every_row=True)
    logits: list[NDArray[np.float32]] = []
    embeddings: list[NDArray[np.float32]] = []
    waiting = entity = 0
    for batch in ClipLoader(dataset, network.inputs, network.clip, options).epoch(1):
        with torch.inference_mode():
            output = prepared(batch.audio.to(device), batch.faces.to(device))
        logits.append(output.av[:, 0].float().cpu().numpy())
        embeddings.append(output.embedding[:, 0].float().cpu().numpy())
        waiting += len(batch.rows)
        while entity < len(dataset.entities) and waiting >= dataset.entities[entity].num_frames:
            count = dataset.entities[entity].num_frames
            all_logits, all_embeddings = np.concatenate(logits), np.concatenate(embeddings)
            yield ClipOutputs(entity, all_logits[:count], all_embeddings[:count])
            logits, embeddings = [all_logits[count:]], [all_embeddings[count:]]
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
