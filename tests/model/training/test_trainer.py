"""Training learns, resumes exactly, and does not depend on how the work is divided."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from model.checkpoints import training as checkpoints
from model.contract import Recipe
from model.evaluation.entity_scores import EvaluationOptions
from model.evaluation.measure import measure
from model.families.sequence import FAMILY
from model.ranks import Ranks
from model.training.network_trainer import describe_settings, make_trainer
from model.training.run import Hooks, Run
from model.training.run_logs import EpochRow, Evaluated, is_past_best
from model.training.trainer import Trainer
from tests.made_training import MadeFaces, TinyNetwork, made_loader
from tests.programs import ROOT, run_python
from utils.errors import UserError
from utils.training_options import RunOptions, TrainingOptions

OPTIONS = TrainingOptions(max_epoch=2)
LENGTHS = [12, 12, 12, 30, 30, 30, 30, 30, 30, 30, 30, 30, 40, 40, 40, 120]


def made_trainer(options: TrainingOptions = OPTIONS, **network: Any) -> Trainer:
    torch.manual_seed(3)
    return make_trainer(TinyNetwork(**network), options, Ranks())


def made_run(trainer: Trainer, folder: Path, save_interval: int = 500) -> Run:
    settings = describe_settings(trainer, OPTIONS, "fresh", {})
    return Run(trainer, RunOptions(folder, save_interval=save_interval), settings)


def weights(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def train_all(trainer: Trainer, data: MadeFaces, batch_size: int = 200) -> list[float]:
    """Train to the last epoch without a folder; return the loss after each epoch."""
    losses = []
    while trainer.position.epoch <= trainer.schedule.num_epochs:
        loader = made_loader(data, trainer.network, batch_size=batch_size)
        trainer.train_epoch(loader, lambda: False, lambda _: None)
        losses.append(trainer.position.sums.mean_loss)
        trainer.next_epoch()
    return losses


@pytest.mark.parametrize(
    "options",
    [
        TrainingOptions(max_epoch=8),
        pytest.param(TrainingOptions(max_epoch=4, contrast=0.3), marks=pytest.mark.slow),
    ],
    ids=["published loss", "with TalkNCE"],
)
def test_it_learns_what_chance_cannot(options: TrainingOptions) -> None:
    """Half of the frames speak: by chance AP is 0.5, and so it is by mouth or sound alone."""
    trainer = made_trainer(options)
    data, unseen = MadeFaces([25] * 60), MadeFaces([25] * 40, seed=1)
    assert isinstance(trainer.network, TinyNetwork)
    before = measure(FAMILY.score_split(trainer.network, unseen, EvaluationOptions(), Ranks()))
    losses = train_all(trainer, data, batch_size=50)
    after = measure(FAMILY.score_split(trainer.network, unseen, EvaluationOptions(), Ranks()))
    assert before < 0.65
    assert after > 0.9
    assert losses[-1] < losses[0]


def test_a_run_ends_once_its_loss_stops_falling(tmp_path: Path) -> None:
    """Begun again, it does not go on; with more patience it does."""
    trainer = made_trainer(TrainingOptions(max_epoch=9))
    losses = iter([2.0, 1.0, 1.5, 1.5, 1.5, 0.5, 0.6, 0.7, 0.8])
    run = made_run(trainer, tmp_path)
    loader = made_loader(MadeFaces([20] * 4), trainer.network)

    def evaluate() -> Evaluated:
        return Evaluated(0.5, next(losses))

    def ended(patience: int) -> Callable[[Sequence[EpochRow]], bool]:
        return lambda rows: is_past_best(rows, patience)

    assert run.train(loader, evaluate, Hooks(), ended(2))
    assert [row.val_loss for row in run.rows] == [2.0, 1.0, 1.5, 1.5]
    again = made_run(made_trainer(TrainingOptions(max_epoch=9)), tmp_path)
    assert again.resume()
    assert again.rows == run.rows
    assert again.train(loader, evaluate, Hooks(), ended(2)) and len(again.rows) == 4
    assert again.train(loader, evaluate, Hooks(), ended(4)) and len(again.rows) == 9
    table = (tmp_path / "log.csv").read_text().splitlines()
    assert [line.rpartition(",")[2] for line in table[:4]] == ["val_loss", "2.0", "1.0", "1.5"]


def test_resuming_equals_never_having_stopped(tmp_path: Path) -> None:
    data = MadeFaces(LENGTHS)
    whole = made_trainer()
    rows = made_run(whole, tmp_path / "whole")
    loader = made_loader(data, whole.network)
    assert rows.train(loader, lambda: 0.5, Hooks())

    first = made_trainer()
    steps: list[int] = []
    hooks = Hooks(stop=lambda: len(steps) == 2, on_step=lambda *_: steps.append(1))
    assert not made_run(first, tmp_path / "halves").train(loader, lambda: 0.5, hooks)
    torch.manual_seed(99)
    second = make_trainer(TinyNetwork(), OPTIONS, Ranks())
    run = made_run(second, tmp_path / "halves")
    assert run.resume()
    assert (second.position.epoch, second.position.step) == (1, 2)
    assert run.train(loader, lambda: 0.5, Hooks())

    expected, found = weights(whole.network), weights(second.network)
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert [replace(row, seconds=0) for row in run.rows] == [
        replace(row, seconds=0) for row in rows.rows
    ]


def test_a_killed_process_loses_only_what_came_after_the_last_checkpoint(tmp_path: Path) -> None:
    data = MadeFaces(LENGTHS)
    whole = made_trainer()
    train_all(whole, data)

    class KilledError(Exception):
        pass

    def kill(position: Any, _: int) -> None:
        if (position.epoch, position.step) == (2, 2):
            raise KilledError

    killed = made_trainer()
    loader = made_loader(data, killed.network)
    with pytest.raises(KilledError):
        made_run(killed, tmp_path, save_interval=1).train(loader, None, Hooks(on_step=kill))
    again = made_trainer()
    run = made_run(again, tmp_path, save_interval=1)
    assert run.resume()
    assert (again.position.epoch, again.position.step) == (2, 1)
    assert run.train(loader, None, Hooks())
    expected, found = weights(whole.network), weights(again.network)
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["last.model"]


@pytest.mark.parametrize(("minutes", "kept"), [(1e-9, [1, 2]), (0.0, []), (10.0, [])])
def test_an_old_checkpoint_is_renewed_within_an_epoch(
    tmp_path: Path, minutes: float, kept: list[int]
) -> None:
    data, found = MadeFaces(LENGTHS), []
    trainer = made_trainer()
    options = RunOptions(tmp_path, save_interval=100, save_minutes=minutes)
    run = Run(trainer, options, {})

    def look() -> bool:
        path = checkpoints.last_path(tmp_path)
        if path.is_file():
            found.append(checkpoints.load(path)["training"]["trainer"]["step"])
        return trainer.position.step == 2

    run.train(made_loader(data, trainer.network), None, Hooks(stop=look))
    assert found == kept


def test_logs_that_a_killed_process_did_not_write_are_written(tmp_path: Path) -> None:
    trainer = made_trainer()
    run = made_run(trainer, tmp_path)
    run.train(made_loader(MadeFaces([20] * 8), trainer.network), lambda: 0.5, Hooks())
    logs = {name: (tmp_path / name).read_text() for name in ("log.csv", "score.txt")}
    for name in logs:
        (tmp_path / name).unlink()
    assert made_run(made_trainer(), tmp_path).resume()
    assert {name: (tmp_path / name).read_text() for name in logs} == logs


def test_best_and_last_are_kept(tmp_path: Path) -> None:
    trainer = made_trainer(TrainingOptions(max_epoch=3, test_interval=2))
    run = made_run(trainer, tmp_path)
    found = iter((0.75, 0.5))
    run.train(made_loader(MadeFaces([20] * 8), trainer.network), lambda: next(found), Hooks())
    assert [row.ap for row in run.rows] == [None, 0.75, 0.5]
    best = checkpoints.load(checkpoints.best_path(tmp_path))
    assert best["training"]["row"]["epoch"] == 2
    assert checkpoints.load(checkpoints.last_path(tmp_path))["training"]["trainer"]["epoch"] == 4
    lines = (tmp_path / "score.txt").read_text().splitlines()
    assert [line.split(", ")[0] for line in lines] == ["2 epoch", "3 epoch"]
    assert lines[1].endswith("mAP 50.00%, bestmAP 75.00%")
    assert lines[0].startswith("2 epoch, LR 0.009500, LOSS ")
    assert (tmp_path / "log.csv").read_text().count("\n") == 4


@pytest.mark.parametrize("frames_at_once", [1, 70], ids=["clip by clip", "two clips"])
def test_parts_of_a_batch_have_its_gradient(frames_at_once: int) -> None:
    """Without normalisation over the batch, that is: each part is normalised by itself."""
    data = MadeFaces([30] * 6)
    gradients = []
    for at_once in (0, frames_at_once):
        options = TrainingOptions(contrast=0.3, frames_at_once=at_once)
        trainer = made_trainer(options, norm=False)
        trainer.network.get_submodule("dropout").p = 0.0  # type: ignore[assignment]
        trainer.step(next(made_loader(data, trainer.network).epoch(1)))
        gradients.append([parameter.grad for parameter in trainer.network.parameters()])
    for whole, parts in zip(*gradients, strict=True):
        torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-6)


WORKER = """
import sys
import torch
sys.path[:0] = [{root!r}]
from tests.made_training import MadeFaces, made_loader
from model.evaluation.entity_scores import EvaluationOptions
from model.evaluation.measure import measure
from model.families.sequence import FAMILY
from model.networks.light_asd import LightASD
from model.ranks import joined
from model.training.network_trainer import make_trainer
from model.contract import InputSpec, Recipe
from utils.training_options import TrainingOptions

class Small(LightASD):
    inputs = InputSpec(size=16)
    recipe = Recipe("sgd", 0.01, loss_weights={{"av": 1.0, "visual": 0.5}})

torch.set_num_threads(1)
torch.manual_seed(5)
with joined("cpu") as ranks:
    data = MadeFaces([60, 20, 20, 150, 60, 20, 20, 20, 60, 20, 20, 20, 20, 20, 20])
    network = Small()
    trainer = make_trainer(network, TrainingOptions(contrast=0.3, frames_at_once={at_once}), ranks)
    loader = made_loader(data, network, ranks)
    trainer.train_epoch(loader, lambda: False, lambda _: None)
    ap = measure(FAMILY.score_split(network, data, EvaluationOptions(), ranks))
    if ranks.first:
        state = {{"weights": network.state_dict(), "loss": trainer.position.sums.mean_loss}}
        torch.save({{**state, "right": trainer.position.sums.right, "ap": ap}}, sys.argv[1])
"""


def run_worker(folder: Path, size: int, at_once: int = 0) -> dict[str, Any]:
    """Train in `size` processes that find each other as those of torchrun do."""
    script = folder / "worker.py"
    script.write_text(WORKER.format(root=str(ROOT), at_once=at_once))
    target = folder / f"{size}.pt"
    done = run_python(script, target, processes=size)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = torch.load(target, weights_only=True)
    return found


@pytest.mark.slow
def test_two_processes_train_and_evaluate_as_one(tmp_path: Path) -> None:
    """Light-ASD, whose normalisations see the whole batch; some batches have a single clip."""
    one, two = run_worker(tmp_path, 1), run_worker(tmp_path, 2)
    assert two["loss"] == pytest.approx(one["loss"], rel=1e-5)
    assert two["right"] == one["right"]
    # Rounding may exchange two frames with nearly the same score, of 500.
    assert two["ap"] == pytest.approx(one["ap"], abs=1e-3)
    assert two["weights"].keys() == one["weights"].keys()
    for name, tensor in one["weights"].items():
        torch.testing.assert_close(two["weights"][name], tensor, rtol=1e-3, atol=1e-4)


def test_a_loss_that_is_no_number_stops_and_spoils_nothing(tmp_path: Path) -> None:
    trainer = made_trainer()
    run = made_run(trainer, tmp_path, save_interval=1)
    loader = made_loader(MadeFaces(LENGTHS), trainer.network)

    def spoil() -> bool:
        if trainer.position.step == 2:
            with torch.no_grad():
                trainer.network.get_parameter("head_av.bias").fill_(math.nan)
        return False

    with pytest.raises(UserError, match=r"loss of batch 3 of epoch 1 is nan; .*lower --lr"):
        run.train(loader, None, Hooks(stop=spoil))
    again = made_trainer()
    assert made_run(again, tmp_path).resume()
    assert again.position.step == 2
    assert all(bool(tensor.isfinite().all()) for tensor in again.network.state_dict().values())


def test_frozen_weights_and_their_statistics_stay() -> None:
    trainer = made_trainer(replace(OPTIONS, freeze="visual.*, visual_norm.*"))
    before = weights(trainer.network)
    train_all(trainer, MadeFaces(LENGTHS))
    after = weights(trainer.network)
    changed = {
        name.partition(".")[0] for name in before if not torch.equal(before[name], after[name])
    }
    assert changed == {"audio", "audio_norm", "match", "follow", "head_av", "head_visual"}


@pytest.mark.parametrize(
    ("freeze", "message"),
    [
        ("lips.*", r"--freeze lips\.\* matches no weights; the modules are audio\.\*, "),
        ("*", "leaves nothing to train"),
    ],
)
def test_wrong_patterns(freeze: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        made_trainer(replace(OPTIONS, freeze=freeze))


def test_mixed_precision_is_close() -> None:
    losses = []
    for precision in ("fp32", "bf16"):
        trainer = made_trainer(TrainingOptions(max_epoch=1, precision=precision))
        losses += train_all(trainer, MadeFaces(LENGTHS))
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.05)


@pytest.mark.parametrize("optimiser", ["adam", "adamw", "sgd"])
def test_optimisers_and_the_published_decay(optimiser: str) -> None:
    class DecayingNetwork(TinyNetwork):
        recipe = Recipe(optimiser, 0.01, 0.9, 0.01, max_epoch=3)

    trainer = make_trainer(DecayingNetwork(), TrainingOptions(), Ranks())
    rates = []
    for epoch in (1, 2, 3):
        trainer.train_epoch(
            made_loader(MadeFaces([20] * 4), trainer.network), lambda: False, lambda _: None
        )
        rates.append(trainer.optimiser.param_groups[0]["lr"])
        assert trainer.position.epoch == epoch
        trainer.next_epoch()
    assert rates == pytest.approx([0.01, 0.009, 0.0081])
    assert type(trainer.optimiser).__name__.lower() == optimiser


def test_an_unknown_optimiser() -> None:
    class LionNetwork(TinyNetwork):
        recipe = Recipe("lion")

    with pytest.raises(ValueError, match="got 'lion'"):
        make_trainer(LionNetwork(), TrainingOptions(), Ranks())


def test_global_random_numbers_are_left_alone() -> None:
    trainer = made_trainer()
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    train_all(trainer, MadeFaces([20] * 4))
    assert torch.equal(torch.rand(3), expected)
