"""Train the network that the project ships; docs/embedded.md tells what came of it.

python -m model.distillation --videos DIR --people CSV --facesOnly DIR --savePath DIR

The same command goes on where it was stopped. LR-ASD is the teacher.
"""

import argparse
import logging
import math
import os
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model.contract import Network
from model.distillation_run import NAME, Distillation, Run, Stage, rate, write_weights
from model.distillation_stages import (
    JOINT_FRAMES,
    REMEMBERED_CLIPS,
    SEEN_CLIPS,
    SeeingLessons,
    draw_embedded,
    encode_track,
    fused_loss,
    joint_loss,
    measure,
    set_statistics,
    take_over,
)
from model.face_finding import choose_finder
from model.networks.synchrony import Synchrony
from model.preparation import find_videos
from model.recipes import seeded
from model.run_logs import append_row
from model.scoring import inference_copy
from model.weights import load_single
from utils.commands import exit_status, wrong_usage
from utils.datasets.pairing_pool import PairingPool
from utils.datasets.pairings import SITUATIONS, Pairer
from utils.datasets.store import Store
from utils.datasets.talkset_faces import FaceFinding, find_all
from utils.datasets.talkset_sources import Person, Source, name_people
from utils.flags import add_flags, read_flags
from utils.progress import bar
from utils.settings import DetectorOptions

logger = logging.getLogger(__name__)

POOL_FRAMES = 200  # of a pairing in the pools
SEEING, FUSED, JOINT = "seeing", "fused", "joint"  # the stages
HELD_OUT_EACH = 6  # pairings of each situation


def find_people(options: Distillation) -> tuple[Store, list[Source]]:
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
    return Store(folder), faces.sources


class Distiller:
    """Trains the network through its stages.

    Args:
        options: How.
        teacher: LR-ASD, made for inference.
        store: Holds the faces of all people.
        sources: What is known of them.
    """

    def __init__(
        self, options: Distillation, teacher: Network, store: Store, sources: Sequence[Source]
    ) -> None:
        self.options, self.teacher, self.store = options, teacher, store
        self.learned = [one for one in sources if not options.is_held_out(one.person)]
        self.held_out = [one for one in sources if options.is_held_out(one.person)]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(options.seed)
            self.network = Synchrony()
        take_over(self.network, teacher)
        self.run = Run(options, self.network)
        self.pool = self._pool("pairings", self.learned, None)
        self.pools: dict[str, PairingPool] = {}

    def _pool(self, name: str, sources: Sequence[Source], situation: str | None) -> PairingPool:
        pairer = Pairer(self.store, sources, POOL_FRAMES)
        return PairingPool(self.options.save_path / name, pairer, self.options.seed, situation)

    def stages(self) -> list[Stage]:
        """Return what is learned, in order."""
        options, network = self.options, self.network
        lessons = SeeingLessons(self.store, self.learned, self.teacher)
        pairer = Pairer(self.store, self.learned, JOINT_FRAMES)

        def fused(rng: np.random.Generator) -> Tensor:
            judged, lags = fused_loss(network, draw_embedded(self.pool.pairings, rng))
            return judged + 0.3 * lags

        def seeing(rng: np.random.Generator) -> Tensor:
            return lessons.loss(network, rng, SEEN_CLIPS)

        def joint(rng: np.random.Generator) -> Tensor:
            kept = lessons.loss(network, rng, REMEMBERED_CLIPS)  # or it sees the few people alone
            return joint_loss(network, pairer, rng) + kept

        def is_encoder(name: str) -> bool:
            return name.startswith("visual_encoder.")

        def is_judge(name: str) -> bool:
            return name.startswith(("profile.", "from_profile.", "join.", "temporal.", "head_corr"))

        return [
            Stage(SEEING, options.seeing_steps, 3e-4, is_encoder, seeing),
            Stage(FUSED, options.fused_steps, 1e-3, is_judge, fused),
            Stage(JOINT, options.joint_steps, 7e-5, lambda n: is_encoder(n) or is_judge(n), joint),
        ]

    def train(self) -> None:
        """Train to the end of the last stage, keeping what comes of it."""
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
        if stage.name == FUSED:
            self._fill(self.pool, self.options.num_pairings, changed=True)
            if run.step == 0:
                set_statistics(self.network, self.pool.pairings)
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
                    run.keep()
                    self._report(stage)

    def _step(self, stage: Stage, weights: Sequence[nn.Parameter]) -> None:
        """Learn from one batch; the choices depend on the seed, the stage and the step alone.

        Raises:
            RuntimeError: The loss is no number.
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
            raise RuntimeError(
                f"the loss of step {run.step} of stage {stage.name} is {loss.item()}"
            )
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
        """Return the share of right frames of people held out, by situation."""
        right = {}
        if stage.name != SEEING and self.held_out:
            for situation in SITUATIONS:
                key = f"held_out_{stage.name}_{situation}"
                if key not in self.pools:
                    self.pools[key] = self._pool(key, self.held_out, situation)
                self._fill(self.pools[key], HELD_OUT_EACH, changed=False)
                right[situation] = measure(self.network, self.pools[key].pairings)
        return right

    def _report(self, stage: Stage) -> None:
        """Measure on people held out, write a line of the log and the weights."""
        row: dict[str, str | int | float] = {
            "stage": stage.name,
            "step": self.run.step,
            "loss": float(np.mean(self.run.losses)),
        }
        if stage.name != JOINT or self.run.step == stage.steps:  # else the encoder changes
            row |= self._measure(stage)
        logger.info(", ".join(f"{name} {value}" for name, value in row.items()))
        path = self.options.save_path / "log.csv"
        append_row(path, ["stage", "step", "loss", *SITUATIONS], row)
        self.run.losses.clear()
        path = self.options.save_path / f"{NAME}.safetensors"
        write_weights(self.network, self.options.correction, path)


def distil(options: Distillation) -> None:
    """Train the network from the start to the end."""
    teacher = load_single("lr_asd", options.teacher)
    assert isinstance(teacher, Network)
    Distiller(options, inference_copy(teacher, "fp32"), *find_people(options)).train()


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, train, return the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    parser = argparse.ArgumentParser(description=__doc__)
    add_flags(parser, Distillation, "distillation")
    parsed = parser.parse_args(arguments)
    with wrong_usage(parser):
        options = read_flags(parsed, Distillation)
    return exit_status(partial(distil, options))


if __name__ == "__main__":
    sys.exit(main())
