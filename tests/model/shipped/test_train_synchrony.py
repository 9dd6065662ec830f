"""Synchrony is trained through its stages and resumes exactly where it was stopped."""

import csv
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from model.networks.light_asd import LightASD
from model.networks.lr_asd import LRASD
from model.networks.synchrony import Synchrony
from model.scoring.prepared import inference_copy
from model.shipped import synchrony_lessons, synchrony_stages, train_synchrony
from model.shipped.synchrony_options import Stage, SynchronyTraining
from model.shipped.train_synchrony import StagedTraining, main
from model.training.trainer import Trainer
from tests.made_people import make_people
from tests.parity.filled import filled
from utils.datasets.pairings.pairings import SITUATIONS


def options(folder: Path) -> SynchronyTraining:
    return SynchronyTraining(
        videos="none",
        save_path=folder,
        seeing_steps=1,
        matching_steps=1,
        num_pairings=4,
        judging_steps=2,
        keep_every=1,
    )


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a step look at less, for speed."""
    monkeypatch.setattr(synchrony_lessons, "LESSON_FRAMES", 43)
    monkeypatch.setattr(train_synchrony, "LESSON_CLIPS", 1)
    monkeypatch.setattr(train_synchrony, "KEPT_CLIPS", 1)
    monkeypatch.setattr(train_synchrony, "FITTED_PAIRINGS", 4)
    monkeypatch.setattr(train_synchrony, "FITTED_FRAMES", 100)
    monkeypatch.setattr(train_synchrony, "MATCHED_FRAMES", 60)
    monkeypatch.setattr(train_synchrony, "JUDGED_FRAMES", 110)
    monkeypatch.setattr(train_synchrony, "MATCHED_BATCHES", 1)
    monkeypatch.setattr(train_synchrony, "HELD_OUT_EACH", 1)
    monkeypatch.setattr(synchrony_stages, "MATCHED_CLIPS", 2)


def staged(chosen: SynchronyTraining, people: Path) -> StagedTraining:
    teachers = [inference_copy(filled(kind()), "fp32") for kind in (LRASD, LightASD)]
    return StagedTraining(chosen, teachers, *make_people(people))


class StoppedError(Exception):
    """What ends a run in the middle."""


@pytest.mark.slow
def test_it_goes_on_where_it_was_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGTERM stops it in the first stage; then it is killed in the third one."""
    whole = staged(options(tmp_path / "whole"), tmp_path / "people")
    assert whole.train()
    take_step = Trainer.step
    steps = 0

    def stop(self: Trainer, batch: object) -> None:
        nonlocal steps
        steps += 1
        if steps == 3:
            raise StoppedError
        take_step(self, batch)
        if steps == 1:
            signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", stop)
        assert not staged(options(tmp_path / "parts"), tmp_path / "people").train()
        assert steps == 1
        with pytest.raises(StoppedError):
            staged(options(tmp_path / "parts"), tmp_path / "people").train()
    again = staged(options(tmp_path / "parts"), tmp_path / "people")
    assert again.train()
    assert (tmp_path / "parts" / "log.csv").read_text() == (
        tmp_path / "whole" / "log.csv"
    ).read_text()
    for name, value in whole.network.state_dict().items():
        torch.testing.assert_close(again.network.state_dict()[name], value, atol=0, rtol=0)
    shipped = load_file(tmp_path / "parts" / "synchrony.safetensors")
    Synchrony().load_state_dict(shipped)
    rows = (tmp_path / "parts" / "log.csv").read_text().splitlines()
    assert [row.split(",")[:2] for row in rows[1:]] == [
        ["seeing", "1"],
        ["matching", "1"],
        ["judging", "1"],
        ["judging", "2"],
    ]


def test_other_settings_are_refused(tmp_path: Path) -> None:
    chosen = replace(options(tmp_path / "run"), seeing_steps=1, matching_steps=0, judging_steps=0)
    staged(chosen, tmp_path / "people").train()
    with pytest.raises(ValueError, match=r"seed 0, found 7"):
        staged(replace(chosen, seed=7), tmp_path / "people").train()


def test_people_held_out_are_not_learned_from(tmp_path: Path) -> None:
    chosen = replace(options(tmp_path / "run"), held_out="ann,bob,dan")
    made = staged(chosen, tmp_path / "people")
    assert {one.person for one in made.learned} == {"cat", "eve"}
    assert {one.person for one in made.held_out} == {"ann", "bob", "dan"}


@pytest.mark.slow
def test_people_held_out_are_measured(tmp_path: Path) -> None:
    chosen = replace(options(tmp_path / "run"), seeing_steps=0, held_out="ann,bob", judging_steps=1)
    staged(chosen, tmp_path / "people").train()
    with (tmp_path / "run" / "log.csv").open(encoding="utf-8") as file:
        matching, judging = csv.DictReader(file)
    assert float(matching["held_out_loss"]) > 0
    assert all(0 <= float(judging[situation]) <= 1 for situation in SITUATIONS)


def test_one_person_held_out_is_not_enough(tmp_path: Path) -> None:
    chosen = replace(options(tmp_path / "run"), held_out="ann,dan")
    with pytest.raises(ValueError, match="at least two people who talk, found 1"):
        staged(chosen, tmp_path / "people").train()
    assert not (tmp_path / "run").exists()


def test_the_rate_rises_and_falls() -> None:
    stage = Stage("judging", 600, 1e-3, lambda _: True, lambda _: torch.zeros(()))
    rates = np.array([stage.rate(step) for step in range(600)])
    assert rates[0] == pytest.approx(1e-3 / 30)
    assert 20 < rates.argmax() < 40
    assert rates[-1] == pytest.approx(2e-5)


def test_wrong_usage_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([])
    assert stopped.value.code == 2
    assert "--videos must name a folder" in capsys.readouterr().err


def test_unknown_teachers_are_refused(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    assert main(["--videos", str(tmp_path), "--teachers", "lr_asd,nobody"]) == 1
    assert "nobody" in caplog.text
