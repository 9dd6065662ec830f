"""Train Synchrony, the bundled network; docs/notes/synchrony.md has its results.

python -m model.shipped.train_synchrony --videos DIR --people CSV --facesOnly DIR --savePath DIR

Run again, the command continues where it was stopped. LR-ASD is the teacher.
"""

import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.checkpoints import training as checkpoints
from model.checkpoints.build import load_single
from model.contract import Network
from model.networks.synchrony import Synchrony
from model.precision import warn_of_slow_bf16
from model.ranks import Ranks
from model.scoring.prepared import inference_copy
from model.shipped.calibration import calibrate, calibrate_match
from model.shipped.seeded_steps import Seed, SeededObjective, SeededSteps, train_steps
from model.shipped.source_faces import find_people
from model.shipped.synchrony_lessons import KEPT_CLIPS, LESSON_CLIPS, Lessons, encode_track
from model.shipped.synchrony_options import NAME, Stage, SynchronyTraining
from model.shipped.synchrony_stages import (
    MATCHED_FRAMES,
    draw_embedded,
    matching_loss,
    measure,
    refiner_loss,
    set_statistics,
    take_over,
)
from model.training.recipes import seeded
from model.training.run import Run
from model.training.run_logs import EpochRow, Evaluated, write_table
from model.training.trainer import Schedule, StepOptions, Trainer
from utils.commands import run_command
from utils.datasets.pairings.film import FilmPairer
from utils.datasets.pairings.pairings import SITUATIONS, Pairer
from utils.datasets.pairings.pool import PairingPool
from utils.datasets.storage.entity_store import EntityStore
from utils.datasets.talkset.sources import SourceFace
from utils.files import check_folder
from utils.progress import bar
from utils.training_options import RunOptions

logger = logging.getLogger(__name__)

SELECTION_FRAMES = 250  # of the longest track that refiners are weighted by
JUDGED_FRAMES = 600  # of a pairing in the pools: as long as the evidence needs
FITTED_PAIRINGS, FITTED_FRAMES = 100, 200  # from which the first projections come
SEEING, MATCHING, JUDGING = "seeing", "matching", "judging"  # the stages
FITTING = "fitting"  # what begins the second
HELD_OUT_EACH = 2  # pairings of each situation
MATCHED_BATCHES = 4  # of people held out
FIRST_PARTS = ("visual_encoder.", "gate.", "recurrence.", "recurrent_gate.", "head_opinion.")
COLUMNS = ("stage", "step", "loss", "held_out_loss", *SITUATIONS)  # of log.csv


class StageObjective(SeededObjective):
    """The loss of one stage; everything random in a step depends on its seed alone."""

    advice = "check the videos, or train without --bf16"

    def __init__(self, network: Synchrony, stage: Stage) -> None:
        super().__init__()
        self.network: Synchrony = network
        self.stage = stage

    def forward(self, seed: Seed) -> tuple[Tensor, Tensor]:
        """Return the loss of the batch that a seed draws; correct answers are not counted."""
        with seeded(seed, torch.device("cpu")):
            loss = self.stage.loss(np.random.default_rng(seed))
        return loss, loss.new_zeros(())


class StagedTraining:
    """Trains Synchrony in stages; each is a run that begins with the weights of the one before.

    Args:
        options: How.
        teachers: LR-ASD and others, made for inference.
        store: Holds the faces of all people.
        sources: What is known of them.
    """

    def __init__(
        self,
        options: SynchronyTraining,
        teachers: Sequence[Network],
        store: EntityStore,
        sources: Sequence[SourceFace],
    ) -> None:
        self.options, self.teachers, self.store = options, teachers, store
        self.learned = [one for one in sources if not options.is_held_out(one.person)]
        self.held_out = [one for one in sources if options.is_held_out(one.person)]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(options.seed)
            self.network = Synchrony()
        take_over(self.network, teachers[0])
        self.measured: Pairer | None = None
        if self.held_out:
            self.measured = Pairer(store, self.held_out, MATCHED_FRAMES)
        self.pools: dict[str, PairingPool] = {}
        self.records: list[dict[str, object]] = []  # of the stages before the current one

    def _pool(self, name: str, held_out: bool = False, situation: str | None = None) -> PairingPool:
        if name not in self.pools:
            sources = self.held_out if held_out else self.learned
            length = FITTED_FRAMES if name == FITTING else JUDGED_FRAMES
            folder = self.options.save_path / name
            pairer = Pairer(self.store, sources, length)
            self.pools[name] = PairingPool(folder, pairer, self.options.seed, situation)
        return self.pools[name]

    def stages(self) -> list[Stage]:
        """Return the stages in order."""
        options, network = self.options, self.network
        lessons = Lessons(self.store, self.learned, self.teachers)
        pairer = Pairer(self.store, self.learned, MATCHED_FRAMES)

        def seeing(rng: np.random.Generator) -> Tensor:
            return lessons.loss(network, rng, LESSON_CLIPS, options.bf16)

        def matching(rng: np.random.Generator) -> Tensor:
            # The lessons keep the encoder from forgetting all people but the few in the pairings.
            kept = lessons.loss(network, rng, KEPT_CLIPS, options.bf16)
            return matching_loss(network, pairer, rng, bf16=options.bf16) + kept

        def judging(rng: np.random.Generator) -> Tensor:
            batch = draw_embedded(self._pool(JUDGING).pairings, rng)
            return refiner_loss(network, batch, options.noise * torch.rand(len(batch[0])))

        def is_encoder(name: str) -> bool:
            return name.startswith(FIRST_PARTS)

        def is_refiner(name: str) -> bool:
            return name.startswith("judges.")

        def matches(name: str) -> bool:
            return is_encoder(name) or name.startswith(("audio_encoder.", "profile."))

        return [
            Stage(SEEING, options.seeing_steps, 3e-4, is_encoder, seeing),
            Stage(MATCHING, options.matching_steps, 2e-4, matches, matching),
            Stage(JUDGING, options.judging_steps, 1e-3, is_refiner, judging),
        ]

    def train(self) -> bool:
        """Train to the end of the last stage; return False if stopped before."""
        check_folder(self.options.save_path)
        for number, stage in enumerate(self.stages()):
            if stage.num_steps and not self._learn(stage, number):
                return False
        if self.options.selection:
            self._calibrate()
        return True

    def _calibrate(self) -> None:
        """Weight the refiners by people not trained on, and write the final weights."""
        options = self.options
        folder = options.save_path / "selection"
        found = find_people(options.selection, options.selection_people, "", folder)
        pairer = FilmPairer(*found, options.seed, SELECTION_FRAMES)
        teacher = cast("Network", load_single(options.teachers.split(",")[0]))
        calibrate(self.network, teacher, pairer)
        calibrate_match(self.network, pairer)
        self._write()

    def _learn(self, stage: Stage, number: int) -> bool:
        """Train a stage to its end; return False if stopped before."""
        steps = SeededSteps((self.options.seed, number), stage.num_steps, self.options.keep_every)

        def records(rows: Sequence[EpochRow]) -> list[dict[str, object]]:
            return [
                {"stage": stage.name, "step": steps.steps_after(row.epoch), "loss": row.loss}
                | dict(row.measures)
                for row in rows
            ]

        def write_logs(_: Path, rows: Sequence[EpochRow]) -> None:
            table = self.options.save_path / "log.csv"
            write_table(table, COLUMNS, [*self.records, *records(rows)])

        def log(row: EpochRow) -> None:
            (record,) = records([row])
            logger.info(", ".join(f"{name} {value}" for name, value in record.items()))

        trainer = self._make_trainer(stage, steps)
        folder = self.options.save_path / "runs" / stage.name
        run = Run(trainer, RunOptions(folder), self.options.settings, write_logs)
        if not run.resume():
            self._prepare(stage)
        if stage.name == JUDGING and trainer.position.epoch <= steps.num_epochs:
            self._fill(self._pool(JUDGING), self.options.num_pairings, changed=True)
        is_complete = train_steps(run, steps, stage.name, lambda: self._report(stage), log)
        self.records += records(run.rows)
        return is_complete

    def _make_trainer(self, stage: Stage, steps: SeededSteps) -> Trainer:
        for name, parameter in self.network.named_parameters():
            parameter.requires_grad_(stage.trains(name))
        weights = [one for one in self.network.parameters() if one.requires_grad]
        return Trainer(
            StageObjective(self.network, stage),
            torch.optim.AdamW(weights, stage.lr, weight_decay=0.02),
            Schedule(lambda position: stage.rate(position.updates), steps.num_epochs),
            Ranks(),
            StepOptions(self.options.seed, max_gradient=1.0),
        )

    def _prepare(self, stage: Stage) -> None:
        """Initialise what a stage does not take over from the one before."""
        if stage.name == MATCHING:
            self._fill(self._pool(FITTING), FITTED_PAIRINGS, changed=True)
            set_statistics(self.network, self._pool(FITTING).pairings)

    def _fill(self, pool: PairingPool, count: int, changed: bool) -> None:
        """Make the pairings that a pool lacks."""
        encoders = inference_copy(self.network, "fp32")

        def embed(
            features: NDArray[np.float32], crops: NDArray[np.uint8]
        ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
            with torch.inference_mode():
                audio = encoders.encode_audio(torch.from_numpy(features)[None])[0]
                return audio.numpy(), encode_track(encoders, crops).numpy()

        with bar(pool.folder.name, count, "pairings") as advance:
            for number in range(len(pool.pairings), count):
                pool.fill(number + 1, embed, changed)
                advance(number + 1)

    def _measure(self, stage: Stage) -> dict[str, float]:
        """Return the matching loss of people held out, or the accuracy in each situation."""
        if self.measured is None or stage.name == SEEING:
            return {}
        if stage.name == MATCHING:
            return {"held_out_loss": self._match(self.measured)}
        accuracies = {}
        for situation in SITUATIONS:
            pool = self._pool(f"held_out_{situation}", True, situation)
            self._fill(pool, HELD_OUT_EACH, changed=False)
            accuracies[situation] = measure(self.network, pool.pairings)
        return accuracies

    @torch.no_grad()
    def _match(self, pairer: Pairer) -> float:
        self.network.eval()
        rngs = [np.random.default_rng((self.options.seed, n)) for n in range(MATCHED_BATCHES)]
        losses = [matching_loss(self.network, pairer, rng, changed=False) for rng in rngs]
        return round(float(torch.stack(losses).mean()), 4)

    def _report(self, stage: Stage) -> Evaluated:
        """Measure on people held out, and write the weights."""
        measures = self._measure(stage)
        self._write()
        return Evaluated(measures=measures)

    def _write(self) -> None:
        weights = self.options.save_path / f"{NAME}.safetensors"
        checkpoints.write_halves(self.network.state_dict(), weights)


def _load_teacher(name: str) -> Network:
    return inference_copy(cast("Network", load_single(name)), "fp32")


def train(options: SynchronyTraining) -> int:
    """Train the network from the first stage to the last; return the exit status."""
    if options.bf16:
        warn_of_slow_bf16("cpu")
    teachers = [_load_teacher(name) for name in options.teachers.split(",")]
    found = find_people(
        options.videos, options.people, options.faces_only, options.save_path / "sources"
    )
    training = StagedTraining(options, teachers, *found)
    return 0 if training.train() else 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, train, return the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    return run_command(train, SynchronyTraining, __doc__, arguments)


if __name__ == "__main__":
    sys.exit(main())
