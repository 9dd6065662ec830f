"""Score the entities of a data set together with the faces visible at the same time.

As published, an entity is read whole, and other faces are black in frames without them; but the
other faces are chosen by a rule, not at random. Each face is encoded once.
"""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.contract import Network
from model.evaluation.entity_scores import EntityScores
from model.ranks import Ranks
from model.scoring.prepared import Precision, inference_copy
from model.scoring.seen_faces import SeenFace, embed_sequences
from model.scoring.speaker_scoring import encode_pictures
from utils.datasets.entities import DataSet
from utils.datasets.loading.sequence_batches import to_network_input
from utils.datasets.loading.speaker_choice import ABSENT, SpeakerIndex
from utils.features import feature_function
from utils.features.mfcc import align
from utils.tracking.neighbours import Beside, choose_speakers


def score_beside_others(
    network: Network, dataset: DataSet, precision: Precision, ranks: Ranks
) -> Iterator[tuple[int, EntityScores]]:
    """Yield the number and the scores of this process's entities, video by video."""
    scorer = _Scorer(network, dataset, precision)
    entities = dataset.entities
    order = sorted(range(len(entities)), key=lambda index: (entities[index].video, index))
    share = -(-len(order) // ranks.size)
    for number in order[share * ranks.rank : share * (ranks.rank + 1)]:
        with torch.inference_mode():
            yield number, scorer.score(number)


class _Scorer:
    """Keeps the embeddings of the faces of one video."""

    def __init__(self, network: Network, dataset: DataSet, precision: Precision) -> None:
        self._network = inference_copy(network, precision)
        self._dataset = dataset
        self._index = SpeakerIndex(dataset)
        self._video = ""
        self._embeddings: dict[int, Tensor] = {}

    def score(self, number: int) -> EntityScores:
        """Return the scores of one entity."""
        info, inputs = self._dataset.entities[number], self._network.inputs
        if info.video != self._video:
            self._video, self._embeddings = info.video, {}
        part = self._dataset.read(number)
        others = self._index.rows(number, part.timestamps)
        beside = [Beside(other, int((rows != ABSENT).sum())) for other, rows in others.items()]
        chosen = choose_speakers(number, beside, self._network.num_speakers)
        single = list(dict.fromkeys(chosen))
        length = len(part.labels)
        crops = to_network_input(part.faces, inputs)
        faces = [SeenFace(0, crops, self._embed(number, crops))]
        faces += [self._seen(other, others[other]) for other in single[1:]]
        embedded = embed_sequences(self._network, faces, length)
        speakers = torch.stack([embedded[single.index(speaker)] for speaker in chosen])
        compute = feature_function(inputs.feature)
        features = align(compute(part.waveform, info.fps), length)
        audio = torch.from_numpy(features).to(speakers.device)[None]
        output = self._network.fuse(self._network.encode_audio(audio), speakers[None])
        logits: NDArray[np.float32] = output.av[0, 0].float().cpu().numpy()
        return EntityScores(info.video, info.name, part.timestamps, part.labels, logits)

    def _seen(self, number: int, rows: NDArray[np.int64]) -> SeenFace:
        """Return the visible part of another face; missing rows repeat the one before."""
        frames = np.flatnonzero(rows != ABSENT)
        start, stop = int(frames[0]), int(frames[-1]) + 1
        held = np.maximum.accumulate(rows[start:stop])
        first = int(held[0])
        part = self._dataset.read(number, first, int(held[-1]) + 1)
        crops = to_network_input(part.faces, self._network.inputs)
        return SeenFace(start, crops[held - first], self._embed(number)[held])

    def _embed(self, number: int, crops: NDArray[np.uint8] | None = None) -> Tensor:
        """Return the embeddings (T, C) of all frames of an entity."""
        if number not in self._embeddings:
            if crops is None:
                crops = to_network_input(self._dataset.read(number).faces, self._network.inputs)
            self._embeddings[number] = encode_pictures(self._network, crops)
        return self._embeddings[number]
