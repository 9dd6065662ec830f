"""The published loss and learning rate of localizers."""

import torch
from torch import Tensor

from model.contract import Localizer
from model.ranks import Ranks
from model.training.objective import BatchPart, DividedBatch, Objective
from utils.datasets.tragic_talkers.chunks import CHUNK_FRAMES
from utils.datasets.tragic_talkers.loader import ChunkBatch
from utils.metrics.localisation import DETECTED

CONSTANT_EPOCHS = 30
DECAY = 0.9
AT_ONCE = 32  # chunks per forward pass, to fit memory


class LocalisationObjective(Objective):
    """A localizer with the published loss."""

    advice = "lower --lr, or check the audio"

    def __init__(self, network: Localizer) -> None:
        super().__init__()
        self.network: Localizer = network

    def divide(self, batch: ChunkBatch, ranks: Ranks, epoch: int) -> DividedBatch:  # noqa: ARG002
        """Return this process's share of a batch; every process takes part in each part."""
        counts = torch.stack((batch.counted.sum(), torch.tensor(len(batch.counted))))
        num_views, num_chunks = ranks.add(counts).tolist()
        most = -(-num_chunks // ranks.size)  # chunks of one process
        num_parts = -(-most // AT_ONCE)
        split = (tensor.to(ranks.device).tensor_split(num_parts) for tensor in batch)
        parts = []
        for part in map(ChunkBatch._make, zip(*split, strict=True)):
            has_chunks = len(part.counted) > 0
            parts.append(BatchPart((part if has_chunks else _stand_in(part),), has_chunks))
        return DividedBatch(parts, num_views * CHUNK_FRAMES, 1.0)

    def forward(self, batch: ChunkBatch) -> tuple[Tensor, Tensor]:
        """Return the summed loss of a batch, and the number of frames with correct detection."""
        located = self.locate(batch.features, batch.cameras)
        correct = ((located[..., 1] >= DETECTED) == batch.speaking) & batch.counted[..., None]
        return localisation_loss(located, batch), correct.sum()

    def locate(self, features: Tensor, cameras: Tensor) -> Tensor:
        """Map scaled features (B, 16, 960, 64) and cameras (B, K) to (B, K, 60, 2)."""
        num_views = cameras.shape[1]
        encoded = self.network.encode(features).repeat_interleave(num_views, dim=0)
        located = self.network.locate(encoded, cameras.flatten())
        return located.view(-1, num_views, *located.shape[1:])


def _stand_in(part: ChunkBatch) -> ChunkBatch:
    """Return one chunk that does not count, for a process without chunks of its own."""
    return ChunkBatch(*(tensor.new_zeros(1, *tensor.shape[1:]) for tensor in part))


def localisation_loss(located: Tensor, batch: ChunkBatch) -> Tensor:
    """Return the sum over views and frames of squared errors, of confidence and of position.

    The position counts if somebody speaks and their position is known. Kept: squared error of the
    confidence instead of cross entropy, and a sum instead of a mean.

    Args:
        located: Positions and confidences (B, K, T, 2).
        batch: The truth of T frames.
    """
    positions, confidences = located.float().unbind(3)
    detection = (confidences - batch.speaking.float()) ** 2
    apart = (positions - batch.positions) ** 2 * (batch.speaking & batch.located)
    return ((detection + apart) * batch.counted[..., None]).sum()


def learning_rate(start: float, epoch: int, compounding: bool = True) -> float:
    """Return the learning rate of an epoch, from 1.

    Kept: from epoch 31 on, the *current* rate is multiplied by 0.9 ** (epoch - 30), so the decay
    accelerates, to 2e-10 of the start at epoch 50.

    Args:
        start: Rate of the first 30 epochs.
        epoch: From 1.
        compounding: The published decay; else a factor of 0.9 per epoch after 30.
    """
    late = max(0, epoch - CONSTANT_EPOCHS)
    power = late * (late + 1) // 2 if compounding else late
    return float(start * DECAY**power)
