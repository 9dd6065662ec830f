"""Batches have every chunk once per epoch, with any number of processes."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from utils.datasets.tragic_talkers.chunks import AudioChunk, cut
from utils.datasets.tragic_talkers.features import group
from utils.datasets.tragic_talkers.labels import ViewLabels, frame_times
from utils.datasets.tragic_talkers.layout import CameraView
from utils.datasets.tragic_talkers.loader import ChunkBatch, ChunkLoader, ChunkLoaderOptions
from utils.datasets.tragic_talkers.scaler import Scaler


class Numbered:
    """Features whose values are the number of their group."""

    feature = "gcc_phat"

    def __init__(self, chunks: list[AudioChunk]) -> None:
        self.groups: Sequence[int] = group(chunks)

    def read(self, number: int) -> NDArray[np.floating]:
        return np.full((16, 32, 64), self.groups[number], np.float32)


def made_chunks() -> list[AudioChunk]:
    """Two sequences of 3 chunks each; the second lacks a camera."""
    generator = np.random.default_rng(0)
    labels = {}
    for view in (
        CameraView("a", 1),
        CameraView("a", 2),
        CameraView("a", 5),
        CameraView("b", 1),
        CameraView("b", 12),
    ):
        xs = generator.uniform(size=90).astype(np.float32)
        labels[view] = ViewLabels(frame_times(90), xs, xs > 0.3, xs > 0.5)
    return cut(labels)


CHUNKS = made_chunks()
SCALER = Scaler("gcc_phat", np.ones((16, 1, 64), np.float32), np.full((16, 1, 64), 2, np.float32))


def loader(share: tuple[int, int] = (0, 1), **options: object) -> ChunkLoader:
    chosen = ChunkLoaderOptions(**{"batch_size": 4, **options})  # type: ignore[arg-type]
    return ChunkLoader(CHUNKS, range(len(CHUNKS)), Numbered(CHUNKS), SCALER, chosen, share)


def views_of(batches: list[ChunkBatch]) -> list[tuple[float, ...]]:
    """Return what identifies each view of batches: its group, camera and positions."""
    found: list[tuple[float, ...]] = []
    for batch in batches:
        for row, column in np.argwhere(batch.counted.numpy()):
            group = 2 * float(batch.features[row, 0, 0, 0]) + 1
            position = float(batch.positions[row, column, 7])
            found.append((group, float(batch.cameras[row, column]), position))
    return found


def expected() -> list[tuple[float, ...]]:
    groups = group(CHUNKS)
    return [
        (groups[number], chunk.view.rig_index, float(chunk.positions[7]))
        for number, chunk in enumerate(CHUNKS)
    ]


@pytest.mark.parametrize(("grouped", "num_batches"), [(False, 4), (True, 3)])
def test_every_view_once(grouped: bool, num_batches: int) -> None:
    one = loader(group_cameras=grouped)
    assert one.len_epoch(1) == num_batches
    for epoch in (1, 2):
        batches = list(one.epoch(epoch))
        assert len(batches) == num_batches
        assert sorted(views_of(batches)) == sorted(expected())


def test_labels_of_a_batch() -> None:
    (batch,) = loader(batch_size=99, shuffle=False).epoch(1)
    for number, chunk in enumerate(CHUNKS):
        np.testing.assert_array_equal(batch.positions[number, 0], chunk.positions)
        np.testing.assert_array_equal(batch.located[number, 0], chunk.located)
        np.testing.assert_array_equal(batch.speaking[number, 0], chunk.speaking)
        assert batch.cameras[number, 0] == chunk.view.rig_index


def test_the_order_depends_on_seed_and_epoch() -> None:
    first = views_of(list(loader().epoch(1)))
    assert views_of(list(loader().epoch(1))) == first
    assert views_of(list(loader().epoch(2))) != first
    assert views_of(list(loader(seed=1).epoch(1))) != first
    assert views_of(list(loader(shuffle=False).epoch(1))) == expected()


def test_epoch_is_resumed() -> None:
    whole = list(loader().epoch(3))
    rest = list(loader().epoch(3, skip=2))
    assert views_of(rest) == views_of(whole[2:])


def test_processes_share_each_batch() -> None:
    whole = list(loader().epoch(1))
    shares = [list(loader((rank, 3)).epoch(1)) for rank in range(3)]
    for number, batch in enumerate(whole):
        parts = [views_of([share[number]]) for share in shares]
        assert sorted(view for part in parts for view in part) == sorted(views_of([batch]))
    assert shares[2][-1].features.shape == (1, 16, 32, 64)
    assert list(loader((5, 6)).epoch(1))[-1].features.shape == (0, 16, 32, 64)


def test_invalid_settings() -> None:
    other = Scaler("salsa_lite", SCALER.mean, SCALER.std)
    with pytest.raises(ValueError, match=r"scaler of gcc_phat, .* one of salsa_lite"):
        ChunkLoader(CHUNKS, [0], Numbered(CHUNKS), other, ChunkLoaderOptions())
    with pytest.raises(ValueError, match="chunks to load, got none"):
        ChunkLoader(CHUNKS, [], Numbered(CHUNKS), SCALER, ChunkLoaderOptions())
    with pytest.raises(ValueError, match="--batchSize must be at least 1"):
        ChunkLoaderOptions(batch_size=0)
