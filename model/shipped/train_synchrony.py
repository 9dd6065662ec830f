"""Train the network that the project ships; docs/notes/synchrony.md tells what came of it.

python -m model.shipped.train_synchrony --videos DIR --people CSV --facesOnly DIR --savePath DIR

The same command goes on where it was stopped. LR-ASD is the teacher.
"""

import logging
import math
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model.checkpoints import training as checkpoints
from model.checkpoints.build import load_single
from model.contract import Network
from model.face_finding import choose_finder
from model.networks.synchrony import Synchrony
from model.precision import warn_of_slow_bf16
from model.scoring.windows import inference_copy
from model.shipped.synchrony_run import NAME, Distillation, Run, Stage, rate
from model.shipped.synchrony_stages import (
    MATCHED_FRAMES,
    REMEMBERED_CLIPS,
    SEEN_CLIPS,
    SeeingLessons,
    draw_embedded,
    encode_track,
    judging_loss,
    matching_loss,
    measure,
    set_statistics,
    take_over,
)
from model.training.prepare_data import find_videos
from model.training.recipes import seeded
from model.training.run_logs import put_row
from utils.commands import run_command
from utils.datasets.pairings.pairings import SITUATIONS, Pairer
from utils.datasets.pairings.pool import PairingPool
from utils.datasets.storage.entity_store import EntityStore
from utils.datasets.talkset.faces import FaceFinding, find_all
from utils.datasets.talkset.sources import Person, Source, name_people
from utils.errors import UserError
from utils.files import check_folder
from utils.model_options import DetectorOptions
from utils.progress import bar

logger = logging.getLogger(__name__)

JUDGED_FRAMES = 600  # of a pairing in the pools: as long as the evidence needs
FITTED_PAIRINGS, FITTED_FRAMES = 160, 200  # from which the first projections come
SEEING, MATCHING, JUDGING = "seeing", "matching", "judging"  # the stages
FITTING = "fitting"  # what begins the second
HELD_OUT_EACH = 6  # pairings of each situation
MATCHED_BATCHES = 4  # of people held out


def find_people(options: Distillation) -> tuple[EntityStore, list[Source]]:
    """Return the faces of all videos, found now or before."""
    faces_only = [Path(folder) for folder in options.faces_only.split(",") if folder]
    unheard = find_videos(faces_only) if faces_only else []
    talking = find_videos([Path(folder) for folder in options.videos.split(",")])
    talking = [path for path in talking if path not in unheard]
    people = name_people(talking, options.people)
    people |= {path: Person(f"face {path.stem}", talks=False) for path in unheard}
    root = os.path.commonpath([path.parent for path in people])
    videos = {path.relative_to(root).as_posix(): path for path in people}
    finder = choose_finder(DetectorOptions(detector="yunet"), "cpu")
    folder = options.save_path / "sources"
    with bar("finding faces", len(videos), "videos") as advance:
        finding = FaceFinding(finder, finder.settings)
        faces = find_all(videos, people, folder, finding, lambda _, done, __: advance(done))
    for key, problem in faces.broken.items():
        logger.warning("%s: %s", key, problem)
    return EntityStore(folder), faces.sources


class Distiller:
    """Trains the network through its stages.

    Args:
        options: How.
        teacher: LR-ASD, made for inference.
        store: Holds the faces of all people.
        sources: What is known of them.
    """

    def __init__(
        self, options: Distillation, teacher: Network, store: EntityStore, sources: Sequence[Source]
    ) -> None:
        self.options, self.teacher, self.store = options, teacher, store
        self.learned = [one for one in sources if not options.is_held_out(one.person)]
        self.held_out = [one for one in sources if options.is_held_out(one.person)]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(options.seed)
            self.network = Synchrony()
        take_over(self.network, teacher)
        self.run = Run(options, self.network)
        own = self.held_out
        self.measured = Pairer(store, own, MATCHED_FRAMES) if own else None
        self.pools: dict[str, PairingPool] = {}

    def _pool(self, name: str, held_out: bool = False, situation: str | None = None) -> PairingPool:
        if name not in self.pools:
            sources = self.held_out if held_out else self.learned
            length = FITTED_FRAMES if name == FITTING else JUDGED_FRAMES
            folder = self.options.save_path / name
            pairer = Pairer(self.store, sources, length)
            self.pools[name] = PairingPool(folder, pairer, self.options.seed, situation)
        return self.pools[name]

    def stages(self) -> list[Stage]:
        """Return what is learned, in order."""
        options, network = self.options, self.network
        lessons = SeeingLessons(self.store, self.learned, self.teacher)
        pairer = Pairer(self.store, self.learned, MATCHED_FRAMES)

        def seeing(rng: np.random.Generator) -> Tensor:
            return lessons.loss(network, rng, SEEN_CLIPS, options.bf16)

        def matching(rng: np.random.Generator) -> Tensor:
            # What the teacher sees in all people is kept, or it would see these few alone.
            kept = lessons.loss(network, rng, REMEMBERED_CLIPS, options.bf16)
            return matching_loss(network, pairer, rng, bf16=options.bf16) + kept

        def judging(rng: np.random.Generator) -> Tensor:
            batch = draw_embedded(self._pool(JUDGING).pairings, rng)
            return judging_loss(network, batch, options.noise * torch.rand(len(batch[0])))

        def is_encoder(name: str) -> bool:
            return name.startswith("visual_encoder.")

        def is_judge(name: str) -> bool:
            return name.startswith("judges.")

        def matches(name: str) -> bool:
            return is_encoder(name) or name.startswith("profile.")

        return [
            Stage(SEEING, options.seeing_steps, 3e-4, is_encoder, seeing),
            Stage(MATCHING, options.matching_steps, 1.5e-4, matches, matching),
            Stage(JUDGING, options.judging_steps, 1e-3, is_judge, judging),
        ]

    def train(self) -> None:
        """Train to the end of the last stage, keeping what comes of it."""
        check_folder(self.options.save_path)
        kept = self.run.restore() if self.run.path.is_file() else {}
        stages = self.stages()
        while self.run.stage < len(stages):
            stage = stages[self.run.stage]
            if stage.steps:
                self._learn(stage, kept)
            kept = {}
            self.run.stage, self.run.step = self.run.stage + 1, 0
            self.run.optimiser = None
            self.run.keep()

    def _learn(self, stage: Stage, kept: Mapping[str, Tensor]) -> None:
        run = self.run
        if stage.name == MATCHING and run.step == 0:
            self._fill(self._pool(FITTING), FITTED_PAIRINGS, changed=True)
            set_statistics(self.network, self._pool(FITTING).pairings)
        if stage.name == JUDGING:
            self._fill(self._pool(JUDGING), self.options.num_pairings, changed=True)
        weights = []
        for name, parameter in self.network.named_parameters():
            parameter.requires_grad_(stage.trained(name))
            weights += [parameter] if stage.trained(name) else []
        run.optimiser = torch.optim.AdamW(weights, stage.lr, weight_decay=0.02)
        if kept:
            run.optimiser.load_state_dict(dict(kept))
        with bar(stage.name, stage.steps, "steps") as advance:
            while run.step < stage.steps:
                self._step(stage, weights)
                advance(run.step)
                if run.step % self.options.keep_every == 0 or run.step == stage.steps:
                    self._report(stage)
                    run.keep()

    def _step(self, stage: Stage, weights: Sequence[nn.Parameter]) -> None:
        """Learn from one batch; the choices depend on the seed, the stage and the step alone.

        Raises:
            UserError: The loss is no number.
        """
        run = self.run
        assert run.optimiser is not None
        self.network.train()
        for norm in (self.network.audio_norm, self.network.visual_norm):
            norm.eval()
        for group in run.optimiser.param_groups:
            group["lr"] = rate(run.step, stage)
        seed = (self.options.seed, run.stage, run.step)
        with seeded(seed, torch.device("cpu")):
            loss = stage.loss(np.random.default_rng(seed))
        run.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(weights, 1.0)
        if not math.isfinite(loss.item()):
            raise UserError(f"the loss of step {run.step} of stage {stage.name} is {loss.item()}")
        run.optimiser.step()
        run.step += 1
        run.losses.append(loss.item())

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
        """Return how well people held out are matched, or what share of each situation is right."""
        if self.measured is None or stage.name == SEEING:
            return {}
        if stage.name == MATCHING:
            return {"held_out_loss": self._match(self.measured)}
        right = {}
        for situation in SITUATIONS:
            pool = self._pool(f"held_out_{situation}", True, situation)
            self._fill(pool, HELD_OUT_EACH, changed=False)
            right[situation] = measure(self.network, pool.pairings)
        return right

    @torch.no_grad()
    def _match(self, pairer: Pairer) -> float:
        self.network.eval()
        rngs = [np.random.default_rng((self.options.seed, n)) for n in range(MATCHED_BATCHES)]
        losses = [matching_loss(self.network, pairer, rng, changed=False) for rng in rngs]
        return round(float(torch.stack(losses).mean()), 4)

    def _report(self, stage: Stage) -> None:
        """Measure on people held out, write a line of the log and the weights."""
        row: dict[str, str | int | float] = {
            "stage": stage.name,
            "step": self.run.step,
            "loss": float(np.mean(self.run.losses)),
        }
        row |= self._measure(stage)
        logger.info(", ".join(f"{name} {value}" for name, value in row.items()))
        names = ["stage", "step", "loss", "held_out_loss", *SITUATIONS]
        put_row(self.options.save_path / "log.csv", names, row, ("stage", "step"))
        self.run.losses.clear()
        weights = self.options.save_path / f"{NAME}.safetensors"
        checkpoints.write_halves(self.network.state_dict(), weights)


def distil(options: Distillation) -> None:
    """Train the network from the start to the end."""
    if options.bf16:
        warn_of_slow_bf16("cpu")
    teacher = load_single("lr_asd", options.teacher)
    assert isinstance(teacher, Network)
    Distiller(options, inference_copy(teacher, "fp32"), *find_people(options)).train()


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, train, return the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    return run_command(distil, Distillation, __doc__, arguments)


if __name__ == "__main__":
    sys.exit(main())
