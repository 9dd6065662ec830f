"""Chunks and folds are as published."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.parity import filled
from utils.datasets.tragic_talkers.chunks import cut, first_sample, folds, split_fold, start_rows
from utils.datasets.tragic_talkers.labels import ViewLabels, frame_times
from utils.datasets.tragic_talkers.layout import CameraView

SCHEDULE: dict[str, Any] = json.loads(
    Path(filled.__file__).with_name("tragic_schedule.json").read_text()
)


def labels(num_frames: int) -> ViewLabels:
    xs = np.linspace(0, 1, num_frames, dtype=np.float32)
    return ViewLabels(frame_times(num_frames), xs, xs > 0.5, xs > 0.2)


@pytest.mark.parametrize(("step_s", "name"), [(1, "train_step_1s"), (2, "test_step_2s")])
def test_published_start_rows(step_s: int, name: str) -> None:
    expected = SCHEDULE["chunk_start_rows_1045_frames"][name]
    assert start_rows(frame_times(1045), step_s) == expected


@pytest.mark.parametrize("count", [25, 26])
def test_published_folds(count: int) -> None:
    names = [f"{number:02d}" for number in range(count)]
    expected = SCHEDULE[f"folds_of_{count}_sorted_indices"]
    found = folds(reversed(names))
    assert found == [[names[index] for index in group] for group in expected]


def test_chunks_overlap_and_end_in_silence() -> None:
    view_labels = labels(100)
    view = CameraView("a", 13)
    chunks = cut({view: view_labels})
    assert [chunk.start_s for chunk in chunks] == [0, 1, 2, 3]
    assert [chunk.first_sample for chunk in chunks] == [0, 48000, 96000, 144000]
    np.testing.assert_array_equal(chunks[1].positions, np.append(view_labels.positions[30:90], []))
    last = chunks[3]
    np.testing.assert_array_equal(last.positions[:10], view_labels.positions[90:])
    assert (last.positions[10:] == 1).all()
    assert not last.located[10:].any()
    assert not last.speaking[10:].any()
    assert last.speaking[:10].all()
    assert last.key == ("a", 2, 144000)


def test_first_samples() -> None:
    assert [first_sample(second) for second in range(200)] == [48000 * s for s in range(200)]


def test_short_views() -> None:
    with pytest.raises(ValueError, match=r"b-cam01: expected at least 60 frames.* found 59"):
        cut({CameraView("b", 1): labels(59)})


def test_folds_separate_sequences() -> None:
    chunks = cut({CameraView(name, camera): labels(60) for name in "abcde" for camera in (1, 12)})
    groups = folds("abcde")
    seen = []
    for fold in range(5):
        kept, held_out = split_fold(chunks, groups, fold)
        assert len(kept) + len(held_out) == len(chunks)
        names = {chunk.view.sequence for chunk in held_out}
        assert not names & {chunk.view.sequence for chunk in kept}
        seen += sorted(names)
    assert sorted(seen) == list("abcde")
    with pytest.raises(ValueError, match="fold from 0 to 4, got 5"):
        split_fold(chunks, groups, 5)
    with pytest.raises(ValueError, match="at least 5 sequences"):
        folds("abcd")
