"""What the command line says of many videos."""

import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Literal

from utils.batch.shards import Shard, read_shard
from utils.errors import UserError


@dataclass(frozen=True)
class BatchOptions:
    """Which videos are analysed, by whom, and how often each is tried."""

    list: Annotated[Path | None, "text file with one video or folder a line; - is stdin"] = None
    skip_done: Annotated[
        bool,
        "leave out videos whose results are whole and made with the same settings, weights and "
        "file; implied by folders, patterns and the other flags of this group",
    ] = False
    redo: Annotated[bool, "analyse all videos anew, also those that are done"] = False
    timeout: Annotated[
        float, "s that a video may take; 0 is 20 times its length, at least 10 minutes"
    ] = 0.0
    tries: Annotated[int, "how often a video is tried before it counts as failed"] = 2
    shard: Annotated[
        str, "I/N: only the I-th of N parts, from 1; slurm: as the array job's variables say"
    ] = ""
    ray: Annotated[
        str, "local: workers on this machine; ADDRESS or auto: on a running Ray cluster"
    ] = ""
    workers: Annotated[int, "with --ray; 0 is as many as cores and memory allow"] = 0
    gpus_per_worker: Annotated[float, "with --ray; 0.25: four workers share a GPU"] = 0.0
    collect: Annotated[Path | None, "folder of results: write one table of all, no analysis"] = None
    output: Annotated[Path | None, "with --collect: file to write, .csv, .jsonl or .parquet"] = None
    rows: Annotated[Literal["tracks", "people"], "with --collect: what a row is"] = "tracks"

    def __post_init__(self) -> None:
        for name in ("timeout", "gpus_per_worker"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise UserError(f"expected 0 or more, got {getattr(self, name)} for {name}")
        if self.tries < 1 or self.workers < 0:
            raise UserError(
                f"--tries must be 1 or more and --workers 0 or more, got {self.tries} and "
                f"{self.workers}"
            )
        if not self.ray and (self.workers > 1 or self.gpus_per_worker):
            raise UserError("--workers and --gpusPerWorker need --ray; use --ray local")
        if self.skip_done and self.redo:
            raise UserError("--skipDone and --redo exclude each other")
        if (self.collect is None) != (self.output is None):
            raise UserError("--collect FOLDER and --output FILE belong together")
        if self.shard and self.shard != "slurm":
            read_shard(self.shard, {})

    @property
    def given(self) -> bool:
        """Whether anything differs from the defaults."""
        return any(getattr(self, one.name) != one.default for one in fields(self))

    @property
    def part(self) -> Shard:
        """The part of the videos that is this process's."""
        return read_shard(self.shard, os.environ) if self.shard else Shard(1, 1)
