"""Training an embedder learns, goes on exactly where it stopped, and writes weights to use."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from model.checkpoints.registry import find_file
from model.embedders.bundled import load
from model.shipped.face_embedder_faces import Faces
from model.shipped.train_face_embedder import (
    EmbedderTraining,
    EmbeddingObjective,
    begin,
    choice_loss,
    draw_views,
    learn,
    measure,
    rate,
    report,
    spoiled,
    steps_of,
)
from model.training.run import Hooks, Run
from utils.errors import UserError


def made_faces() -> Faces:
    """Return faces that differ in a few dark spots, six crops of each of eight people."""
    rng = np.random.default_rng(0)
    crops = np.full((48, 64, 64, 3), 150, np.uint8)
    targets = rng.normal(size=(8, 256)).astype(np.float32)
    targets /= np.linalg.norm(targets, axis=1, keepdims=True)
    for person in range(8):
        for x, y in rng.integers(4, 60, (6, 2)):
            crops[6 * person : 6 * person + 6, y - 4 : y + 4, x - 4 : x + 4] = rng.integers(
                0, 90, 3
            )
    return Faces(crops, targets.repeat(6, axis=0), np.arange(8).repeat(6))


def options_in(folder: Path, **changes: int) -> EmbedderTraining:
    settings = {"steps": 6, "batch_size": 8, "warm_up": 2, "keep_every": 4} | changes
    return EmbedderTraining("videos", "others", save_path=folder, **settings)  # type: ignore[arg-type]


def objective_of(run: Run) -> EmbeddingObjective:
    assert isinstance(run.trainer.objective, EmbeddingObjective)
    return run.trainer.objective


def train_until(run: Run, num_steps: int) -> bool:
    """Train and stop after so many steps."""
    objective = objective_of(run)
    hooks = Hooks(stop=lambda: run.trainer.position.updates >= num_steps)
    evaluate = lambda: report(objective, made_faces(), 1.0)  # noqa: E731
    return run.train(steps_of(objective.options), evaluate, hooks)


def test_it_goes_on_exactly(tmp_path: Path) -> None:
    whole = begin(options_in(tmp_path / "whole"), made_faces())
    assert learn(whole, made_faces(), 0.75)
    for stop in (1, 3, 5):
        assert not train_until(begin(options_in(tmp_path / "parts"), made_faces()), stop)
    parts = begin(options_in(tmp_path / "parts"), made_faces())
    assert learn(parts, made_faces(), 0.75)
    for one, other in ((whole, parts),):
        ours, theirs = objective_of(one).state(), objective_of(other).state()
        for name, value in ours["averaged"].items():
            assert torch.equal(value, theirs["averaged"][name]), name
    rows = (tmp_path / "parts" / "log.csv").read_text().splitlines()
    assert rows[0] == "step,choice_loss,own_loss,pair_loss,auc,teacher_auc"
    assert [row.split(",")[0] for row in rows[1:]] == ["4", "6"]
    assert [float(row.split(",")[-1]) for row in rows[1:]] == [1.0, 0.75]  # as measured
    with pytest.raises(UserError, match=r"batch.?[sS]ize"):
        begin(options_in(tmp_path / "parts", batch_size=4), made_faces())


def test_it_learns_and_its_weights_can_be_used(tmp_path: Path) -> None:
    run = begin(options_in(tmp_path, steps=30, keep_every=15), made_faces())
    assert learn(run, made_faces(), 1.0)
    first, second = (row.measures["choice_loss"] for row in run.rows)
    assert second < first < 2.1  # the logarithm of eight faces
    assert run.rows[1].measures["own_loss"] < run.rows[0].measures["own_loss"] < 1.1
    embedder = load(find_file(tmp_path / "bundled.safetensors"), "cpu")
    found = measure(embedder.embed(made_faces().crops), made_faces().people)
    assert found == pytest.approx(run.rows[1].measures["auc"], abs=0.02)


def test_report(tmp_path: Path) -> None:
    objective = objective_of(begin(options_in(tmp_path), made_faces()))
    objective.losses += [[1.0, 2.0, 3.0], [2.0, 2.0, 3.0]]
    found = report(objective, made_faces(), 0.5)
    expected = {"choice_loss": 1.5, "own_loss": 2.0, "pair_loss": 3.0, "teacher_auc": 0.5}
    assert expected.items() <= found.measures.items()
    assert (tmp_path / "bundled.safetensors").exists() and objective.losses == []


def test_views() -> None:
    """Of people who exist any two faces are drawn, of others the same one twice."""
    people = np.array([0, 0, 0, 1, 1, 2, *[-1] * 30])
    first, second = draw_views(people, 5, np.random.default_rng(0))
    assert sum(people[first] >= 0) == 2 and len(set(first)) == 5
    assert (people[first] == people[second]).all()
    assert (first == second)[people[first] < 0].all()
    drawn = [draw_views(people, 5, np.random.default_rng(seed)) for seed in range(20)]
    assert any((one != other)[people[one] >= 0].any() for one, other in drawn)
    few = draw_views(people[:7], 64, np.random.default_rng(0))
    assert sorted(people[few[0]].tolist()) == [-1, 0, 1, 2]


def test_choice_loss() -> None:
    """It is small if the views of a face are near each other; the teacher's twins do not count."""
    found, targets = torch.eye(4).repeat(2, 1), torch.eye(4).repeat(2, 1)
    assert choice_loss(found, targets) < 0.001
    assert choice_loss(found[[0, 1, 2, 3, 1, 0, 3, 2]], targets) > 9
    same = found.clone()
    same[[1, 5]] = found[0]  # one cannot be told from the other
    assert choice_loss(same, targets) == pytest.approx(np.log(2) / 2, abs=0.001)
    twins = targets.clone()
    twins[[1, 5]] = targets[0]
    assert choice_loss(same, twins) < 0.001


def test_measure() -> None:
    """Perfect vectors give 1, one vector for all 0.5; pairs are of groups of crops."""
    faces = made_faces()
    assert measure(faces.targets, faces.people) == 1.0
    alike = np.repeat(faces.targets[:1], len(faces), axis=0)
    assert measure(alike, faces.people) == pytest.approx(0.5)


def test_half_of_a_selection_is_spoiled() -> None:
    faces = made_faces()
    found = spoiled(faces, 0)
    changed = (found.crops != faces.crops).any(axis=(1, 2, 3))
    assert changed.tolist() == [True, False] * 24
    np.testing.assert_array_equal(found.crops, spoiled(faces, 0).crops)


def test_rate() -> None:
    options = EmbedderTraining("a", "b", steps=102, warm_up=2, lr=1.0)
    assert [rate(step, options) for step in (0, 1, 2, 52, 102)] == pytest.approx(
        [0.5, 1.0, 1.0, 0.5, 0.0]
    )


def test_whose_faces() -> None:
    options = EmbedderTraining("a,b", "c", held_out="x", left_out="y,z.mp4")
    (training,) = options.sources(for_selection=False)
    assert training.folders == [Path("a"), Path("b")]
    assert training.left_out == ("y", "z.mp4", "x") and training.only == ()
    others, own = options.sources(for_selection=True)
    assert others.folders == [Path("c")] and others.only == ()
    assert own.folders == [Path("a"), Path("b")] and own.only == ("x",)
    assert len(replace(options, held_out="").sources(for_selection=True)) == 1
    with pytest.raises(UserError, match="--videos and --selection"):
        EmbedderTraining("a")
