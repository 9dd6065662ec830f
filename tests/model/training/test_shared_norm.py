"""Processes that share a batch have the gradient of one process that has the whole batch.

In double precision: with the few values of these batches, a normalisation makes so much of a
rounding error that gradients in single precision differ from one run to another kind of processor.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.programs import ROOT, run_python

WORKER = """
import sys
import numpy as np
import torch
sys.path[:0] = [{root!r}]
from model.checkpoints.build import build_network
from model.ranks import joined
from model.training.network_trainer import make_trainer
from utils.datasets.loading.training_batch import TrainingBatch
from utils.training_options import TrainingOptions

torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)

def made_batch(name, num_clips, ranks):
    generator = torch.Generator().manual_seed(1)
    own = slice(ranks.rank, None, ranks.size)
    rows = np.zeros((num_clips, 2), np.int64)[own]
    labels = (torch.arange(num_clips) % 2)[own, None].to(torch.int8)
    known = torch.ones_like(labels, dtype=torch.bool)
    if name == "asc":
        embeddings = torch.randn(num_clips, 3, 5, 1024, generator=generator)
        return TrainingBatch(
            rows, torch.zeros(len(rows), 0), embeddings[own], labels, known, labels
        )
    audio = 5 * torch.randn(num_clips, 1, 13, 20, generator=generator)
    faces = torch.randint(0, 256, (num_clips, 1, 32, 32, 3), generator=generator)
    return TrainingBatch(rows, audio[own], faces[own].to(torch.uint8), labels, known, labels)

def step(name, num_clips, ranks):
    torch.manual_seed(5)
    variants = {{"asc": {{"length": 5}}, "asc_encoder": {{"clip_length": 1}}}}
    network = build_network(name, variants[name])
    trainer = make_trainer(network, TrainingOptions(precision="fp32"), ranks)
    trainer.step(made_batch(name, num_clips, ranks))
    found = {{"loss": torch.tensor(trainer.position.sums.loss)}}
    found |= {{f"gradient of {{key}}": one.grad for key, one in network.named_parameters()}}
    return found | {{key: one.clone() for key, one in network.named_buffers()}}

with joined("cpu") as ranks:
    found = {{}}
    for name, num_clips in {cases!r}:
        found[f"{{name}}, {{num_clips}}"] = step(name, num_clips, ranks)
    if ranks.first:
        torch.save(found, sys.argv[1])
"""
ROUNDING = 1e-12  # of gradients that are 0, such as that of a bias in front of a normalisation
SEVERAL = [("asc_encoder", 7), ("asc_encoder", 2), ("asc", 7), ("asc", 1)]


def steps(
    folder: Path, cases: list[tuple[str, int]], processes: int
) -> dict[str, dict[str, Tensor]]:
    """Return loss, gradients and statistics of a first step on batches of so many clips."""
    script = folder / "worker.py"
    script.write_text(WORKER.format(root=str(ROOT), cases=cases))
    target = folder / f"{processes}.pt"
    done = run_python(script, target, processes=processes)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, dict[str, Any]] = torch.load(target, weights_only=True)
    return found


@pytest.mark.slow
def test_two_processes_have_the_gradient_of_one(tmp_path: Path) -> None:
    """Also where their shares differ: 4 and 3 clips, 1 and none."""
    one, two = steps(tmp_path, SEVERAL, 1), steps(tmp_path, SEVERAL, 2)
    assert list(one) == list(two) == [f"{name}, {count}" for name, count in SEVERAL]
    for case, expected in one.items():
        assert two[case].keys() == expected.keys()
        for name, tensor in expected.items():
            limit = 1e-6 * float(tensor.abs().max()) + ROUNDING
            message = f"{case}: {name}"
            torch.testing.assert_close(two[case][name], tensor, rtol=0, atol=limit, msg=message)


@pytest.mark.slow
def test_a_single_value_leaves_no_nan(tmp_path: Path) -> None:
    """One process refuses to normalise it; of several, none can tell before they have met."""
    found = steps(tmp_path, [("asc_encoder", 1)], 2)["asc_encoder, 1"]
    assert [name for name, tensor in found.items() if not tensor.isfinite().all()] == []
