"""Networks that read windows of AVA's labels, as ava_asd's authors prepare and measure them.

Such a network scores a video as other clip networks do.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from model.contract import Recipe
from model.families.base import (
    BatchShapes,
    Family,
    Forwarded,
    ScorerInputs,
    Source,
    clip_shapes,
    refuse_windows,
)
from model.networks.ava_asd import AvaASD
from model.ranks import Ranks
from model.scoring.clip_scoring import ClipScorer
from model.scoring.prepared import Precision
from model.scoring.scorers import Scorer
from utils.errors import UserError
from utils.flags import flag_name
from utils.progress import stages

if TYPE_CHECKING:
    from model.checkpoints.training import Settings
    from model.evaluation.window_evaluation import Probabilities, Truth
    from utils.datasets.ava.window_extract import ExtractOptions
    from utils.datasets.ava.window_loader import WindowChoice, WindowSet
    from utils.datasets.ava.windows import VideoRows, WindowOptions
    from utils.datasets.loading.training_batch import TrainingLoader
    from utils.training_options import Options

logger = logging.getLogger(__name__)

RESULTS = "evaluation-results.csv"
SHOWN = 20  # problems of the videos that are logged one by one


class WindowFamily(Family[AvaASD, "WindowSet"]):
    """Networks that are trained and measured on windows of AVA's labels."""

    measured = "of windows"

    def make_scorer(self, network: AvaASD, inputs: ScorerInputs) -> Scorer:
        """Return a scorer of each frame by the clip around it."""
        refuse_windows(inputs.windows)
        return ClipScorer(network, inputs.hear, inputs.whole)

    def forward(self, network: AvaASD, audio: Tensor, faces: Tensor) -> Forwarded:
        """Run a network on the audio (B, 13, L) and faces (B, T, H, W) of windows."""
        return Forwarded(network(audio, faces))

    def batch_shapes(self, network: AvaASD, count: int, num_frames: int) -> BatchShapes:  # noqa: ARG002
        """Return the shapes of a batch of windows."""
        return clip_shapes(network, count)

    def check_options(self, options: Options) -> None:
        """Refuse what windows do not have."""
        model = options.network.model
        if options.data.data != "ava":
            raise UserError(
                f"{model} reads windows of labelled videos whose sound it hears whole: it goes "
                f"with --data ava, found {options.data.data}"
            )
        given = {
            "--forward": options.instead.forward,
            "--features": options.network.features is not None,
            "--windows": bool(options.network.windows),
            "--smooth": options.network.smooth > 1,
            "--maxClip": options.data.max_clip > 0,
            "--desync": options.data.desync > 0,
            "--contrast": options.training.contrast > 0,
        }
        refused = [flag for flag, there in given.items() if there]
        if refused:
            raise UserError(f"{refused[0]} is for other networks, not for {model}; leave it out")

    def open_source(
        self, network: AvaASD, options: Options, name: str, ranks: Ranks
    ) -> Source[WindowSet]:
        """Open the windows of a split; the first process extracts those that are missing.

        Raises:
            FileNotFoundError: There are no labels.
            UserError: The windows were extracted in another way, or there are none.
        """
        from utils.datasets.ava.dataset import AvaFolder
        from utils.datasets.ava.window_loader import WindowSet
        from utils.datasets.ava.windows import read_rows
        from utils.media.video_files import find_videos

        given, ava = options.window_data, AvaFolder(options.data.data_path)
        table = ava.labels(name)
        if not table.is_file():
            raise FileNotFoundError(
                f"expected the labels of {name} in {table}, found none; "
                f"run python trainTalkNet.py --download --dataPathAVA {ava.root}"
            )
        folder = (given.window_path or ava.root / "windows") / name
        rows = read_rows([table])
        how, cut = _extraction(network, options)

        def prepare() -> None:
            videos = find_videos(ava.videos(name))
            _extract(folder, rows, videos, (how, cut), options.data.num_processes)

        ranks.after_first(prepare)
        windows = WindowSet(folder, rows, how, cut, given.min_face)
        logger.info("%s: %d windows, %d speak", name, len(windows), windows.speaking.sum())
        return Source(name, windows, table)

    def make_loader(
        self,
        network: AvaASD,  # noqa: ARG002
        source: Source[WindowSet],
        recipe: Recipe,
        options: Options,
        ranks: Ranks,
    ) -> TrainingLoader:
        """Return the loader of windows, by default as many that speak as do not."""
        from utils.datasets.ava.window_loader import WindowLoader

        choice = _choice(options, recipe.batch_size)
        return WindowLoader(source.content, choice, ranks.rank, ranks.size)

    def describe(self, network: AvaASD, source: Source[WindowSet], options: Options) -> Settings:
        """Return what must stay the same of the data when training is resumed, by flag."""
        flags = asdict(options.window_data) | {"window_path": ""}  # it may be moved
        return {
            "mode": network.mode,
            "number of windows": len(source.content),
            "--original": options.data.original,
            **{f"--{flag_name(name)}": value for name, value in flags.items()},
        }

    def measure(
        self,
        network: AvaASD,
        source: Source[WindowSet],
        options: Options,
        ranks: Ranks,
        epoch: int = 0,
    ) -> tuple[float, float]:
        """Measure the last head on a share of the windows, drawn anew in each epoch."""
        from model.evaluation.window_evaluation import measure_share

        choice = _choice(options, options.training.batch_size or network.recipe.batch_size)
        share = options.window_data.judged_share
        return measure_share(network, source.content, choice, ranks, share, epoch)

    def evaluate(self, weights: str | Path, options: Options, ranks: Ranks) -> str:
        """Evaluate one file of weights, or all of a folder into a table."""
        from model.checkpoints.build import read_variant
        from model.evaluation.window_weights import evaluate_folder, load_any, weights_of

        name, text = options.network.model, options.network.variant
        variant = read_variant(name, text) if text else None

        def load(weights: str | Path) -> AvaASD:
            network = load_any(name, weights, variant, ranks.device)
            assert isinstance(network, AvaASD)
            return network

        evaluation = _Evaluation(self, options, ranks)
        if options.instead.legacy:
            if Path(weights).is_dir():
                raise UserError(f"--legacy evaluates one file of weights, {weights} is a folder")
            measures = evaluation.legacy(load(weights))
            return "\n".join(f"{name} {value:.4f}" for name, value in measures.items())
        if not Path(weights).is_dir():
            measures = evaluation(load(weights))
            lines = [f"{name} {value:.5f}" for name, value in measures.items()]
            return "\n".join([evaluation.report, *lines, f"mAP {measures['orig_main_map']:.2%}"])
        table = options.run.save_path / RESULTS
        files = weights_of(Path(weights))
        aps = evaluate_folder(files, load, evaluation, table if ranks.first else None)
        best = max(aps, key=lambda name: aps[name])
        return f"{len(aps)} weights: {table}, the best mAP {aps[best]:.2%} of {best}"


class _Evaluation:
    """Measures networks on the split that the options name, and writes their predictions.

    Windows are opened anew if a network reads others than the one before.
    """

    def __init__(self, family: WindowFamily, options: Options, ranks: Ranks) -> None:
        self.report = ""  # of the last network, as text
        self._family, self._options, self._ranks = family, options, ranks
        self._opened: tuple[object, Source[WindowSet], Truth] | None = None

    def __call__(self, network: AvaASD) -> Mapping[str, float]:
        """Return the columns of the published table."""
        from model.evaluation.measure import write_table
        from model.evaluation.window_evaluation import carry_over, measure_windows, report

        source, truth = self._open(network)
        scores = self._score(network, source.content)
        if self._ranks.first:
            assert source.table is not None
            speaking = carry_over(scores["main"], source.content, truth)
            target = self._options.run.save_path / f"{source.name}_res.csv"
            write_table(source.table, speaking, target)
        self.report = report(scores, source.content)
        return measure_windows(scores, source.content, truth)

    def legacy(self, network: AvaASD) -> Mapping[str, float]:
        """Return what the published `--legacy` evaluation prints."""
        from model.evaluation.window_evaluation import measure_legacy

        windows = self._open(network)[0].content
        return measure_legacy(network, self._score(network, windows), windows)

    def _score(self, network: AvaASD, windows: WindowSet) -> dict[str, Probabilities]:
        """Return the probability that each window speaks, by published name of the head."""
        import numpy as np

        from model.evaluation.window_evaluation import score_together

        options, ranks = self._options, self._ranks
        cuda = ranks.device.type == "cuda"
        precision: Precision = "bf16" if cuda and options.training.precision == "bf16" else "fp32"
        choice = _choice(options, options.training.batch_size or network.recipe.batch_size)
        every = np.arange(len(windows))
        return score_together(network, windows, choice, ranks, every, precision)

    def _open(self, network: AvaASD) -> tuple[Source[WindowSet], Truth]:
        from model.evaluation.window_evaluation import truth_of
        from utils.metrics.average_precision import read_truth

        kind = (network.clip, network.inputs)
        if self._opened is None or self._opened[0] != kind:
            source = self._family.open_labelled(network, self._options, self._ranks)
            assert source.table is not None
            truth = truth_of(source.content, read_truth(source.table))
            self._opened = (kind, source, truth)
        return self._opened[1:]


def _extraction(network: AvaASD, options: Options) -> tuple[ExtractOptions, WindowOptions]:
    """Return how the windows that a network reads are extracted and cut."""
    from utils.datasets.ava.window_extract import ExtractOptions
    from utils.datasets.ava.windows import WindowOptions

    given, original = options.window_data, options.data.original
    inputs, clip = network.inputs, network.clip
    how = ExtractOptions(inputs.size, inputs.colour, own_rates=original, late_pictures=original)
    return how, WindowOptions(clip.fps, clip.length, given.window_stride, original, given.one_label)


def _extract(
    folder: Path,
    rows: list[VideoRows],
    videos: Mapping[str, Path],
    how: tuple[ExtractOptions, WindowOptions],
    num_processes: int,
) -> None:
    """Extract the windows that are missing; log what cannot be extracted."""
    from utils.datasets.ava.window_extract import ExtractionWork, extract
    from utils.files import locked

    with locked(folder, "extracting windows"), stages("videos") as tell:
        work = ExtractionWork(num_processes, partial(tell, f"extracting {folder.name}"))
        problems = extract(folder, rows, videos, *how, work)
    for problem in problems[:SHOWN]:
        logger.warning("%s", problem)
    if len(problems) > SHOWN:
        logger.warning("... %d problems in all", len(problems))


def _choice(options: Options, batch_size: int) -> WindowChoice:
    """Return which windows are drawn, and how they are read."""
    from utils.datasets.ava.window_loader import WindowChoice

    return WindowChoice(
        options.window_data.window_share,
        not options.window_data.unbalanced,
        batch_size,
        options.data.n_data_loader_thread,
        options.training.seed,
    )


FAMILY = WindowFamily()
