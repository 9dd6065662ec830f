"""Divide videos among processes that know nothing of each other, by a hash of their paths."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from utils.errors import UserError

SLURM_ID, SLURM_COUNT = "SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT"
SLURM_MIN, SLURM_STEP = "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_STEP"


@dataclass(frozen=True)
class Shard:
    """One of `count` disjoint parts that together hold every video."""

    number: int  # from 1
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            raise UserError(
                f"expected a shard from 1/{self.count} to {self.count}/{self.count}, "
                f"got {self.number}/{self.count}"
            )

    def holds(self, name: str) -> bool:
        """Tell whether a video is in this part; the same on every machine.

        Args:
            name: Path below the common folder, with forward slashes.
        """
        digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.number - 1

    @property
    def suffix(self) -> str:
        """What tells the files of this part from those of the others; empty if it is the whole."""
        return f"-{self.number}of{self.count}" if self.count > 1 else ""


def read_shard(text: str, environment: Mapping[str, str]) -> Shard:
    """Return the part that `--shard` names: I/N, or slurm for this task of an array job."""
    if text == "slurm":
        if not {SLURM_ID, SLURM_COUNT} <= environment.keys():
            raise UserError(
                f"--shard slurm: expected {SLURM_ID} and {SLURM_COUNT} in the environment; "
                "start the command in an array job (sbatch --array=0-9) or pass --shard I/N"
            )
        first = int(environment.get(SLURM_MIN, "0"))
        step = int(environment.get(SLURM_STEP, "1"))
        number = (int(environment[SLURM_ID]) - first) // step + 1
        return Shard(number, int(environment[SLURM_COUNT]))
    if not re.fullmatch(r"[0-9]+/[0-9]+", text):
        raise UserError(f"--shard must be I/N such as 1/10, or slurm; got {text!r}")
    number, count = map(int, text.split("/"))
    return Shard(number, count)
