"""Evaluation scores whole entities and joins by entity and time."""

import csv
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from model.evaluation.entity_scores import EntityScores, EvaluationOptions
from model.evaluation.measure import check_labels, measure, measure_table, write_predictions
from model.families.sequence import FAMILY
from model.ranks import Ranks
from tests.made_training import MadeFaces, TinyNetwork
from utils.datasets.entities import UNLABELLED
from utils.features.mfcc import align, mfcc
from utils.metrics.average_precision import (
    COLUMNS,
    average_precision,
    join,
    read_predictions,
    read_truth,
)


def made_scores(num_entities: int = 6, num_frames: int = 30) -> list[EntityScores]:
    generator = np.random.default_rng(0)
    return [
        EntityScores(
            f"video{number % 2}",
            f"video{number % 2}:{number}",
            np.round(900 + np.arange(num_frames) / 25, 2),
            generator.integers(0, 2, num_frames).astype(np.int8),
            generator.normal(size=(num_frames, 2)).astype(np.float32),
        )
        for number in range(num_entities)
    ]


def flat_ap(scored: list[EntityScores]) -> float:
    labels, scores = (
        np.concatenate([getattr(one, name) for one in scored])
        for name in ("labels", "probabilities")
    )
    return average_precision(labels == 1, scores)


def write_labels(path: Path, scored: list[EntityScores], header: bool = True) -> None:
    """Write AVA's table, the rows in random order."""
    names = ("NOT_SPEAKING", "SPEAKING_AUDIBLE")
    rows = [
        (one.video, f"{time:.2f}", "0.1", "0.2", "0.3", "0.4", names[label], one.name, "1")
        for one in scored
        for time, label in zip(one.timestamps, one.labels, strict=True)
    ]
    order = np.random.default_rng(1).permutation(len(rows))
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([(*COLUMNS, "label_id")] if header else [])
        writer.writerows(rows[index] for index in order)


def test_entities_are_read_whole() -> None:
    data, network = MadeFaces([60, 7, 33]), TinyNetwork()
    scored = FAMILY.score_split(network, data, EvaluationOptions(), Ranks())
    assert [one.name for one in scored] == [entity.name for entity in data.entities]
    network.eval()
    for one, part in zip(scored, data.parts, strict=True):
        audio = torch.from_numpy(align(mfcc(part.waveform), len(part.faces)))[None]
        with torch.no_grad():
            logits = network(audio, torch.from_numpy(part.faces)[None]).av[0]
        np.testing.assert_allclose(one.probabilities, logits.softmax(1)[:, 1], atol=1e-5)
        np.testing.assert_array_equal(one.labels, part.labels)
    windows = FAMILY.score_split(network, data, EvaluationOptions(windows=(1,)), Ranks())
    assert not np.allclose(windows[0].probabilities, scored[0].probabilities, atol=1e-4)
    np.testing.assert_allclose(windows[1].probabilities, scored[1].probabilities, atol=1e-6)


@pytest.mark.slow
def test_reading_in_other_processes_changes_nothing() -> None:
    data, network = MadeFaces([20, 30, 25]), TinyNetwork()
    here, there = (
        FAMILY.score_split(network, data, EvaluationOptions(num_workers=count), Ranks())
        for count in (0, 2)
    )
    for one, other in zip(here, there, strict=True):
        np.testing.assert_array_equal(one.probabilities, other.probabilities)


def test_average_precision_leaves_unlabelled_frames_out(tmp_path: Path) -> None:
    scored = made_scores()
    assert measure(scored) == pytest.approx(flat_ap(scored), abs=1e-12)
    hidden = [replace(one, labels=one.labels.copy()) for one in scored]
    for one in hidden:
        one.labels[20:] = UNLABELLED
    kept = [replace(one, labels=one.labels[:20], logits=one.logits[:20]) for one in scored]
    assert measure(hidden) == pytest.approx(flat_ap(kept), abs=1e-12)
    write_predictions(scored, tmp_path / "res.csv")
    assert len(read_predictions(tmp_path / "res.csv")) == 180


@pytest.mark.parametrize("header", [True, False], ids=["header", "no header"])
def test_a_table_is_joined_by_entity_and_time(tmp_path: Path, header: bool) -> None:
    scored = made_scores()
    table, target = tmp_path / "val_orig.csv", tmp_path / "val_res.csv"
    write_labels(table, scored, header)
    late = [replace(one, timestamps=one.timestamps + 0.004) for one in reversed(scored)]
    assert measure_table(table, late, target) == pytest.approx(flat_ap(scored), abs=1e-12)
    official = average_precision(*join(read_truth(table), read_predictions(target)))
    assert official == pytest.approx(flat_ap(scored), abs=1e-7)
    rows = list(csv.reader(target.open()))
    assert rows[0] == [*COLUMNS, "score"]
    assert rows[1][2:7] == ["0.1", "0.2", "0.3", "0.4", "SPEAKING_AUDIBLE"]


def test_entities_that_are_gone_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scored = made_scores()
    table = tmp_path / "val_orig.csv"
    write_labels(table, scored)
    with caplog.at_level(logging.WARNING):
        found = measure_table(table, scored[1:], tmp_path / "val_res.csv")
    assert found == pytest.approx(flat_ap(scored[1:]), abs=1e-12)
    assert "30 of 180 rows are of missing entities" in caplog.text
    assert len(read_predictions(tmp_path / "val_res.csv")) == 150


def test_a_moment_that_is_missing_is_named(tmp_path: Path) -> None:
    scored = made_scores()
    table = tmp_path / "val_orig.csv"
    write_labels(table, scored)
    short = replace(
        scored[2],
        timestamps=scored[2].timestamps[:-1],
        labels=scored[2].labels[:-1],
        logits=scored[2].logits[:-1],
    )
    message = r"no prediction for video video0, timestamp 901\.16, entity video0:2"
    with pytest.raises(ValueError, match=message):
        measure_table(table, [*scored[:2], short, *scored[3:]], None)


def test_a_split_without_labels_is_refused() -> None:
    data = MadeFaces([20, 20])
    check_labels(data, "made")
    data.entities = [replace(entity, num_speaking=0) for entity in data.entities]
    with pytest.raises(ValueError, match=r"made: none of 2 entities .* cannot be evaluated"):
        check_labels(data, "made")
