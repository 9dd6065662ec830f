"""What the families have in common that read the entities of a data set."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING

from model.families.base import AnyNetwork, Family, Source
from model.ranks import Ranks
from utils.errors import UserError
from utils.progress import bar, stages

if TYPE_CHECKING:
    from model.checkpoints.training import Settings
    from model.evaluation.entity_scores import EntityScores, EvaluationOptions
    from utils.datasets.entities import DataSet
    from utils.datasets.splits import Split
    from utils.training_options import Options

logger = logging.getLogger(__name__)

FEW_FRAMES = 20_000  # for fewer, starting reader processes takes longer than reading


class EntityFamily(Family[AnyNetwork, "Split"]):
    """A kind of network that is trained and evaluated on faces and audio of a data set."""

    @abstractmethod
    def score_entities(
        self, network: AnyNetwork, dataset: DataSet, options: EvaluationOptions, ranks: Ranks
    ) -> Iterator[tuple[int, EntityScores]]:
        """Yield the number and the scores of each of this process's entities."""

    def score_split(
        self,
        network: AnyNetwork,
        dataset: DataSet,
        options: EvaluationOptions,
        ranks: Ranks,
        progress: Callable[[int], None] | None = None,
    ) -> list[EntityScores]:
        """Return the scores of all entities, in the data set's order, in every process.

        Args:
            network: Scores on its own device; unchanged.
            dataset: The split.
            options: How it is scored.
            ranks: The processes that share the work.
            progress: Given the number of frames that this process has scored.
        """
        own, done = {}, 0
        for number, entity in self.score_entities(network, dataset, options, ranks):
            own[number] = entity
            done += len(entity.labels)
            if progress is not None:
                progress(done)
        scored = {index: one for part in ranks.gather(own) for index, one in part.items()}
        return [scored[index] for index in range(len(dataset.entities))]

    def open_source(
        self,
        network: AnyNetwork,  # noqa: ARG002
        options: Options,
        name: str,
        ranks: Ranks,
    ) -> Source[Split]:
        """Open a split; the first process prepares it if necessary, the others wait for it."""
        from utils.datasets.splits import open_split, prepare_split

        data = options.data

        def prepare() -> None:
            with stages("videos") as tell:
                prepare_split(data, options.own, name, partial(tell, f"preparing {name}"))

        ranks.after_first(prepare)
        split = open_split(data.data, data.data_path, name)
        logger.info(
            "%s: %d entities, %d frames", name, len(split.dataset.entities), split.num_frames
        )
        return Source(name, split, split.table)

    def open_labelled(self, network: AnyNetwork, options: Options, ranks: Ranks) -> Source[Split]:
        """Open the split that is evaluated; refuse one without labels."""
        from model.evaluation.measure import check_labels

        self.check_windows(options)
        source = super().open_labelled(network, options, ranks)
        check_labels(source.content.dataset, f"{options.data.data_path}, {source.name}")
        return source

    def check_windows(self, options: Options) -> None:
        """Raise UserError if --windows is given to a network that is not evaluated in windows."""
        refuse_window_evaluation(options)

    def describe(
        self,
        network: AnyNetwork,  # noqa: ARG002
        source: Source[Split],
        options: Options,
    ) -> Settings:
        """Return what must stay the same of the data when training is resumed, by flag."""
        from utils.datasets.splits import describe_data

        return describe_data(options.data, source.content.num_frames)

    def measure(
        self,
        network: AnyNetwork,
        source: Source[Split],
        options: Options,
        ranks: Ranks,
        epoch: int = 0,  # noqa: ARG002
    ) -> tuple[float, None]:
        """Score a split, write the predictions, return the average precision in [0, 1]."""
        from model.evaluation.entity_scores import EvaluationOptions
        from model.evaluation.measure import measure_split

        num_frames = source.content.num_frames
        cuda = ranks.device.type == "cuda"
        how = EvaluationOptions(
            options.network.window_lengths,
            "bf16" if options.training.precision == "bf16" and cuda else "fp32",
            options.data.n_data_loader_thread if num_frames > FEW_FRAMES else 0,
        )
        with shown(f"evaluating {source.name}", num_frames, ranks) as advance:
            scored = self.score_split(network, source.content.dataset, how, ranks, advance)
        target = options.run.save_path / f"{source.name}_res.csv" if ranks.first else None
        return measure_split(scored, source.table, target, options.network.smooth), None


def refuse_window_evaluation(options: Options) -> None:
    """Raise UserError if --windows is given."""
    if options.network.windows:
        raise UserError(
            f"--windows is of networks that read the sequence of one face, {options.network.model} "
            "is evaluated as published; leave it out"
        )


@contextmanager
def shown(what: str, num_frames: int, ranks: Ranks) -> Iterator[Callable[[int], None] | None]:
    """Show the progress of the first process's share."""
    share = num_frames / ranks.size
    with bar(what, share, "frames") if ranks.first else nullcontext() as advance:
        yield advance
